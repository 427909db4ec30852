"""Compiled inner products of centred rows against float64."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from byzflower.gram import measure
from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.gram import CentredRows
from byzflower.updates import Updates

pytest.importorskip("llvmlite", reason="needs llvmlite")

NARROW = [torch.float16, torch.bfloat16, torch.float32]


def truth(rows: Tensor, middle: int) -> np.ndarray:
    """Products of what float32 holds of the differences."""
    rows = rows.float()
    centred = torch.cat([rows[middle : middle + 1], rows - rows[middle]]).double()
    return (centred @ centred.T).numpy()


def close(found: np.ndarray, true: np.ndarray) -> None:
    """Errors of a product are relative to the lengths of its factors."""
    lengths = np.sqrt(np.diag(true))
    scale = np.maximum(lengths[:, None] * lengths, np.finfo(np.float32).tiny)
    assert (np.abs(found - true) <= 3e-6 * scale).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_products_of_any_rows_in_any_pieces(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40), label="n")
    dtype = data.draw(st.sampled_from(NARROW), label="dtype")
    widths = data.draw(st.lists(st.integers(1, 1300), min_size=1, max_size=4), label="widths")
    middle = data.draw(st.integers(0, n - 1), label="middle")
    size = data.draw(st.sampled_from([1e-3, 1.0, 1e3]), label="size")
    seed = data.draw(st.integers(0, 999), label="seed")
    ties = data.draw(st.booleans(), label="ties")
    rows = torch.randn(n, sum(widths), generator=torch.Generator().manual_seed(seed))
    rows = ((rows.round() if ties else rows) * size).to(dtype)
    pieces: list[Tensor | Sequence[Tensor]] = []
    for i, part in enumerate(rows.split(widths, dim=1)):
        pieces.append([part, list(part.clone()), part.T.contiguous().T][i % 3])
    found = CentredRows(pieces).products(middle)
    assert np.array_equal(found, found.T)
    close(found, truth(rows, middle))


@pytest.mark.parametrize("n", [1, 2, 3, 11, 12, 13, 101, 300])
def test_many_rows(n: int) -> None:
    rows = torch.randn(n, 700, generator=torch.Generator().manual_seed(n))
    close(CentredRows([rows]).products(n // 2), truth(rows, n // 2))


def test_rows_are_only_read() -> None:
    rows = torch.randn(5, 999)
    before = rows.clone()
    CentredRows([rows]).products(0)
    assert torch.equal(rows, before)


def test_what_float32_cannot_hold_shows_in_the_product() -> None:
    rows = torch.ones(3, 100)
    rows[2, 7] = torch.nan
    assert np.isnan(CentredRows([rows]).products(0)[3, 3])
    rows[2, 7] = 1e30
    assert np.isinf(CentredRows([rows]).products(0)[3, 3])


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("centre", [False, True])
def test_threads_and_the_plain_path_agree(
    dtype: torch.dtype, centre: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.randn(13, 200_003, generator=torch.Generator().manual_seed(1)).to(dtype)
    extra = rows.float().mean(dim=0).to(dtype) if centre else None
    updates = Updates.from_blocks([rows[:, :7], list(rows[:, 7:])])
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(measure(updates, extra).gamma)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)
    monkeypatch.setattr(CentredRows, "supports", staticmethod(lambda _: False))
    plain = measure(updates, extra).gamma
    np.testing.assert_allclose(found[0], plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_works_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(9, 10_000)
    compiled = measure(Updates.of(rows)).gamma
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "llvmlite", None)
        compiler.available.cache_clear()
        compiler._loaded.cache_clear()
        assert not CentredRows.supports(rows)
        plain = measure(Updates.of(rows)).gamma
    compiler.available.cache_clear()
    np.testing.assert_allclose(plain, compiled, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_what_torch_is_told_of_precision_changes_nothing() -> None:
    rows = torch.randn(9, 10_000)
    before, expected = torch.get_float32_matmul_precision(), measure(Updates.of(rows)).gamma
    try:
        torch.set_float32_matmul_precision("medium")
        assert np.array_equal(measure(Updates.of(rows)).gamma, expected)
    finally:
        torch.set_float32_matmul_precision(before)
