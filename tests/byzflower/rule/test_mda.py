"""The vertex-cover search behind minimum-diameter averaging."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import byzflower as bf
from byzflower.rule.mda import smallest_diameter
from byzflower.rule.vertex_cover import CoverSearch, members


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.data())
def test_a_cover_is_found_exactly_when_there_is_one(n: int, data: st.DataObject) -> None:
    pairs = list(itertools.combinations(range(n), 2))
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True) if pairs else st.just([]))
    adjacency = [0] * n
    for i, j in edges:
        adjacency[i] |= 1 << j
        adjacency[j] |= 1 << i
    least = next(
        size
        for size in range(n + 1)
        for kept in itertools.combinations(range(n), size)
        if all(i in kept or j in kept for i, j in edges)
    )
    search = CoverSearch("mda", 10_000)
    cover = search.cover(adjacency, (1 << n) - 1, least)
    assert cover is not None
    assert cover.bit_count() <= least
    assert all(cover >> i & 1 or cover >> j & 1 for i, j in edges)
    if least:
        assert search.cover(adjacency, (1 << n) - 1, least - 1) is None


def test_members_are_the_set_bits() -> None:
    assert members(0b101001) == [0, 3, 5]


def test_ties_go_to_the_first_rows() -> None:
    squared = np.ones((6, 6)) - np.eye(6)
    assert smallest_diameter(squared, 4) == ([0, 1, 2, 3], 1.0)
    assert smallest_diameter(np.zeros((3, 3)), 2) == ([0, 1], 0.0)


@pytest.mark.parametrize(("n", "f"), [(50, 12), (80, 20), (100, 40)])
@pytest.mark.parametrize("d", [2, 100])
def test_large_rounds_are_searched_within_the_budget(n: int, f: int, d: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, d))
    squared = ((x[:, None] - x[None, :]) ** 2).sum(axis=-1)
    rows, diameter = smallest_diameter(squared, n - f)
    assert len(rows) == n - f
    assert squared[np.ix_(rows, rows)].max() == diameter
    smaller = np.where(squared < diameter, 0, 1)
    conflicts = [sum(1 << j for j in range(n) if smaller[i, j] and i != j) for i in range(n)]
    assert CoverSearch("mda", 200_000).cover(conflicts, (1 << n) - 1, f) is None


def test_far_rows_are_the_ones_left_out() -> None:
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    far = [3, 7, 11, 12, 20, 21, 22, 30, 41, 44, 47, 49]
    x[far] += torch.linspace(50, 1e6, 12)[:, None]
    found = bf.MDA().explain(x, f=12)
    assert found.weights is not None
    assert torch.nonzero(found.weights == 0).flatten().tolist() == far


def test_a_search_over_budget_says_so_and_approximates_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(60, 300))
    squared = ((x[:, None] - x[None, :]) ** 2).sum(axis=-1)
    with pytest.raises(bf.BudgetError, match="`mda` needs more than its 5 search nodes"):
        smallest_diameter(squared, 32, nodes=5)
    assert issubclass(bf.BudgetError, bf.InfeasibleError)


def test_smea_over_budget_says_so() -> None:
    x = torch.randn(40, 200, generator=torch.Generator().manual_seed(0))
    with pytest.raises(bf.BudgetError, match="`smea` needs at most 2000000 subsets"):
        bf.SMEA()(x, f=15)
