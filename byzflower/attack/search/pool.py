"""What a search takes the server to run: one pipeline, or any member of a pool."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from byzflower.aggregator import Aggregator, is_defined
from byzflower.attack.search.effect import Candidates, Effect
from byzflower.steps import Pipeline, Rule

__all__ = ["Pool", "defined_members", "expected"]


@runtime_checkable
class Pool(Protocol):
    """An aggregation that draws one of several pipelines in every call, such as a MixTailor."""

    def defined_members(self, n: int, f: int) -> tuple[Pipeline, ...]:
        """Members that are defined for n rows, f of them possibly faulty."""


def defined_members(rule: Aggregator, n: int, f: int) -> Counter[Pipeline]:
    """Pipelines that an aggregation may run on n rows, f faulty, and how often each is pooled."""
    if isinstance(rule, Pipeline | Rule):
        pipeline = rule if isinstance(rule, Pipeline) else Pipeline((), rule)
        return Counter([pipeline] if is_defined(pipeline, n, f) else [])
    if isinstance(rule, Pool):
        return Counter(rule.defined_members(n, f))
    raise TypeError(f"attacks search against rules, pipelines and pools; found {rule!r}")


def expected(candidates: Candidates, draws: int) -> Effect:
    """Return each candidate's effect on the server's own rule, averaged over what it may draw.

    The colluders know the pool, not which member is drawn. Of a pool with more than ``draws``
    different members, that many drawn at random are averaged over.
    """
    rule, rng = candidates.seen.rule, candidates.seen.rng
    if rule is None:
        raise ValueError("a search against the server's rule needs that rule; found none")
    rule.check(candidates.n, candidates.seen.f)
    pool = defined_members(rule, candidates.n, candidates.seen.f)
    if len(pool) > draws:
        everyone = list(pool.elements())
        picked = torch.randperm(len(everyone), generator=rng, device=rng.device)[:draws]
        pool = Counter(everyone[int(i)] for i in picked)
    total, each = pool.total(), max(1, draws // len(pool))
    squared, inner = np.zeros((2, len(candidates)))
    for pipeline, count in pool.items():
        effect = candidates.effect(pipeline, each)
        squared += effect.squared * count / total
        inner += effect.inner * count / total
    return candidates.effect_of(squared, inner)
