"""Rules with a memory or with randomness."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Robust,
)
from replies import MODEL, shifted


def test_centered_clipping_starts_from_the_previous_aggregate(
    make_content: Any, make_round: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    seen: list[Any] = []
    rule_type = type(strategy.rule)
    explain = rule_type.explain

    def spy(self: Any, *args: Any, center: Any = None, **kwargs: Any) -> Any:
        seen.append(None if center is None else center.tolist())
        return explain(self, *args, **kwargs)

    monkeypatch.setattr(rule_type, "explain", spy)
    monkeypatch.setattr(rule_type, "needs_center", True)
    rounds = make_round(strategy, MODEL, 5)
    rounds.run(shifted(make_content))
    rounds.run(shifted(make_content))
    assert seen[0] is None
    assert seen[1] == pytest.approx([0.3] * 5, rel=1e-5)


def test_seed_makes_random_rules_repeat(make_content: Any, make_round: Any) -> None:
    def run(seed: int | None) -> bytes:
        rounds = make_round(Robust(FedAvg(), "bucketing(s=2) > median", 0, seed=seed), MODEL, 9)
        steps = [float(i) for i in range(9)]
        return b"".join(
            rounds.run(shifted(make_content, steps))[0]["w"].numpy().tobytes() for _ in range(6)
        )

    assert run(7) == run(7)
    assert run(7) != run(8)
    assert run(None) != run(None)
