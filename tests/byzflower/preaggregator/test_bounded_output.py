"""ARC's Lemma 5.1: after ARC no rule returns anything longer than the longest honest row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, target
from hypothesis import strategies as st

import byzflower as bf
from byzflower.aggregator import is_defined

_RULES = (*(name for name in bf.rules() if name != "sign_votes"), "sign_votes(step=3.0)")
_BEFORE = ("arc", "arc > nnm", "arc > bucketing(s=2)", "nnm > arc", "clip(c=9.0) > arc > arc")


def longest_honest(x: torch.Tensor, f: int) -> float:
    """Least over all honest sets of n − f rows of their longest row: the (f+1)-th norm."""
    return float(x.norm(dim=1).sort(descending=True).values[f])


def around(before: str, x: torch.Tensor, f: int) -> torch.Tensor:
    """The rows that ARC gets."""
    if not before.startswith("nnm"):
        return x
    squared = torch.cdist(x, x) ** 2
    squared.fill_diagonal_(-1.0)
    nearest = squared.argsort(dim=1, stable=True)[:, : len(x) - f]
    return x[nearest].mean(dim=1)


@pytest.mark.parametrize(
    ("before", "rule"),
    [
        (before, rule)
        for before in _BEFORE
        for rule in _RULES
        if not ("bucketing" in before and rule == "monna")  # which names a row
    ],
)
def test_no_longer_than_the_longest_honest_row(before: str, rule: str) -> None:
    pipeline = bf.parse(f"{before} > {rule}")

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.integers(1, 8), st.integers(1, 4), st.data())
    def search(n: int, d: int, data: st.DataObject) -> None:
        f = data.draw(st.integers(0, 2))
        if not is_defined(pipeline, n, f):
            return
        entries = st.lists(st.integers(-3, 3), min_size=n * d, max_size=n * d)
        x = torch.tensor(data.draw(entries), dtype=torch.float64).reshape(n, d)
        center = 5 * x[0] if pipeline.needs_center else None
        value = pipeline(x, f=f, rng=torch.Generator().manual_seed(0), center=center)
        limit = longest_honest(around(before, x, f), f)
        length = float(value.norm())
        target(length - limit)
        assert length <= limit * (1 + 1e-6)

    search()


@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e170])
@pytest.mark.parametrize("rule", ["trimmed_mean", "median", "meamed"])
def test_the_rule_s_output_is_clipped_and_keeps_its_direction(rule: str, scale: float) -> None:
    rows = scale * torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float64)
    plain = bf.parse(rule)(rows, f=1)
    bounded = bf.parse(f"arc > {rule}")(rows, f=1)
    length = float((plain / scale).norm()) * scale
    limit = 2**0.5 * scale
    expected = plain * min(1.0, limit / length)
    np.testing.assert_allclose(bounded, expected, rtol=1e-12)
    assert length > limit or rule == "meamed"  # without the clipping the lemma is false


def test_centered_clipping_about_a_long_centre_is_clipped() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    center = torch.tensor([100.0, 0.0])
    found = bf.parse("arc > centered_clipping(tau=0.1)").explain(rows, f=1, center=center)
    assert float(found.value.norm()) == pytest.approx(1.0, rel=1e-6)
    assert float(bf.parse("centered_clipping(tau=0.1)")(rows, f=1, center=center).norm()) > 50
    assert found.weights is not None


def test_averages_are_returned_as_they_are() -> None:
    # A row as long as the threshold is no longer than it, whatever rounding says of its length.
    rows = torch.full((5, 7), 1 / 3)
    for rule in ("krum", "mean", "geometric_median", "trimmed_mean"):
        assert torch.equal(bf.parse(f"arc > {rule}")(rows, f=1), rows[0])
