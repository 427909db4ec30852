"""What would need more memory than there is says so before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import byzflower as bf
from byzflower import budget


@pytest.mark.parametrize("spec", ["krum", "arc > nnm > trimmed_mean", "mda"])
def test_distances_of_too_many_rows_are_refused_with_what_they_need(spec: str) -> None:
    rows = torch.zeros(1, 3).expand(2_000_000, 3)
    with pytest.raises(bf.BudgetError, match=r"2000000 rows need 96000 GB .* found \d+ GB"):
        bf.parse(spec)(rows, f=10)


def test_rules_without_distances_take_any_number_of_rows() -> None:
    rows = torch.tensor([[1.0], [2.0]]).repeat_interleave(100_000, dim=0)
    assert bf.Mean()(rows, f=10).item() == pytest.approx(1.5, rel=1e-6)


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(budget, "_OF_A_CONTAINER", limit)
    without = budget.memory()
    limit.write_text("max\n")
    assert budget.memory() == without
    limit.write_text("1000000\n")
    with pytest.raises(bf.BudgetError):
        bf.Krum()(torch.zeros(300, 2), f=1)
