"""What the colluders of a round see, and the moments of it that most attacks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from byzflower.aggregator import Aggregator
from byzflower.threads import on_threads

__all__ = ["Observation", "bounded", "has_squares", "moments"]

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

    def measure(start: int) -> None:
        part = slice(start, start + columns)
        tile, unit = rows[:, part].to(work), 1.0
        if not has_squares(tile):
            tile, largest = tile.double(), _largest(tile)
            if work == torch.float64 and 0 < largest < torch.inf:
                unit = largest
                tile = tile / unit
        values = _quick(tile)
        with np.errstate(invalid="ignore", over="ignore"):  # updates of a diverged model
            centre = values.mean(0)
            _quick(mean)[part] = centre * unit
            if deviation:
                _quick(spread)[part] = ((values - centre) ** 2).mean(0) ** 0.5 * unit

    starts = range(0, d, columns)
    if rows.device.type == "cpu":
        on_threads(measure, starts)
    else:
        for start in starts:
            measure(start)
    return mean, spread


def has_squares(rows: torch.Tensor) -> bool:
    """Whether float32 holds the squares of the largest entries; false for NaN as well.

    >>> has_squares(torch.tensor([1e-3, -2.0])), has_squares(torch.tensor([1e30, 0.0]))
    (True, False)
    """
    largest = _largest(rows)
    return largest == 0 or _SAFE[0] < largest < _SAFE[1]


def _largest(rows: torch.Tensor) -> float:
    values = _quick(rows)
    return max(float(values.max()), -float(values.min()))


def _quick(values: torch.Tensor) -> Any:
    """View a CPU's tensor as an array: of so few elements torch's threads cost more than they do.

    Not where numpy lacks the dtype.
    """
    on_cpu = values.device.type == "cpu"
    return values.numpy() if on_cpu and values.dtype != torch.bfloat16 else values


def bounded(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast to ``dtype``, values beyond its range going to its largest numbers.

    >>> bounded(torch.tensor([1e6, -1e6]), torch.float16)
    tensor([ 65504., -65504.], dtype=torch.float16)
    """
    limit = torch.finfo(dtype).max
    return rows.clamp(-limit, limit).to(dtype)
