"""Agreement with ByzFL and Flower wherever they define the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import byzflower as bf


def rows(n: int, d: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


BYZFL = [
    ("mean", "Average", {}, False),
    ("median", "Median", {}, False),
    ("trimmed_mean", "TrMean", {}, True),
    ("meamed", "Meamed", {}, True),
    ("mda", "MDA", {}, True),
    ("krum_star", "Krum", {}, True),  # what ByzFL calls Krum counts n − f − 1 others
    ("multi_krum_star", "MultiKrum", {}, True),
    ("monna(trusted=2)", "MoNNA", {"idx": 2}, True),
]


@pytest.mark.parametrize(("spec", "name", "options", "takes_f"), BYZFL)
def test_byzfl(spec: str, name: str, options: dict[str, object], takes_f: bool) -> None:
    byzfl = pytest.importorskip("byzfl", reason="byzfl is not installed")
    for n, f in ((5, 1), (7, 2), (9, 4)):
        x, counts = rows(n), {"f": f} if takes_f else {}
        expected = getattr(byzfl, name)(**counts, **options)(x.clone())
        torch.testing.assert_close(bf.parse(spec)(x, f=f), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("spec", "name"), [("arc", "ARC"), ("nnm", "NNM")])
@pytest.mark.parametrize(("n", "f"), [(5, 1), (9, 3)])
def test_byzfl_pre_aggregators(spec: str, name: str, n: int, f: int) -> None:
    byzfl = pytest.importorskip("byzfl", reason="byzfl is not installed")
    x = rows(n)
    x[0] *= 10
    expected = getattr(byzfl, name)(f=f)(x.clone()).mean(dim=0)
    value = bf.parse(f"{spec} > mean")(x, f=f)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_byzfl_centered_clipping() -> None:
    byzfl = pytest.importorskip("byzfl", reason="byzfl is not installed")
    expected = byzfl.CenteredClipping(L=3, tau=2.0)(rows(7))
    value = bf.CenteredClipping(tau=2.0, steps=3)(rows(7), f=0)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("n", "f"), [(7, 2), (9, 3), (11, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_flower(n: int, f: int, seed: int) -> None:
    strategies = pytest.importorskip("flwr.server.strategy.aggregate", reason="no flwr")
    x = rows(n, seed=seed).double().numpy()
    results = [([row], 1) for row in x]
    (median,) = strategies.aggregate_median(results)
    np.testing.assert_allclose(bf.Median()(torch.from_numpy(x), f=f).numpy(), median)
    (trimmed,) = strategies.aggregate_trimmed_avg(results, f / n + 1e-9)
    np.testing.assert_allclose(bf.TrimmedMean()(torch.from_numpy(x), f=f).numpy(), trimmed)
