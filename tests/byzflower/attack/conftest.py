"""Honest updates, and what every candidate of a search does when the rule is really called."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from byzflower.steps import Aggregator

Honest = Callable[..., torch.Tensor]
Brute = Callable[..., np.ndarray]


@pytest.fixture
def honest() -> Honest:
    """Updates that differ in direction, and two workers in length."""

    def make(
        h: int, d: int = 120, *, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        rows = torch.randn(h, d, generator=rng, dtype=torch.float64)
        rows[: h // 4] *= 1.7
        return (rows + 0.7 * torch.randn(d, generator=rng, dtype=torch.float64)).to(dtype)

    return make


@pytest.fixture
def brute() -> Brute:
    """‖R − ḡ‖² and ⟨R, ḡ⟩ of each candidate, (T, 2), by aggregating honest rows and f copies."""

    def effects(
        rows: torch.Tensor,
        candidates: torch.Tensor,
        f: int,
        rule: Aggregator,
        *,
        seen: torch.Tensor | None = None,
        center: torch.Tensor | None = None,
    ) -> np.ndarray:
        mean = (rows if seen is None else seen).double().mean(dim=0)
        out = []
        for candidate in candidates:
            everyone = torch.cat([rows, candidate.to(rows.dtype).expand(f, -1)])
            value = rule(everyone, f, center=center).double()
            out.append([float((value - mean).square().sum()), float(value @ mean)])
        return np.array(out)

    return effects
