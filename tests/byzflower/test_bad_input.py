"""No rows, no columns, one row, more colluders than rows, equal rows: a result, or one line."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf
from byzflower import InfeasibleError

PARAMETERS = {"clip": "c=90.0", "bucketing": "s=2", "resampling": "s=2"}
OPTIONS = [
    "bulyan(inner=multi_krum)",
    "bulyan(inner=mean)",
    "bulyan(inner=median)",
    "bulyan(inner=geometric_median)",
    "krum(p=3)",
    "geometric_median(p=3)",
]
ANY_F = {"mean", "sign_votes", "centered_clipping"}


def aggregators(before: str) -> list[tuple[str, bf.Aggregator]]:
    if not before:
        return [(name, bf.parse(name)) for name in [*bf.rules(), *OPTIONS, "mixtailor"]]
    step = f"{before}({PARAMETERS[before]})" if before in PARAMETERS else before
    names = [name for name in [*bf.rules(), *OPTIONS] if name != "monna" or before != step]
    if before in {"bucketing", "resampling"}:
        names = [name for name in names if name != "monna"]
    return [(name, bf.parse(f"{step} > {name}")) for name in names]


def outcome(rule: bf.Aggregator, rows: torch.Tensor, f: int) -> torch.Tensor | None:
    """Return the aggregate, or None where the rule says that it is not defined."""
    value, refused = None, ""
    try:
        value = rule(rows, f=f, rng=torch.Generator().manual_seed(0))
    except InfeasibleError as error:
        refused = str(error)
    if value is None:
        assert "found" in refused
        assert "\n" not in refused
        return None
    assert value.shape == rows.shape[1:]
    assert torch.isfinite(value).all()
    return value


@pytest.mark.parametrize("before", ["", *bf.preaggregators()])
def test_bad_input_has_a_result_or_one_line(before: str) -> None:
    for name, rule in aggregators(before):
        with pytest.raises(ValueError, match="found n = 0"):
            rule(torch.empty(0, 3), f=0)
        assert outcome(rule, torch.full((5, 3), torch.nan), 5) is None, name
        assert (outcome(rule, torch.randn(9, 2), 20) is None) == (
            name not in ANY_F or before in {"arc", "nnm", "resampling"}
        ), name
        outcome(rule, torch.empty(1, 0), 0)
        assert outcome(rule, torch.empty(23, 0), 1) is not None, name
        if name == "sign_votes":
            continue
        row = torch.tensor([1.5, 2.0])
        one = outcome(rule, row[None], 0)
        assert one is None or torch.allclose(one, row), name
        equal = outcome(rule, row.repeat(23, 1), 2)
        assert equal is not None, name
        torch.testing.assert_close(equal, row, msg=name)
