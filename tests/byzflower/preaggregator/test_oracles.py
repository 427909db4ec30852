"""Pre-aggregators against their definitions, row by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import byzflower as bf
from byzflower.geometry import Geometry
from byzflower.steps import PreAggregator
from byzflower.updates import Updates

Array = npt.NDArray[np.float64]


def matrix(step: PreAggregator, x: Array, f: int, seed: int = 0) -> Array:
    geometry = Geometry.of(Updates.of(torch.from_numpy(x)), gram=step.needs_gram)
    mixing = step.mix(geometry, f, torch.Generator().manual_seed(seed))
    assert (len(mixing.matrix), mixing.f) == step.counts(len(x), f)
    return mixing.matrix


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.data())
def test_arc_clips_to_the_norm_of_rank_k_plus_one(n: int, data: st.DataObject) -> None:
    f = data.draw(st.integers(0, (n - 1) // 2))
    entries = st.lists(st.integers(-5, 5), min_size=n * 2, max_size=n * 2)
    x = np.array(data.draw(entries), dtype=np.float64).reshape(n, 2)
    norms = np.linalg.norm(x, axis=1)
    clipped = (2 * f * (n - f)) // n
    limit = sorted(norms, reverse=True)[clipped]
    expected = x * np.minimum(1, limit / np.maximum(norms, 1e-300))[:, None]
    np.testing.assert_allclose(matrix(bf.ARC(), x, f) @ x, expected, atol=1e-12)
    assert (np.linalg.norm(expected, axis=1) <= limit * (1 + 1e-12)).all()


def test_arc_counts_in_whole_numbers() -> None:
    # 2(f/n)(n − f) = 4 exactly for n = 9, f = 3; in floating point it may come out below.
    for n, f in ((9, 3), (18, 3), (25, 5), (50, 5), (49, 7)):
        x = np.arange(1.0, n + 1)[:, None]
        norms = (matrix(bf.ARC(), x, f) @ x)[:, 0]
        assert norms.max() == pytest.approx(n - (2 * f * (n - f)) // n)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 10), st.data())
def test_nnm_averages_the_nearest_itself_included(n: int, data: st.DataObject) -> None:
    f = data.draw(st.integers(0, (n - 1) // 2))
    entries = st.lists(st.integers(-5, 5), min_size=n * 2, max_size=n * 2)
    x = np.array(data.draw(entries), dtype=np.float64).reshape(n, 2)
    found = matrix(bf.NNM(), x, f)
    for i in range(n):
        away = ((x - x[i]) ** 2).sum(axis=1)
        order = sorted(range(n), key=lambda j: (j != i, away[j], j) if j == i else (1, away[j], j))
        expected = np.zeros(n)
        expected[order[: n - f]] = 1 / (n - f)
        np.testing.assert_allclose(found[i], expected)


@pytest.mark.parametrize(("n", "s"), [(1, 1), (7, 1), (7, 2), (8, 2), (10, 3), (5, 5), (5, 9)])
def test_bucketing_averages_disjoint_groups(n: int, s: int) -> None:
    found = matrix(bf.Bucketing(s=s), np.zeros((n, 2)), 0)
    members = (found > 0).sum(axis=1)
    assert len(found) == -(-n // s)
    assert (found > 0).sum(axis=0).tolist() == [1] * n
    assert (members[:-1] == s).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[found > 0], np.repeat(1 / members, members))


def test_bucketing_permutes_uniformly() -> None:
    together = sum(
        int((matrix(bf.Bucketing(s=2), np.zeros((4, 1)), 0, seed)[:, :2] > 0).all(axis=1).any())
        for seed in range(600)
    )
    assert 150 < together < 250  # rows 0 and 1 share a group with probability 1/3


@pytest.mark.parametrize(("n", "s"), [(1, 3), (6, 1), (6, 2), (9, 4), (20, 2)])
def test_resampling_draws_every_row_s_times(n: int, s: int) -> None:
    for seed in range(5):
        drawn = matrix(bf.Resampling(s=s), np.zeros((n, 1)), 0, seed) * s
        np.testing.assert_allclose(drawn, np.round(drawn))
        np.testing.assert_allclose(drawn.sum(axis=0), s)
        np.testing.assert_allclose(drawn.sum(axis=1), s)


def test_resampling_draws_from_those_drawn_less_than_s_times() -> None:
    # n = 2, s = 2: the first round is {0, 0}, {0, 1} or {1, 1} with chances 1/4, 1/2, 1/4.
    first = [matrix(bf.Resampling(s=2), np.zeros((2, 1)), 0, seed)[0, 0] for seed in range(800)]
    counts = [first.count(value) for value in (0.0, 0.5, 1.0)]
    assert 150 < counts[0] < 250
    assert 340 < counts[1] < 460


@pytest.mark.parametrize(("n", "s"), [(6, 2), (9, 3)])
def test_resampling_shrinks_the_variance_as_stated(n: int, s: int) -> None:
    """Algorithm 1 draws uniformly among rows, not copies: a little above Lemma 5's d."""
    x = np.random.default_rng(0).normal(size=(n, 1))
    old = ((x - x.mean()) ** 2).mean()
    new = [
        ((matrix(bf.Resampling(s=s), x, 0, seed) @ x - x.mean()) ** 2).mean()
        for seed in range(1500)
    ]
    d = (n - 1) / (s * n - 1)
    assert d < np.mean(new) / old < 1.2 * d


def test_a_faulty_row_spoils_at_most_s_rows() -> None:
    for seed in range(20):
        found = matrix(bf.Resampling(s=3), np.zeros((13, 1)), 2, seed)
        assert ((found[:, :2] > 0).any(axis=1)).sum() <= 6


@pytest.mark.parametrize("limit", [0.5, 2.0, 1e9])
def test_clip_shortens_to_c_and_no_more(limit: float) -> None:
    x = np.random.default_rng(0).normal(size=(7, 4))
    x[3] = 0
    norms = np.linalg.norm(x, axis=1)
    found = np.linalg.norm(matrix(bf.Clip(c=limit), x, 0) @ x, axis=1)
    np.testing.assert_allclose(found, np.minimum(norms, limit), rtol=1e-12)


def test_a_generator_on_another_device_is_used_there() -> None:
    rule = bf.parse("bucketing(s=2) > mean")
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    rule(torch.ones(5, 2), f=0, rng=generator)
    assert not torch.equal(before, generator.get_state())
