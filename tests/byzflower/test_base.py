"""Updates less a base equal the differences written out, which never exist in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.geometry import finite_rows
from byzflower.simulations.bench.measure import peak_memory

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SPECS = [
    "mean",
    "median",
    "meamed",
    "multi_krum",
    "geometric_median",
    "arc > nnm > trimmed_mean",
    "centered_clipping(tau=1.0)",
    "sign_votes(step=0.1)",
]


def problem(
    dtype: torch.dtype, widths: list[int], n: int = 9, size: float = 1e-2
) -> tuple[list[list[torch.Tensor]], list[torch.Tensor], torch.Tensor]:
    """n rows near a base, as separate tensors; the base; and the differences, (n, d)."""
    generator = torch.Generator().manual_seed(0)
    base = [torch.randn(width, generator=generator).to(dtype) for width in widths]
    rows = [
        [(b.float() + size * torch.randn(len(b), generator=generator)).to(dtype) for _ in range(n)]
        for b in base
    ]
    wide = torch.promote_types(dtype, torch.float32)
    pairs = zip(rows, base, strict=True)
    return rows, base, torch.cat([torch.stack(r).to(wide) - b.to(wide) for r, b in pairs], dim=1)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("widths", [[40_000, 7, 1300], [5], [64, 200]], ids=str)
def test_every_kind_of_rule_sees_the_differences(
    spec: str, dtype: torch.dtype, widths: list[int]
) -> None:
    rows, base, differences = problem(dtype, widths)
    rule, f = bf.parse(spec), 2
    center = differences.mean(dim=0) if rule.needs_center else None
    found = rule.explain(bf.Updates.from_blocks(rows, base), f, center=center)
    expected = rule.explain(differences, f, center=center)
    assert found.value.dtype == expected.value.dtype
    gap = (found.value - expected.value).norm() / expected.value.norm()
    assert gap <= (5e-6 if dtype != torch.float64 else 1e-12)
    assert found.kept == expected.kept


def test_small_steps_of_large_weights_keep_their_digits() -> None:
    """A Gram matrix of the models themselves would have none left at steps of 1e-4."""
    rows, base, _ = problem(torch.float32, [50_000], n=7, size=1e-4)
    exact = torch.stack(rows[0]).double() - base[0].double()
    updates = bf.Updates.from_blocks(rows, base)
    geometry = bf.Geometry.of(updates)
    np.testing.assert_allclose(geometry.norms_of_rows(), exact.norm(dim=1).numpy(), rtol=1e-5)
    truth = torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    np.testing.assert_allclose(geometry.distances(), truth, rtol=1e-5)


def test_rows_with_nan_and_differences_that_overflow_are_left_out() -> None:
    rows, base, _ = problem(torch.float32, [20_000, 3])
    rows[0][1][7] = torch.nan
    rows[1][4][2] = torch.inf
    base[0][11], rows[0][5][11] = -3e38, 3e38
    for row in (*rows[0][:5], *rows[0][6:]):
        row[11] = -3e38
    updates = bf.Updates.from_blocks(rows, base)
    assert finite_rows(updates).tolist() == [i not in {1, 4, 5} for i in range(9)]
    for spec in ("median", "multi_krum"):
        found = bf.parse(spec).explain(updates, 3)
        assert found.kept == (0, 2, 3, 6, 7, 8)
        assert found.value.isfinite().all()


def test_rows_too_large_to_be_squared_are_kept() -> None:
    rows, base, _ = problem(torch.float32, [5000, 3])
    rows[0][2][4000] = rows[1][7][1] = 1e30
    assert finite_rows(bf.Updates.from_blocks(rows, base)).all()


def test_sums_of_many_rows_keep_their_digits() -> None:
    rows, base, differences = problem(torch.float32, [700, 3], n=1500)
    weights = np.random.default_rng(0).random(1500) - 0.4
    found = bf.Updates.from_blocks(rows, base).combine(weights)
    exact = torch.from_numpy(weights) @ differences.double()
    assert (found - exact).norm() < 3e-7 * exact.norm()  # in one float32 sum 7e-7


def test_nothing_is_written_to() -> None:
    rows, base, _ = problem(torch.float32, [40_000])
    before = [row.clone() for row in (*rows[0], *base)]
    for spec in SPECS[:6]:
        bf.parse(spec)(bf.Updates.from_blocks(rows, base), 2)
    assert all(map(torch.equal, before, (*rows[0], *base)))


def test_a_base_has_the_shape_of_a_row() -> None:
    rows = [[torch.zeros(3)] * 2]
    with pytest.raises(ValueError, match=r"a base needs the shape and device of a row, \(3,\) on"):
        bf.Updates.from_blocks(rows, [torch.zeros(2)])


@pytest.mark.parametrize("spec", ["arc > nnm > trimmed_mean", "median", "krum", "mean"])
def test_differences_never_exist_in_memory(spec: str) -> None:
    rows, base, differences = problem(torch.float32, [500_000], n=16)
    size = differences.nbytes / 1e6
    del differences
    rule = bf.parse(spec)
    found = peak_memory(lambda: rule(bf.Updates.from_blocks(rows, base), 3))
    if found is None:
        pytest.skip("the system keeps no account that can be reset")
    assert found < size / 3  # the aggregate alone is a sixteenth
