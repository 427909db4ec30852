"""Distances to five digits and more, whatever else is among the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

import byzflower as bf
from byzflower.geometry import Geometry
from byzflower.lengths import Lengths
from byzflower.updates import Updates

Array = npt.NDArray[np.float64]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squared_distances(x: torch.Tensor) -> Array:
    x = x.double()
    return torch.stack([(x - row).square().sum(dim=1) for row in x]).numpy()


def off_diagonal(matrix: Array) -> Array:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def relative_error(found: Array, true: Array) -> float:
    return float(np.max(np.abs(off_diagonal(found) / off_diagonal(true) - 1)))


def close_rows(n: int = 12, d: int = 40_000, spread: float = 1e-4) -> torch.Tensor:
    """Rows that differ by 1e-4 of their size, as float32 holds them."""
    base = torch.randn(d, generator=rng(0))
    return base + spread * torch.randn(n, d, generator=rng(1))


def test_spreads_of_a_ten_thousandth_keep_six_digits() -> None:
    x = close_rows()
    found = Geometry.of(Updates.of(x))
    assert relative_error(found.squared_distances(), squared_distances(x)) < 1e-6
    norms = x.double().square().sum(dim=1).numpy()
    np.testing.assert_allclose(found.squared_norms(), norms, rtol=1e-6)


@pytest.mark.parametrize("spec", ["arc", "clip(c=150.0)", "nnm", "arc > nnm"])
def test_spreads_survive_clipping_and_mixing(spec: str) -> None:
    x = close_rows()
    geometry, exact, f = Geometry.of(Updates.of(x)), x.double(), 3
    for step in bf.parse(f"{spec} > mean").before:  # type: ignore[attr-defined]
        matrix = step.mix(geometry, f, rng(0)).matrix
        geometry, exact = geometry.mixed(matrix), mixed(step.name, exact, f)
    found, true = geometry.squared_distances(), squared_distances(exact)
    apart = true > 1e-9 * np.median(true)  # NNM makes some rows equal
    np.testing.assert_allclose(found[apart], true[apart], rtol=1e-5)
    assert (found[~apart] <= 1e-9 * np.median(true)).all()


def mixed(name: str, x: torch.Tensor, f: int) -> torch.Tensor:
    """The pre-aggregators in float64, from their definitions."""
    n = len(x)
    if name == "nnm":
        near = torch.from_numpy(squared_distances(x)).argsort(dim=1, stable=True)[:, : n - f]
        return torch.stack([x[rows].mean(dim=0) for rows in near])
    norms = x.norm(dim=1, keepdim=True)
    limit = 150.0
    if name == "arc":
        limit = float(norms.flatten().sort(descending=True).values[2 * f * (n - f) // n])
    return x * (limit / norms).clamp(max=1.0)


@pytest.mark.parametrize("factor", [-1.0, -1.0001, 1e3, 1e12, 1e30])
def test_no_minority_of_rows_spoils_the_others_distances(factor: float) -> None:
    x = close_rows(n=15)
    x[:7] = factor * (x[:1] + 1e-4 * torch.randn(7, x.shape[1], generator=rng(2)))
    for order in (torch.arange(15), torch.randperm(15, generator=rng(3))):
        honest = np.flatnonzero((order >= 7).numpy())
        found = Geometry.of(Updates.of(x[order])).squared_distances()
        true = squared_distances(x[order])
        grid = np.ix_(honest, honest)
        assert relative_error(found[grid], true[grid]) < 2e-6


def test_the_row_near_most_others_may_differ_from_chunk_to_chunk() -> None:
    x = close_rows(n=11, d=90_000)
    for i in range(5):  # each of five faulty rows is far in some columns and near in others
        x[i, 15_000 * i : 15_000 * (i + 1)] *= -1
    honest = np.ix_(range(5, 11), range(5, 11))
    found, true = Geometry.of(Updates.of(x)).squared_distances(), squared_distances(x)
    assert relative_error(found[honest], true[honest]) < 2e-6


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_distances_of_every_dtype(dtype: torch.dtype) -> None:
    x = torch.randn(9, 30_000, generator=rng(4)).to(dtype)
    found = Geometry.of(Updates.of(x)).squared_distances()
    assert relative_error(found, squared_distances(x)) < 5e-6  # float32 sums of 16k products


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_float64_of_any_size(size: float) -> None:
    x = torch.randn(9, 300, generator=rng(5), dtype=torch.float64) * size
    found = Geometry.of(Updates.of(x))
    true = np.sqrt(squared_distances(x / size))
    assert relative_error(found.distances() * (found.unit / size), true) < 1e-12
    assert relative_error(found.distances(3) * (found.unit / size), pairwise(x / size, 3)) < 1e-12


def test_float64_rows_far_beyond_the_others_are_left_out_as_unmeasurable() -> None:
    x = torch.ones(5, 3, dtype=torch.float64)
    x[2] = 1e200
    assert Geometry.of(Updates.of(x)).kept.tolist() == [0, 1, 3, 4]
    assert torch.equal(bf.parse("krum")(x, f=1), x[0])


def pairwise(x: torch.Tensor, p: float) -> Array:
    y = x.double().numpy()
    largest = np.abs(y[:, None] - y[None, :]).max(axis=-1, keepdims=True)
    safe = np.where(largest > 0, largest, 1.0)
    scaled = np.abs(y[:, None] - y[None, :]) / safe
    return np.asarray((scaled**p).sum(axis=-1) ** (1 / p) * safe[..., 0])


@pytest.mark.parametrize("p", [1, 1.5, *range(2, 17)])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_p_distances(p: float, size: float) -> None:
    x = torch.randn(7, 2_500, generator=rng(6)) * size
    x[3] *= 1e4
    found = Geometry.of(Updates.from_blocks([x[:, :1_000], list(x[:, 1_000:].clone())]))
    tolerance = 2e-6 if p == 2 else 1e-11
    assert relative_error(found.distances(p), pairwise(x, p)) < tolerance


def test_p_distances_of_mixed_rows() -> None:
    x = torch.randn(6, 50, generator=rng(7), dtype=torch.float64)
    matrix = np.random.default_rng(0).random((4, 6))
    geometry = Geometry.of(Updates.of(x)).mixed(matrix)
    mixed_rows = torch.from_numpy(matrix) @ x
    for p in (1, 2, 5):
        assert relative_error(geometry.distances(p), pairwise(mixed_rows, p)) < 1e-9


def test_lengths_of_vectors_that_arrive_in_pieces_of_any_size() -> None:
    values = torch.tensor(
        [[1e-300, 0.0, 3e-300, 0.0], [0.0, 0.0, 0.0, 0.0], [1e300, 1e-300, 0.0, 1.0]],
        dtype=torch.float64,
    )
    for p in (1.0, 2.0, 2.5, 16.0):
        for width in (1, 2, 4):
            lengths = Lengths(3, p, torch.device("cpu"))
            for start in range(0, 4, width):
                lengths.add(values[:, start : start + width].clone())
            first = 3e-300 * (1 + (1 / 3) ** p) ** (1 / p)
            np.testing.assert_allclose(lengths.value(), [first, 0.0, 1e300], rtol=1e-12)


@pytest.mark.parametrize("center_norm", [0.0, 1.0, 100.0])
def test_distances_to_a_combination_and_a_center(center_norm: float) -> None:
    x = torch.randn(6, 80, generator=rng(8), dtype=torch.float64)
    center = torch.full((80,), center_norm / 80**0.5, dtype=torch.float64)
    weights = np.array([0.1, 0.2, 0.0, 0.3, 0.0, 0.1])
    target = torch.from_numpy(weights) @ x + 0.3 * center
    found = Geometry.of(Updates.of(x), center=center).distances_to(weights, 0.3)
    np.testing.assert_allclose(found, (x - target).norm(dim=1).numpy(), rtol=1e-12)
    origin = Geometry.of(Updates.of(x)).distances_to(weights, 0.3)  # v_0 = 0 where none is given
    away = (x - torch.from_numpy(weights) @ x).norm(dim=1).numpy()
    np.testing.assert_allclose(origin, away, rtol=1e-12)


@pytest.mark.parametrize("n", [5, 6])
@pytest.mark.parametrize("p", [1, 2, 7])
def test_distances_to_the_median(n: int, p: float) -> None:
    x = torch.randn(n, 60, generator=rng(9), dtype=torch.float64)
    matrix = np.random.default_rng(1).random((n - 1, n))
    rows = matrix @ x.numpy()
    away = np.linalg.norm(rows - np.median(rows, axis=0), ord=p, axis=1)
    found = Geometry.of(Updates.of(x)).distances_to_median(matrix, p)
    np.testing.assert_allclose(found, away, rtol=1e-12)


def test_removed_rows_are_gone_from_every_measure() -> None:
    x = torch.randn(8, 20_000, generator=rng(10))
    x[2, 19_999], x[5, 0] = torch.nan, torch.inf
    kept = [0, 1, 3, 4, 6, 7]
    found = Geometry.of(Updates.of(x))
    assert found.kept.tolist() == kept == Geometry.of(Updates.of(x), gram=False).kept.tolist()
    assert found.n == 6
    assert relative_error(found.squared_distances(), squared_distances(x[kept])) < 1e-6
    assert relative_error(found.distances(3), pairwise(x[kept], 3)) < 1e-11


def test_a_sum_that_overflows_is_no_reason_to_remove_a_row() -> None:
    x = torch.full((3, 100), 3e38)
    assert Geometry.of(Updates.of(x), gram=False).kept.tolist() == [0, 1, 2]
    assert Geometry.of(Updates.of(x)).kept.tolist() == [0, 1, 2]


def test_equal_rows_are_at_distance_zero_and_nothing_is_negative() -> None:
    x = close_rows(n=6)
    x[1:4] = x[0]
    squared = Geometry.of(Updates.of(x)).squared_distances()
    assert not squared[:4, :4].any()
    assert (squared >= 0).all()
    assert np.array_equal(squared, squared.T)


def test_measures_what_it_was_asked_to_only() -> None:
    geometry = Geometry.of(Updates.of(torch.ones(3, 2)), gram=False)
    with pytest.raises(RuntimeError, match="did not declare `needs_gram`"):
        geometry.squared_distances()


def test_a_center_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="`center` needs finite numbers; found NaN or Inf"):
        Geometry.of(Updates.of(torch.ones(3, 2)), center=torch.tensor([1.0, torch.nan]))


@pytest.mark.parametrize("size", [1e-5, 1e-3, 1e-1])
def test_rows_much_shorter_than_most_are_clipped_to_the_length_asked_for(size: float) -> None:
    x = torch.randn(1, 5_000, generator=rng(9)).repeat(7, 1) + 1e-5
    x[:2] = size * torch.randn(2, 5_000, generator=rng(10))
    c = float(x[0].norm()) / 2
    clip = bf.parse(f"clip(c={c}) > mean")
    assert clip.explain(x, f=0).steps[0].note["clipped"] == 7
    for rule in (clip, bf.CenteredClipping(tau=c)):
        assert float((rule(x, f=0) - rule(x.double(), f=0)).norm()) < 0.01 * c


@pytest.mark.parametrize("spec", ["krum_star", "arc > nnm > median", "geometric_median", "mda"])
def test_updates_without_coordinates_have_an_aggregate_without(spec: str) -> None:
    assert bf.parse(spec)(torch.zeros(3, 0), f=1).shape == (0,)


def test_float64_rows_near_the_largest_number() -> None:
    x = torch.full((5, 2), 1.5e308, dtype=torch.float64)
    assert torch.equal(bf.Krum()(x, f=1), x[0])


def test_rows_of_the_largest_numbers_are_measured() -> None:
    x = torch.full((3, 2), torch.finfo(torch.float64).max, dtype=torch.float64)
    assert torch.equal(bf.Krum()(x, 0), x[0])


def test_noise_is_a_number_where_rounding_made_a_square_negative() -> None:
    updates = Updates.of(torch.eye(3))
    gamma = np.diag([1.0, -1e-20, 2.0, 2.0])
    noise = Geometry(updates, np.arange(3), gamma).noise
    assert noise[0] == 0
    assert (noise[1:] > 0).all()
