"""Geometric medians while rows are taken away, against medians found from scratch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

import byzflower as bf
from byzflower.rule.median_of_rest import MedianOfRest
from byzflower.rule.weiszfeld import weiszfeld

Array = npt.NDArray[np.float64]


def total(x: Array, weights: Array) -> float:
    return float(np.linalg.norm(x - weights @ x, axis=1).sum())


def shaped(shape: str, n: int, d: int, rng: np.random.Generator) -> Array:
    x: Array = rng.normal(size=(n, d))
    if shape == "sizes":
        x *= np.exp(rng.normal(size=(n, 1)) * 3)
    elif shape == "grid":
        x = np.round(x)
    elif shape == "cluster":
        x[: n // 2 + 1] = x[0] + 1e-6 * x[: n // 2 + 1]
    elif shape == "equal":
        x[: n // 2] = x[0]
    elif shape == "distant":
        x[-n // 4 :] *= 1e20
    elif shape == "line":
        x = np.outer(x[:, 0], np.arange(1.0, d + 1)) + 3.0
    return x


@pytest.mark.parametrize("d", [1, 2, 5, 90])
@pytest.mark.parametrize("shape", ["plain", "sizes", "grid", "cluster", "equal", "distant", "line"])
def test_each_is_as_good_as_one_from_scratch(shape: str, d: int) -> None:
    rng = np.random.default_rng(d)
    for n in (7, 30, 55):
        x = shaped(shape, n, d, rng)
        centre = x - x[np.argsort((x**2).sum(axis=1))[n // 2]]
        gram = centre @ centre.T
        noise = n * 2.0**-52 * np.diag(gram)
        rest = MedianOfRest(gram, noise)
        for row in rng.permutation(n)[: n - 2]:
            rest.remove(int(row))
            left = x[rest.rows]
            assert rest.weights.sum() == pytest.approx(1.0)
            away = np.linalg.norm(left - rest.weights @ left, axis=1)
            scale = np.sort(away)[: len(left) // 2 + 1].sum() + 1e-12 * np.abs(x).max()
            places = np.ix_(rest.rows, rest.rows)
            best = weiszfeld(gram[places], noise[rest.rows])[0]
            assert total(left, rest.weights) <= total(left, best) + 2e-9 * scale
            if shape != "distant":
                bound = 1e-4 * np.median(away) + 1e-9 * np.abs(x).max()
                assert np.abs(rest.distances - away).max() <= bound


def test_of_rows_on_a_line_the_median_is_the_middle() -> None:
    x = np.array([[0.0], [1.0], [4.0], [10.0], [11.0]]) * np.array([1.0, 2.0])
    rest = MedianOfRest(x @ x.T, np.full(5, 1e-13))
    rest.remove(4)
    np.testing.assert_allclose(rest.weights @ x[rest.rows], [2.5, 5.0])
    rest.remove(0)
    np.testing.assert_allclose(rest.weights @ x[rest.rows], [4.0, 8.0])


@pytest.mark.parametrize("p", [2, 3])
def test_bulyan_selects_what_is_nearest_to_the_median_of_the_others(p: float) -> None:
    x = torch.randn(23, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[-5:] += 2
    rule, left, picked = bf.GeometricMedian(p=p), list(range(23)), list[int]()
    for _ in range(13):
        away = torch.linalg.vector_norm(x[left] - rule(x[left], f=0), ord=p, dim=1)
        picked.append(left.pop(int(away.argmin())))
    found = bf.parse(f"bulyan(inner=geometric_median, p={p})").explain(x, f=5)
    assert found.steps[-1].note["selected"] == tuple(picked)
