"""Dropout whose mask is a function of an explicit key.

PyTorch draws dropout masks from a global generator, so the mask of a client would depend on which
clients ran before it, and a vmapped step could never repeat a loop over clients. Here the mask is
a hash of (key, layer, position): the same on every engine, device and order, and batched under
``torch.func.vmap`` when the key is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["KeyedDropout", "fold", "keyed"]

# Multipliers as signed 32-bit integers: products wrap modulo 2**32.
_GOLDEN = -1640531527
_FIRST = 2146121005
_SECOND = -2073254261


def _mix(z: Tensor) -> Tensor:
    """Return a bijective avalanche hash of int32 values (the "lowbias32" finaliser)."""
    # >> is arithmetic on int32; the masks make it a logical shift.
    z = (z ^ ((z >> 16) & 0xFFFF)) * _FIRST
    z = (z ^ ((z >> 15) & 0x1FFFF)) * _SECOND
    return z ^ ((z >> 16) & 0xFFFF)


def fold(key: Tensor, index: int | Tensor) -> Tensor:
    """Return the int32 key number ``index`` derived from ``key`` (any shapes that broadcast).

    >>> import torch
    >>> key = torch.tensor(7, dtype=torch.int32)
    >>> bool(fold(key, 0) == fold(key, 0)), bool(fold(key, 0) == fold(key, 1))
    (True, False)
    """
    return _mix(_mix(key) + index)


class KeyedDropout(nn.Module):
    """Dropout with the mask drawn from the buffer ``key``, set for each forward pass.

    Parameters
    ----------
    p
        Probability that an entry is zeroed; the others are divided by 1 − p.
    layer
        Number of this layer in its model: layers of one model draw different masks from one key.
    channels
        Zero whole channels (dimension 1), as ``nn.Dropout2d`` does.

    Attributes
    ----------
    calls
        How often the layer ran in this forward pass: a layer that a model uses twice draws two
        masks. Whoever starts a forward pass sets it to 0.
    """

    key: Tensor

    def __init__(self, p: float, layer: int, *, channels: bool) -> None:
        super().__init__()
        self.p = p
        self.layer = layer
        self.channels = channels
        self.calls = 0
        self.register_buffer("key", torch.zeros((), dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with entries zeroed in training mode, x itself in evaluation mode."""
        if not self.training or self.p == 0:
            return x
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if self.channels else x.shape
        position = torch.arange(math.prod(shape), dtype=torch.int32, device=x.device)
        key = fold(fold(self.key, self.layer), self.calls)
        self.calls += 1
        # The 31 low bits are uniform on [0, 2**31).
        bits = _mix(position * _GOLDEN + key) & 0x7FFFFFFF
        keep = (bits >= round(self.p * 2**31)).view(shape)
        scale = 0.0 if self.p == 1 else 1 / (1 - self.p)
        return x * (keep.to(x.dtype) * scale)


_KINDS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


def keyed(model: nn.Module) -> tuple[nn.Module, dict[str, KeyedDropout]]:
    """Replace the dropout modules of ``model``, in place; return it and the new layers by name.

    ``nn.Dropout`` and ``nn.Dropout1d/2d/3d`` are replaced. Dropout called as a function, or inside
    ``nn.MultiheadAttention`` and recurrent layers, still uses PyTorch's generator.

    >>> model, layers = keyed(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))
    >>> model[1], list(layers)
    (KeyedDropout(), ['1'])
    """
    layers = {
        name: KeyedDropout(module.p, number, channels=_KINDS[type(module)])
        for number, (name, module) in enumerate(model.named_modules())
        if type(module) in _KINDS
    }
    if "" in layers:
        return layers[""], layers
    names = {module: name for name, module in model.named_modules()}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if names[module] in layers:
            model.set_submodule(path, layers[names[module]])
    return model, layers
