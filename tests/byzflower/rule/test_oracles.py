"""Every rule against a slow float64 oracle written straight from its definition.

Rows are small whole numbers, so that distances are exact and ties are decided, not rounded: by
the content of the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import byzflower as bf

Array = npt.NDArray[np.float64]
Oracle = Callable[[Array, int], Array]

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def rounds(draw: st.DrawFn, slope: int, least: int, most: int = 9) -> tuple[Array, int]:
    """Rows (n, d) and f with slope · f + least ≤ n ≤ most."""
    n = draw(st.integers(least, most))
    f = draw(st.integers(0, (n - least) // slope))
    d = draw(st.integers(1, 4))
    entries = st.lists(st.integers(-6, 6), min_size=n * d, max_size=n * d)
    return np.array(draw(entries), dtype=np.float64).reshape(n, d), f


def squared_distances(x: Array) -> Array:
    return ((x[:, None] - x[None, :]) ** 2).sum(axis=-1)


def in_order(x: Array) -> list[int]:
    """By the distance that holds half of the rows, then by all distances, then by the bytes."""
    away, half = np.sort(squared_distances(x), axis=1), len(x) // 2
    return sorted(range(len(x)), key=lambda i: (away[i, half], away[i].tolist(), x[i].tobytes()))


def around_median(x: Array, keep: int) -> Array:
    """Of values as near on either side of the median, which the order decides, both count half."""
    means = []
    for values in (np.sort(x, axis=0), -np.sort(-x, axis=0)):
        nearest = np.argsort(np.abs(values - np.median(x, axis=0)), axis=0, kind="stable")[:keep]
        means.append(np.take_along_axis(values, nearest, axis=0).mean(axis=0))
    return (means[0] + means[1]) / 2


def trimmed_mean(x: Array, f: int) -> Array:
    return np.sort(x, axis=0)[f : len(x) - f].mean(axis=0)


def scores(squared: Array, neighbours: int) -> list[float]:
    return [
        sum(sorted(np.delete(squared[i], i))[: max(neighbours, 0)]) for i in range(len(squared))
    ]


def multi_krum(neighbours: Callable[[int, int], int], chosen: Callable[[int, int], int]) -> Oracle:
    def oracle(x: Array, f: int) -> Array:
        found = scores(squared_distances(x), neighbours(len(x), f))
        best = sorted(in_order(x), key=lambda i: found[i])[: chosen(len(x), f)]
        return x[best].mean(axis=0)

    return oracle


def mda(x: Array, f: int) -> Array:
    x = x[in_order(x)]
    squared = squared_distances(x)
    subsets = itertools.combinations(range(len(x)), len(x) - f)
    best = min(subsets, key=lambda rows: squared[np.ix_(rows, rows)].max())
    return x[list(best)].mean(axis=0)


def cge(x: Array, f: int) -> Array:
    order = sorted(in_order(x), key=lambda i: (x[i] ** 2).sum())
    return x[order[: len(x) - f]].mean(axis=0)


def monna(x: Array, f: int) -> Array:
    away = squared_distances(x)[0]
    order = sorted(in_order(x), key=lambda i: (i != 0, away[i]))
    return x[order[: len(x) - f]].mean(axis=0)


def centered_clipping(x: Array, f: int) -> Array:
    v = np.zeros(x.shape[1])
    for _ in range(3):
        apart = x - v
        lengths = np.linalg.norm(apart, axis=1, keepdims=True)
        v = v + (apart * np.minimum(1, 2.5 / np.maximum(lengths, 1e-300))).mean(axis=0)
    return v


def bulyan_of_krum(x: Array, f: int) -> Array:
    """With ties, which the last picks always are, decided by more neighbours, then by content."""
    x = x[in_order(x)]
    squared, left, picked = squared_distances(x), list(range(len(x))), []
    while len(picked) < len(x) - 2 * f:
        sub = squared[np.ix_(left, left)]
        least = max(len(left) - f - 2, 1)
        keys = [
            [scores(sub, k)[i] for k in range(least, max(len(left), least + 1))]
            for i in range(len(left))
        ]
        picked.append(left.pop(min(range(len(left)), key=lambda i: (keys[i], i))))
    return around_median(x[sorted(picked)], len(x) - 4 * f)


def bulyan_of_multi_krum(x: Array, f: int) -> Array:
    """θ averages of the m − f − 2 best of the m rows left, each time without the best one."""
    x = x[in_order(x)]
    squared, left, averages = squared_distances(x), list(range(len(x))), []
    while len(averages) < len(x) - 2 * f:
        sub = squared[np.ix_(left, left)]
        least = max(len(left) - f - 2, 1)
        keys = [
            [scores(sub, k)[i] for k in range(least, max(len(left), least + 1))]
            for i in range(len(left))
        ]
        order = sorted(range(len(left)), key=lambda i: (keys[i], i))
        averages.append(x[[left[i] for i in order[:least]]].mean(axis=0))
        left.pop(order[0])
    return around_median(np.array(averages), len(x) - 4 * f)


def bulyan_of(inner: Callable[[Array], Array], p: float) -> Oracle:
    def oracle(x: Array, f: int) -> Array:
        left, picked = list(range(len(x))), []
        while len(picked) < len(x) - 2 * f:
            away = np.linalg.norm(x[left] - inner(x[left]), ord=p, axis=1)
            picked.append(left.pop(int(np.argmin(np.round(away, 9)))))
        return around_median(x[sorted(picked)], len(x) - 4 * f)

    return oracle


ORACLES: list[tuple[str, int, int, Oracle]] = [
    ("mean", 1, 1, lambda x, f: x.mean(axis=0)),
    ("median", 2, 1, lambda x, f: np.median(x, axis=0)),
    ("trimmed_mean", 2, 1, trimmed_mean),
    ("meamed", 2, 1, lambda x, f: around_median(x, len(x) - f)),
    ("krum", 2, 3, multi_krum(lambda n, f: n - f - 2, lambda n, f: 1)),
    ("multi_krum", 2, 3, multi_krum(lambda n, f: n - f - 2, lambda n, f: n - f - 2)),
    ("multi_krum(m=1)", 2, 3, multi_krum(lambda n, f: n - f - 2, lambda n, f: 1)),
    ("krum_star", 2, 1, multi_krum(lambda n, f: n - f - 1, lambda n, f: 1)),
    ("multi_krum_star", 2, 1, multi_krum(lambda n, f: n - f - 1, lambda n, f: n - f)),
    ("multi_krum_star(q=1)", 2, 1, multi_krum(lambda n, f: n - f - 1, lambda n, f: 1)),
    ("mda", 2, 1, mda),
    ("cge", 2, 1, cge),
    ("monna", 2, 1, monna),
    ("centered_clipping(tau=2.5, steps=3)", 1, 1, centered_clipping),
    ("bulyan", 4, 3, bulyan_of_krum),
]


@pytest.mark.parametrize(
    ("spec", "slope", "least", "oracle"), ORACLES, ids=[oracle[0] for oracle in ORACLES]
)
def test_matches_its_definition(spec: str, slope: int, least: int, oracle: Oracle) -> None:
    rule = bf.parse(spec)

    @SETTINGS
    @given(rounds(slope, least, most=12 if slope == 4 else 9))
    def check(given: tuple[Array, int]) -> None:
        x, f = given
        value = rule(torch.from_numpy(x), f=f).numpy()
        np.testing.assert_allclose(value, oracle(x, f), rtol=1e-12, atol=1e-12)

    check()


@pytest.mark.parametrize(
    ("spec", "inner", "p"),
    [
        ("bulyan(inner=mean)", lambda x: x.mean(axis=0), 2),
        ("bulyan(inner=mean, p=3)", lambda x: x.mean(axis=0), 3),
        ("bulyan(inner=median)", lambda x: np.median(x, axis=0), 2),
        ("bulyan(inner=median, p=1)", lambda x: np.median(x, axis=0), 1),
    ],
)
@pytest.mark.parametrize(("n", "f"), [(3, 0), (7, 1), (9, 1), (12, 2), (15, 3)])
def test_bulyan_matches_its_definition(
    spec: str, inner: Callable[[Array], Array], p: float, n: int, f: int
) -> None:
    x = np.random.default_rng(n).normal(size=(n, 5))
    value = bf.parse(spec)(torch.from_numpy(x), f=f).numpy()
    np.testing.assert_allclose(value, bulyan_of(inner, p)(x, f), rtol=1e-9)


@pytest.mark.parametrize(("n", "f"), [(3, 0), (7, 1), (12, 2), (15, 3), (19, 4)])
def test_bulyan_over_multi_krum_matches_its_definition(n: int, f: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, 5))
    value = bf.parse("bulyan(inner=multi_krum)")(torch.from_numpy(x), f=f).numpy()
    np.testing.assert_allclose(value, bulyan_of_multi_krum(x, f), rtol=1e-9)


@pytest.mark.parametrize("p", [2, 3])
@pytest.mark.parametrize(("n", "f"), [(7, 1), (11, 2), (16, 3)])
def test_bulyan_s_second_phase_can_be_another_rule(p: float, n: int, f: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, 5))
    found = bf.parse(f"bulyan(p={p})").explain(torch.from_numpy(x), f=f)
    picked = torch.from_numpy(x[list(found.steps[-1].note["selected"])])
    for outer in ("krum", "mean", "median", "geometric_median"):
        value = bf.parse(f"bulyan(p={p}, outer={outer})")(torch.from_numpy(x), f=f)
        own = bf.parse(f"{outer}(p={p})" if outer in ("krum", "geometric_median") else outer)
        np.testing.assert_allclose(value, own(picked, f=f), rtol=1e-7)


@pytest.mark.parametrize("p", [1, 1.5, 3, 7, 16])
@pytest.mark.parametrize(("n", "f"), [(5, 1), (11, 2), (13, 3)])
def test_krum_of_other_norms(p: float, n: int, f: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, 6))
    distances = np.linalg.norm(x[:, None] - x[None, :], ord=p, axis=-1)
    found = scores(distances**2, n - f - 2)
    value = bf.Krum(p=p)(torch.from_numpy(x), f=f).numpy()
    np.testing.assert_array_equal(value, x[int(np.argmin(found))])


def caf(x: Array, f: int) -> Array:
    counts, best, least = np.ones(len(x)), x.mean(axis=0), np.inf
    while counts.sum() > len(x) - 2 * f:
        mean = counts @ x / counts.sum()
        apart = x - mean
        values, vectors = np.linalg.eigh((apart.T * counts) @ apart / counts.sum())
        if values[-1] < least:
            best, least = mean, values[-1]
        tau = (apart @ vectors[:, -1]) ** 2
        counts = counts * (1 - tau / tau[counts > 0].max()).clip(0)
    return np.asarray(best)


@pytest.mark.parametrize(("n", "f"), [(3, 0), (3, 1), (7, 2), (12, 5), (20, 4), (300, 30)])
@pytest.mark.parametrize("seed", range(4))
def test_caf_in_n_dimensions_is_caf_in_d_dimensions(n: int, f: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, 6))
    x[:f] += 8
    value = bf.CAF()(torch.from_numpy(x), f=f).numpy()
    np.testing.assert_allclose(value, caf(x, f), rtol=1e-7, atol=1e-9)


def test_caf_ends_with_a_row_that_dwarfs_all_others() -> None:
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[0], x[1] = 1e30, -1e25
    found = bf.CAF().explain(x, f=2)
    assert int(str(found.steps[0].note["rounds"])) <= 9
    assert found.value.norm() <= x[2:].norm(dim=1).max()


def top_eigenvalue(x: Array) -> float:
    return float(np.linalg.norm(x - x.mean(axis=0), ord=2) ** 2 / len(x))


@SETTINGS
@given(rounds(2, 1))
def test_smea_finds_the_least_top_eigenvalue(given: tuple[Array, int]) -> None:
    x, f = given
    size = len(x) - f
    least = min(top_eigenvalue(x[list(s)]) for s in itertools.combinations(range(len(x)), size))
    found = bf.SMEA().explain(torch.from_numpy(x), f=f)
    selected = found.steps[0].note["selected"]
    assert isinstance(selected, tuple)
    assert len(selected) == size
    assert top_eigenvalue(x[list(selected)]) == pytest.approx(least, rel=1e-9, abs=1e-9)
    assert found.steps[0].note["eigenvalue"] == pytest.approx(least, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n", "f"), [(5, 1), (9, 3), (13, 4)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e6])
def test_smea_matches_enumeration(n: int, f: int, shift: float) -> None:
    x = np.random.default_rng(n).normal(size=(n, 30))
    x[-f:] += shift
    subsets = itertools.combinations(range(n), n - f)
    best = min(subsets, key=lambda rows: top_eigenvalue(x[list(rows)]))
    found = bf.SMEA().explain(torch.from_numpy(x), f=f)
    assert sorted(found.steps[0].note["selected"]) == list(best)  # type: ignore[call-overload]
