"""What the colluders of a round see, and the moments of it that most attacks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from byzflower.aggregator import Aggregator

__all__ = ["Observation", "bounded", "moments"]

_COLUMNS = {"cpu": 1 << 16, "cuda": 1 << 20}
_SAFE = (1e-15, 1e15)  # entries whose squares float32 holds


@dataclass(frozen=True)
class Observation:
    """One round as omniscient, colluding clients see it.

    Attributes
    ----------
    honest : torch.Tensor
        The honest updates, shape (h, d) with h ≥ 1; never written to.
    f : int
        Number of colluders, ≥ 1.
    rng : torch.Generator
        The colluders' shared randomness.
    rule : Aggregator or None
        The server's aggregation, where known.
    center : torch.Tensor or None
        The previous aggregate (d,), for servers whose rule measures against it.
    """

    honest: torch.Tensor
    f: int
    rng: torch.Generator
    rule: Aggregator | None = None
    center: torch.Tensor | None = None

    @property
    def h(self) -> int:
        """Number of honest updates."""
        return len(self.honest)

    @cached_property
    def mean(self) -> torch.Tensor:
        """Average of the honest updates, (d,), at least float32."""
        return moments(self.honest, deviation=False)[0]

    @cached_property
    def deviation(self) -> torch.Tensor:
        """Coordinate-wise standard deviation (ddof 0) of the honest updates, (d,)."""
        mean, deviation = moments(self.honest)
        self.__dict__.setdefault("mean", mean)  # the same pass gives it
        return deviation

    def known(self, count: int | None) -> Observation:
        """Return what remains visible where only the first ``count`` honest updates are."""
        if count is None or count >= self.h:
            return self
        return Observation(self.honest[:count], self.f, self.rng, self.rule, self.center)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw standard normal entries, at least float32, on the honest device."""
        drawn = torch.randn(
            *shape, generator=self.rng, dtype=_work(self.honest), device=self.rng.device
        )
        return drawn.to(self.honest.device)


def _work(rows: torch.Tensor) -> torch.dtype:
    return torch.promote_types(rows.dtype, torch.float32)


def moments(rows: torch.Tensor, *, deviation: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population standard deviation (ddof 0) of every coordinate.

    Tile by tile, so no second (h, d) tensor exists. Tiles of tiny or huge entries are computed in
    float64, and those whose squares even float64 cannot hold are scaled first.

    Parameters
    ----------
    rows
        (h, d), h ≥ 1; half types are computed in float32.

    Returns
    -------
    mean, deviation
        Shape (d,), at least float32; an empty tensor for a deviation that is not asked for.

    Examples
    --------
    >>> moments(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    (tensor([2., 5.]), tensor([1., 0.]))
    """
    work, d = _work(rows), rows.shape[1]
    mean = torch.empty(d, dtype=work, device=rows.device)
    spread = mean.new_empty(d if deviation else 0)
    columns = _COLUMNS.get(rows.device.type, 1 << 16)
    for start in range(0, d, columns):
        tile, part = rows[:, start : start + columns].to(work), slice(start, start + columns)
        low, high = torch.aminmax(tile)
        largest = float(torch.maximum(low.abs(), high.abs()))
        unit = 1.0
        if largest != 0 and not _SAFE[0] < largest < _SAFE[1]:
            tile = tile.double()
            if work == torch.float64 and 0 < largest < torch.inf:
                unit = largest
                tile = tile / unit
        centre = tile.mean(dim=0)
        mean[part] = centre * unit
        if deviation:
            spread[part] = (tile - centre).square_().mean(dim=0).sqrt_() * unit
    return mean, spread


def bounded(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast to ``dtype``, values beyond its range going to its largest numbers.

    >>> bounded(torch.tensor([1e6, -1e6]), torch.float16)
    tensor([ 65504., -65504.], dtype=torch.float16)
    """
    limit = torch.finfo(dtype).max
    return rows.clamp(-limit, limit).to(dtype)
