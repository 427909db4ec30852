"""Theorems on random gradients, as text with their numbers."""

from __future__ import annotations

import pytest

import byzflower as bf
from byzflower.bibliography import papers
from byzflower.theory import aggregathor, mixtailor, statements

STRONG = "bulyan(inner=multi_krum)"


@pytest.mark.parametrize("spec", ["multi_krum", "multi_krum(m=3)", STRONG, "krum", "krum(p=7)"])
def test_each_statement_begins_with_its_paper(spec) -> None:
    found = statements(spec, 15, 3)
    assert found
    assert all(papers(line) for line in found)


@pytest.mark.parametrize(
    "spec", ["median", "arc > multi_krum", "bulyan", "bulyan(inner=median)", "mixtailor"]
)
def test_others_have_none(spec) -> None:
    assert statements(spec, 15, 3) == ()


def test_numbers_are_the_theorems_own() -> None:
    assert f"η = {aggregathor.eta(15, 3):.3g}" in statements("multi_krum", 15, 3)[0]
    assert f"{aggregathor.slowdown(15, 3, m=4):.3g} of" in statements("multi_krum(m=4)", 15, 3)[1]
    assert f"{aggregathor.slowdown(15, 3, strong=True):.3g} of" in statements(STRONG, 15, 3)[0]
    assert f"(1 + {mixtailor.capacity(15, 3):.3g})" in statements("krum", 15, 3)[0]
    assert "d^1)" in statements("krum(p=1)", 15, 3)[0]


def test_out_of_range_is_refused() -> None:
    with pytest.raises(bf.InfeasibleError, match=r"needs n ≥ 2f\+3"):
        statements("krum", 8, 3)
