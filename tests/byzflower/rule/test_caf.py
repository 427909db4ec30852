"""CAF against exact fractions: in one dimension the top eigenvector is known."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import byzflower as bf


def exact(values: list[int], f: int) -> Fraction:
    """The definition in fractions, ties and all."""
    n, counts = len(values), [Fraction(1)] * len(values)
    best, least = Fraction(0), None
    while least is None or sum(counts) > n - 2 * f:
        total = sum(counts)
        mean = sum(c * x for c, x in zip(counts, values, strict=True)) / total
        tau = [(x - mean) ** 2 if c else Fraction(0) for c, x in zip(counts, values, strict=True)]
        spread = sum(c * t for c, t in zip(counts, tau, strict=True)) / total
        if least is None or spread < least:
            best, least = mean, spread
        if not any(tau):
            break
        counts = [c * (1 - t / max(tau)) for c, t in zip(counts, tau, strict=True)]
    return best


def test_weights_that_add_up_to_n_minus_2f_are_enough() -> None:
    values = [1, 1, -2, -4]  # one row leaves, and 5/9 + 5/9 + 8/9 = 2
    rows = torch.tensor(values, dtype=torch.float64)[:, None]
    assert exact(values, 1) == -1
    assert float(bf.CAF()(rows, 1)) == pytest.approx(-1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=3, max_size=11), st.data())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_tie_leave_together(
    dtype: torch.dtype, values: list[int], data: st.DataObject
) -> None:
    f = data.draw(st.integers(0, (len(values) - 1) // 2))
    rows = torch.tensor(values, dtype=dtype)[:, None]
    assert float(bf.CAF()(rows, f)) == pytest.approx(float(exact(values, f)), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_colluders_that_send_one_row_leave_together(dtype: torch.dtype) -> None:
    rows = torch.tensor([0.3, -0.3, 1.6, 1.3, 0.6, -2.2, 0.05, 0.7, -4, -4, -4], dtype=dtype)
    assert float(bf.CAF()(rows[:, None], 3)) == pytest.approx(0.0613, abs=1e-4)
