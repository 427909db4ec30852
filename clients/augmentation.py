"""Augmentations of a batch, drawn from (seed, client, round): alike on every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from .algorithms.trees import Tree

__all__ = ["Augmentation", "random_flip"]

Augmentation: TypeAlias = Callable[[Tree, np.random.Generator], Tree]
"""x of a batch and the client's randomness of the round → x of the same shape."""


def random_flip(x: Tree, rng: np.random.Generator) -> Tensor:
    """Mirror each image with probability ½, left to right.

    Parameters
    ----------
    x
        Images (…, channels, height, width).
    rng
        Decides which; one number is drawn for each image.

    Raises
    ------
    TypeError
        Unless x is one tensor of images.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> random_flip(torch.tensor([0.0, 1.0]).expand(4, 1, 1, 2), rng).flatten(1).tolist()
    [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    """
    if not isinstance(x, Tensor) or x.ndim < 4:
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"`random_flip` needs images (…, channels, height, width); found {found}")
    mirrored = torch.from_numpy(rng.random(x.shape[:-3]) < 0.5).to(x.device)
    return torch.where(mirrored[..., None, None, None], x.flip(-1), x)
