"""The search for worst inputs in one dimension d: known ones first, then ascent from the worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

import numpy as np

from byzflower.certify.ascent import ascend
from byzflower.certify.catalogue import attacked
from byzflower.certify.certificate import Witness, evaluate
from byzflower.certify.ratio import Array, Mask, Ratios, best_subsets, ratios, subsets
from byzflower.certify.starts import degenerate, displaced, structured
from byzflower.steps import Aggregator

__all__ = ["WorstInputs"]

# Inputs that climb, round after round.
_CLIMBERS = (12, 6, 3, 1)
_Ratio = Literal["lam", "kappa"]


@dataclass(frozen=True, eq=False)
class _Start:
    """An input, and for each ratio the honest rows that make it largest."""

    rows: Array
    honest: dict[_Ratio, Mask]
    found: dict[_Ratio, float]


class WorstInputs:
    """Worst inputs of ``rule`` among (n, d) arrays; ``run`` spends about ``evaluations`` calls.

    ``carried`` are the worst inputs found in fewer dimensions.

    Attributes
    ----------
    worst : dict
        Ratio ("lam", "kappa") to the witness with the largest one found.
    random : bool
        Whether the rule's output depends on the generator passed to it.
    """

    def __init__(
        self,
        rule: Aggregator,
        n: int,
        f: int,
        d: int,
        *,
        seed: int,
        evaluations: int,
        carried: Sequence[Array] = (),
    ) -> None:
        self.rule, self.n, self.f, self.d, self.seed = rule, n, f, d, seed
        self.evaluations = evaluations
        self._carried = carried
        self._rng = np.random.default_rng([seed, d])
        self._choices = subsets(n, f)
        origin = Witness(rule.spec, f, seed, np.zeros((n, d)), self._choices[0], Ratios(0.0, 0.0))
        self.worst: dict[_Ratio, Witness] = {"lam": origin, "kappa": origin}
        sample = self._rng.standard_normal((n, d))
        value = evaluate(rule, sample, f, seed)
        self.random = not np.array_equal(value, evaluate(rule, sample, f, seed + 1))
        moved = evaluate(rule, sample + 3.0, f, seed) - 3.0
        self._sees_norms = not np.allclose(moved, value, atol=1e-6)

    @property
    def unbounded(self) -> bool:
        """Whether identical honest rows were found on which the rule errs."""
        return self.worst["lam"].ratios.unbounded

    def run(self) -> None:
        """Spend the evaluations, or stop at the first unbounded input."""
        if not self._carried:  # else a smaller dimension has tried them
            for rows in degenerate(self.n, self.f, self.d):
                self._try(rows)
                if self.unbounded:
                    return
        embedded = [np.pad(rows, ((0, 0), (0, self.d - rows.shape[1]))) for rows in self._carried]
        starts = [self._try(rows) for rows in embedded]
        starts += [self._try(rows) for rows in self._starts(self.evaluations // 2)]
        kinds: tuple[_Ratio, ...] = ("lam", "kappa")
        for kind in kinds:
            self._climb(kind, starts, self.evaluations // 4)
            if self.unbounded:
                return
        for kind in kinds:
            self._try(self.worst[kind].rows)

    def _starts(self, most: int) -> list[Array]:
        """At most ``most`` starts, every one as likely as any other to be among them."""
        stream = chain(
            structured(self.n, self.f, self.d, self._rng),
            attacked(self.n, self.f, self.d, self._rng, self.rule),
        )
        kept: list[Array] = []
        for count, rows in enumerate(stream):
            if count < most:
                kept.append(rows)
            elif (place := int(self._rng.integers(count + 1))) < most:
                kept[place] = rows
        return [displaced(rows, self._rng) for rows in kept] if self._sees_norms else kept

    def _try(self, rows: Array) -> _Start:
        """Aggregate once; look for the worst honest rows."""
        value = evaluate(self.rule, rows, self.f, self.seed)
        by_lambda, by_kappa = best_subsets(rows, value, self._choices)
        found = self._record(rows, by_lambda, value).lam
        other = self._record(rows, by_kappa, value).kappa
        return _Start(rows, {"lam": by_lambda, "kappa": by_kappa}, {"lam": found, "kappa": other})

    def _climb(self, kind: _Ratio, starts: list[_Start], evaluations: int) -> None:
        """Climb from the best starts, and on from the better half of them, in rounds."""
        climbers = [(start.found[kind], start.rows, start.honest[kind]) for start in starts]
        for count in _CLIMBERS:
            climbers = sorted(climbers, key=lambda climber: climber[0], reverse=True)[:count]
            share = evaluations // (len(_CLIMBERS) * count)
            for i, (_, rows, honest) in enumerate(climbers):
                score = partial(self._score, kind, honest)
                top, found = ascend(score, rows, honest, self._rng, share)
                climbers[i] = (found, top, honest)

    def _score(self, kind: _Ratio, honest: Mask, rows: Array) -> float:
        value = evaluate(self.rule, rows, self.f, self.seed)
        found = self._record(rows, honest, value)
        return found.lam if kind == "lam" else found.kappa

    def _record(self, rows: Array, honest: Mask, value: Array) -> Ratios:
        found = ratios(rows, honest, value)
        witness = Witness(self.rule.spec, self.f, self.seed, rows, honest, found)
        if found.lam > self.worst["lam"].ratios.lam:
            self.worst["lam"] = witness
        if found.kappa > self.worst["kappa"].ratios.kappa:
            self.worst["kappa"] = witness
        return found
