"""Squared distances of rows from a vector, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byzflower.kernels import Gaps, Reduction, reduce

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    widths=st.lists(st.sampled_from([0, 1, 63, 64, 65]) | st.integers(1, 9000), min_size=1),
    based=st.booleans(),
    stacked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_rows_in_any_blocks(
    *, n: int, dtype: torch.dtype, widths: list[int], based: bool, stacked: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.promote_types(dtype, torch.float32)
    widths = widths[:3]
    rows = [torch.randn(n, width, generator=generator).to(dtype) for width in widths]
    bases = [
        torch.randn(width, generator=generator).to(dtype) if based else None for width in widths
    ]
    vector = torch.randn(sum(widths), generator=generator).to(wide if based else dtype)
    blocks = rows if stacked else [[row.clone() for row in block] for block in rows]
    found = Gaps.to(vector, blocks, bases).squares()
    less = [0.0 if base is None else base.double() for base in bases]
    true = torch.cat([block.double() - b for block, b in zip(rows, less, strict=True)], dim=1)
    expected = (true - vector.double()).square().sum(dim=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rows_whose_elements_are_not_adjacent_are_measured() -> None:
    rows = torch.randn(300, 5).T
    np.testing.assert_allclose(
        Gaps([rows], [None], [torch.zeros(300)]).squares(), rows.double().square().sum(dim=1), 1e-5
    )


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("column", [3, 699])
def test_what_has_no_square_is_not_finite(odd: float, column: int) -> None:
    rows = torch.randn(5, 700)
    rows[2, column] = odd
    found = Gaps([rows], [None], [torch.zeros(700)]).squares()
    assert np.isfinite(found).tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("n", [9, 200])  # sorted by a network; selected
@pytest.mark.parametrize("mixed", [False, True])
def test_a_reduction_measures_what_it_makes(n: int, mixed: bool) -> None:
    generator = torch.Generator().manual_seed(n)
    widths, base = (5000, 70), torch.randn(5070, generator=generator)
    rows = torch.randn(n, 5070, generator=generator)
    blocks, bases = rows.split(widths, dim=1), base.split(widths)
    out, squares = torch.empty(5070), np.full(n, np.nan)
    mixing = torch.rand(n - 1, n - 1, generator=generator) / n if mixed else None
    kept = range(1, n)  # of the row left out, too, the distance is told
    reduce(
        blocks, Reduction.median(n - 1), out=out, mixing=mixing, rows=kept, bases=bases,
        squares=squares,
    )  # fmt: skip
    expected = (rows - base - out).double().square().sum(dim=1)
    np.testing.assert_allclose(squares, expected, rtol=1e-5)
