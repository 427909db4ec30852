"""What each of many candidate updates would do to the server's aggregate, in about two passes.

All candidates of a search lie in the span of the honest updates and at most one more vector, so
one Gram matrix serves them all: per candidate, a weight rule costs work in n dimensions alone.
Coordinate-wise rules share their pass over d (:mod:`byzflower.attack.search.coordinatewise`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from byzflower.attack.search.coordinatewise import Column, reduce_columns
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.span import Span
from byzflower.attack.search.tile import Line
from byzflower.errors import InfeasibleError
from byzflower.geometry import Array
from byzflower.plans import Plan, Reduced, Weighted, shortening
from byzflower.steps import Pipeline
from byzflower.updates import Updates

__all__ = ["Candidates", "Effect", "first_greatest"]

_TIE = 1e-6  # float32 sums over d coordinates agree no better


@dataclass(frozen=True)
class Effect:
    """The aggregate R that each of T candidates brings about, against the honest mean ḡ.

    Attributes
    ----------
    squared : numpy.ndarray
        ‖R − ḡ‖², shape (T,); its mean where R is random.
    inner : numpy.ndarray
        ⟨R, ḡ⟩, shape (T,); likewise.
    mean_squared : float
        ‖ḡ‖².
    noise : float
        Size of rounding errors in R relative to ‖ḡ‖.
    """

    squared: Array
    inner: Array
    mean_squared: float
    noise: float

    def most_damaging(self) -> int:
        """Index of the greatest ‖R − ḡ‖; ties, to within rounding, go to the lowest index."""
        return first_greatest(self.squared, self.noise**2 * self.mean_squared)

    def most_reversed(self) -> int:
        """Index of the least ⟨R, ḡ⟩; ties, to within rounding, go to the lowest index."""
        return first_greatest(-self.inner, self.noise * self.mean_squared)


def first_greatest(values: Array, noise: float = 0.0) -> int:
    """Index of the first value that is the greatest, give or take rounding and ``noise``.

    >>> first_greatest(np.array([1.0, 3.0, 2.0, 3.0]))
    1
    """
    values = np.where(np.isfinite(values), values, -np.inf)
    best = values.max()
    if not np.isfinite(best):
        return 0
    return int(np.argmax(values >= best - _TIE * abs(best) - noise))


class Candidates:
    """T candidates for the one vector that all f colluders send: a_t × ḡ + b_t × u.

    Parameters
    ----------
    seen
        The round; ḡ is the mean of its honest updates.
    along_mean, along
        Coefficients a and b, shape (T,).
    direction
        The vector u, shape (d,), or ``None`` where b plays no part.
    unseen
        Honest updates that the colluders do not see; ḡ stands in for each (MixTailor A.1.2).

    Examples
    --------
    >>> import byzflower as bf
    >>> seen = Observation(torch.tensor([[1.0], [2.0], [3.0]]), 1, torch.Generator())
    >>> candidates = Candidates(seen, np.array([1.0, -3.0]))
    >>> candidates.effect(bf.compose(bf.Mean()), draws=1).squared.tolist()
    [0.0, 4.0]
    """

    def __init__(
        self,
        seen: Observation,
        along_mean: Array,
        along: Array | None = None,
        direction: torch.Tensor | None = None,
        unseen: int = 0,
    ) -> None:
        self.seen = seen
        along = np.zeros_like(along_mean) if along is None or direction is None else along
        self.line = Line(seen.honest, seen.mean, along_mean, along, direction)
        self.fixed = np.vstack([np.eye(seen.h), np.full((unseen, seen.h), 1 / seen.h)])
        self.n = len(self.fixed) + seen.f

    @cached_property
    def measurable(self) -> bool:
        """Whether all honest updates are finite; those of a diverged model are not."""
        return bool(torch.isfinite(self.seen.mean).all())

    def __len__(self) -> int:
        return len(self.line.along_mean)

    @cached_property
    def span(self) -> Span:
        """The honest updates and, where there is a u, ḡ + u; and all rows in terms of them.

        Not u itself: a candidate is then an affine combination of rows near each other, and
        nothing cancels.
        """
        vectors, h, first = list(self.seen.honest), self.seen.h, len(self.fixed)
        if self.line.direction is not None:
            wide = self.seen.honest.to(self.seen.mean.dtype)
            vectors = [*wide, self.seen.mean + self.line.direction]
        rows = np.zeros((len(self), self.n, len(vectors)))
        rows[:, :first, :h] = self.fixed
        rows[:, first:, :h] = ((self.line.along_mean - self.line.along) / h)[:, None, None]
        rows[:, first:, h:] = self.line.along[:, None, None]
        return Span(Updates.of(vectors), rows, first, self.seen.center)

    def effect(self, pipeline: Pipeline, draws: int) -> Effect:
        """Return what each candidate makes of one pipeline, averaged over its draws if random."""
        squared, inner = np.zeros((2, len(self)))
        pipeline.check(self.n, self.seen.f)
        if not self.measurable:
            return self.effect_of(squared, inner)
        unclipped: list[Column] = []
        count = 0
        for plans in self._decisions(pipeline, draws):
            count += 1
            columns: list[Column] = []
            longest = np.full(len(self), np.inf)
            for t, plan in enumerate(plans):
                if isinstance(plan, Weighted):
                    forms = self._weighted(t, plan, pipeline.needs_center)
                    squared[t] += forms[0]
                    inner[t] += forms[1]
                elif isinstance(plan, Reduced):
                    columns.append(self._column(t, plan))
                    longest[t] = plan.longest
                else:
                    raise InfeasibleError(
                        f"a search needs a rule of weights or of values in order; "
                        f"found `{pipeline.spec}`"
                    )
            if np.isinf(longest).all():
                unclipped += columns
            else:  # what is clipped has to be measured, draw by draw
                sums = self._clipped(*reduce_columns(self.line, columns), longest)
                squared, inner = squared + sums[0], inner + sums[1]
        if unclipped:
            sums = reduce_columns(self.line, unclipped)
            squared, inner = squared + sums[0], inner + sums[1]
        return self.effect_of(squared / count, inner / count)

    def effect_of(self, squared: Array, inner: Array) -> Effect:
        """Bring sums over d into one value with what they are measured against."""
        noise = 8 * torch.finfo(self.seen.mean.dtype).eps
        return Effect(squared, inner, self.mean_squared, noise)

    def _clipped(self, squared: Array, inner: Array, longest: Array) -> tuple[Array, Array]:
        """‖R − ḡ‖² and ⟨R, ḡ⟩ of the aggregates once they are clipped to the norm ``longest``."""
        length = np.sqrt(np.maximum(squared + 2 * inner - self.mean_squared, 0.0))
        factor = np.array([shortening(*pair) for pair in zip(length, longest, strict=True)])
        clipped = (factor * length) ** 2 - 2 * factor * inner + self.mean_squared
        return np.where(factor < 1.0, np.maximum(clipped, 0.0), squared), factor * inner

    @cached_property
    def mean_squared(self) -> float:
        """‖ḡ‖²."""
        return float(torch.linalg.vector_norm(self.seen.mean, dtype=torch.float64)) ** 2

    def _decisions(self, pipeline: Pipeline, draws: int) -> Iterator[list[Plan]]:
        """All candidates' plans under the same draw, for each draw; one if nothing is drawn."""
        geometries = [
            self.span.at(t, centred=pipeline.needs_center, gram=pipeline.needs_gram)
            for t in range(len(self))
        ]
        rng = self.seen.rng
        for _ in range(draws):
            seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
            own = [torch.Generator().manual_seed(seed) for _ in geometries]
            before = own[0].get_state()
            decisions = pipeline.decide_each(geometries, self.seen.f, own)
            yield [decision.plan for decision in decisions]
            if all(torch.equal(before, generator.get_state()) for generator in own):
                return

    def _weighted(self, t: int, plan: Weighted, needs_center: bool) -> tuple[float, float]:
        """‖R − ḡ‖² and ⟨R, ḡ⟩ as quadratic forms of the generators' Gram matrix."""
        geometry = self.span.at(t, centred=needs_center, gram=True)
        gamma, h = geometry.gamma, self.seen.h
        center = plan.center if len(gamma) > self.n + 1 else 0.0
        aggregate, mean = np.zeros((2, len(gamma)))
        aggregate[1 : self.n + 1] = plan.weights
        aggregate[0] = plan.weights.sum() + center
        if center:
            aggregate[-1] = center
        mean[0], mean[1 : h + 1] = 1.0, 1 / h
        off = aggregate - mean
        scale = geometry.unit**2
        return max(float(off @ gamma @ off), 0.0) * scale, float(aggregate @ gamma @ mean) * scale

    def _column(self, t: int, plan: Reduced) -> Column:
        selection = np.eye(self.n) if plan.selection is None else plan.selection
        kept = len(self.fixed)
        return Column(
            t, plan.reduction, selection[:, :kept] @ self.fixed, selection[:, kept:].sum(axis=1)
        )
