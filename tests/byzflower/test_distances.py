"""What `explain` says of the rows' distances to the aggregate."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf

N, F, D = 13, 3, 5000  # enough for compiled code
SPECS = [
    "mean",
    "median",
    "krum",
    "geometric_median",
    "arc > nnm > geometric_median",
    "arc > nnm > trimmed_mean",
    "clip(c=1e-3) > nnm > median",
    "bucketing(s=2) > median",
    "nnm > meamed",
    "nnm > sign_votes(step=0.1)",
    "centered_clipping(tau=2.0)",
    "mixtailor(pool=[median, krum])",
]


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def rows(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(N, D, generator=rng(), dtype=torch.float64)
    x[-F:] = 4 - 2 * x[-F:]
    return x.to(dtype)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_distances_are_those_to_the_aggregate(spec: str, dtype: torch.dtype) -> None:
    x = rows(dtype)
    found = bf.parse(spec).explain(x, F, rng=rng(), distances=True)
    plain = bf.parse(spec).explain(x, F, rng=rng())
    assert torch.equal(found.value, plain.value)
    assert plain.distances is None
    expected = (x.double() - found.value.double()).norm(dim=1)
    # Of weights, distances are those to the combination before it is rounded to the rows' dtype.
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.distances, expected, rtol=tolerance, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_distances_of_models_are_those_of_what_was_added(spec: str) -> None:
    x, sent = rows(), torch.randn(D, generator=rng())
    updates = bf.Updates.from_blocks([list(x + sent)], [sent])
    found = bf.parse(spec).explain(updates, F, rng=rng(), distances=True)
    expected = (x.double() - found.value.double()).norm(dim=1)
    torch.testing.assert_close(found.distances, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_that_are_not_finite_change_no_other_s_distance(spec: str) -> None:
    x = rows()
    x[2, 7], x[5, 0] = torch.nan, torch.inf
    found = bf.parse(spec).explain(x, F, rng=rng(), distances=True)
    kept = list(found.kept)
    assert kept == [i for i in range(N) if i not in {2, 5}]
    expected = (x.double() - found.value.double()).norm(dim=1)
    torch.testing.assert_close(found.distances[kept], expected[kept], rtol=1e-5, atol=1e-4)


def test_float64_beyond_the_range_of_squares() -> None:
    x = rows(torch.float64) * 1e200
    found = bf.parse("nnm > krum").explain(x, F, distances=True)
    expected = (x / 1e200 - found.value / 1e200).norm(dim=1) * 1e200
    torch.testing.assert_close(found.distances, expected, rtol=1e-9, atol=1e190)
