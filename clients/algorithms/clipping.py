"""Client-side clipping of a gradient."""

from __future__ import annotations

import torch

from .objective import Params

__all__ = ["clip_norm"]


def clip_norm(grads: Params, clip: float | None) -> Params:
    """Return g · min(1, C/‖g‖), with ‖·‖ the ℓ2 norm over all arrays together; g if clip is None.

    >>> clip_norm({"w": torch.tensor([3.0, 4.0])}, 2.0)
    {'w': tensor([1.2000, 1.6000])}
    """
    if clip is None:
        return grads
    norms = torch.stack([torch.linalg.vector_norm(g) for g in grads.values()])
    # A zero gradient gives C/0 = ∞, hence the factor 1.
    factor = (clip / torch.linalg.vector_norm(norms)).clamp(max=1.0)
    return {name: g * factor.to(g.dtype) for name, g in grads.items()}
