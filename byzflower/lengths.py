"""ℓp norms of a few long vectors, accumulated over ranges of their coordinates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Lengths"]

_EXPONENT = 800  # binary; |x|^p within 2^±800 leaves room for a sum of 2^200 terms


class Lengths:
    """(Σ |x_j|^p)^(1/p) of k vectors that are passed a few coordinates at a time.

    The sum is kept as (scale, Σ |x_j/scale|^p), so that nothing over- or underflows for any p. The
    scales are powers of two, which are exact, and 1 wherever possible.

    >>> lengths = Lengths(2, 16, torch.device("cpu"))
    >>> lengths.add(torch.tensor([[3e-30, 0.0], [3e30, 0.0]], dtype=torch.float64))
    >>> lengths.add(torch.tensor([[4e-30], [4e30]], dtype=torch.float64))
    >>> lengths.value()
    array([4.00249395e-30, 4.00249395e+30])
    """

    def __init__(self, count: int, p: float, device: torch.device) -> None:
        self.p = p
        self.scale = torch.ones(count, dtype=torch.float64, device=device)
        self.total = torch.zeros_like(self.scale)

    def add(self, pieces: torch.Tensor) -> None:
        """Add the next coordinates, shape (k, c), float64; ``pieces`` is overwritten."""
        sizes = pieces.abs_()
        largest = sizes.amax(dim=1)
        limit = 2.0 ** (_EXPONENT / self.p)
        outside = (largest > limit) | ((largest < 1 / limit) & (largest > 0))
        scale = torch.ones_like(largest)
        if bool(outside.any()):
            scale[outside] = torch.ldexp(scale[outside], torch.frexp(largest[outside]).exponent)
            sizes = sizes / scale[:, None]
        powers = _power(sizes, self.p).sum(dim=1)
        before, now = self.total > 0, powers > 0
        merged = torch.maximum(
            torch.where(before, self.scale, 0.0), torch.where(now, scale, 0.0)
        ).clamp_min_(torch.finfo(torch.float64).tiny)
        self.total = torch.where(before, self.total * (self.scale / merged) ** self.p, 0.0)
        self.total += torch.where(now, powers * (scale / merged) ** self.p, 0.0)
        self.scale = merged

    def value(self, unit: float = 1.0) -> npt.NDArray[np.float64]:
        """Return the norms so far, divided by ``unit``, shape (k,)."""
        lengths = self.scale / unit * self.total ** (1 / self.p)
        return np.asarray(lengths.cpu().numpy(), dtype=np.float64)


def _power(x: torch.Tensor, p: float) -> torch.Tensor:
    """x^p for x ≥ 0; whole p by repeated squaring, which is much faster than pow."""
    if p != int(p) or p > 64:
        return x**p
    result, exponent = None, int(p)
    while exponent:
        if exponent & 1:
            result = x if result is None else result * x
        exponent >>= 1
        if exponent:
            x = x * x
    assert result is not None
    return result
