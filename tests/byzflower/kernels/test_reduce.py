from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import byzflower
from byzflower.kernels import Reduction, cpu, reduce, reference
from byzflower.kernels.cpu import compiler, segments
from byzflower.kernels.cpu.reductions import compiled
from byzflower.kernels.source import Source


def machine_code(is_sorted: bool, source: Source, reduction: Reduction, out: torch.Tensor) -> None:
    with patch.object(cpu, "_sorts", return_value=is_sorted):
        cpu.reduce(source, reduction, out)


BACKENDS = {
    "torch": reference.reduce,
    "network": partial(machine_code, True),
    "selection": partial(machine_code, False),
}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Callable[[Source, Reduction, torch.Tensor], None]:
    if request.param != "torch":
        pytest.importorskip("llvmlite", reason="needs llvmlite")
    return BACKENDS[request.param]


@pytest.mark.parametrize("style", ["ties", "spread"])
@pytest.mark.parametrize("m", [100, 1500])
def test_many_rows(m: int, style: str, *, oracle, draw, assert_close) -> None:
    x = draw(np.random.default_rng(m), style, (m, 30), torch.float32)
    out = torch.empty(30)
    for reduction in (Reduction.median(m), Reduction("around_median", m - m // 5)):
        reduce([x], reduction, out=out)
        assert_close(out, *oracle(x.numpy(), reduction))


@pytest.mark.parametrize("based", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_averages_of_thousands_of_rows_are_right_to_some_units_in_the_last_place(
    dtype: torch.dtype, based: bool, *, backend
) -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(1, 2, (4000, 70))).to(dtype)
    x[:, 35:] = x[0, 35:]  # equal numbers' rounding adds up
    base = torch.full((70,), -1.0, dtype=dtype) if based else None
    mixing = np.array([rng.permutation(4000) < 3600 for _ in range(7)]) / 3600
    out = torch.empty(70)
    backend(Source.of([x], mixing, bases=[base]), Reduction.median(7), out)
    exact = np.median(mixing @ (x.double().numpy() + based), axis=0)
    np.testing.assert_allclose(out.numpy(), exact, rtol=6 * torch.finfo(out.dtype).eps)


@pytest.mark.parametrize("d", [1, 10, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_thousands_of_equal_rows(d: int, dtype: torch.dtype) -> None:
    x, out = torch.full((4096, d), -0.3, dtype=dtype), torch.empty(d, dtype=dtype)
    x[1000:] = 0.7  # two clusters, of which the larger has the median
    for reduction in (
        Reduction.median(4096),
        Reduction("trimmed_mean", 1500),
        Reduction("around_median", 2000),
    ):
        reduce([x], reduction, out=out)
        torch.testing.assert_close(out, x[-1])
    reduce([x], Reduction("trimmed_mean", 500), out=out)
    torch.testing.assert_close(out, (500 * x[0] + 2596 * x[-1]) / 3096)
    reduce([x[:1000]], Reduction("around_median", 300), out=out)
    torch.testing.assert_close(out, x[0])


def test_numbers_as_far_apart_as_can_be(backend) -> None:
    # The integers that stand for them differ by more than an integer of their size holds.
    for dtype in (torch.float32, torch.float64):
        info = torch.finfo(dtype)
        values = [-info.max, -info.tiny, -0.0, 0.0, info.tiny * info.eps, 1.0, info.max]
        x = torch.tensor(values, dtype=dtype)[:, None].repeat(1, 64)
        out = torch.empty(64, dtype=dtype)
        for trim, expected in ((3, 0.0), (2, values[4] / 3), (1, 0.2)):
            backend(Source.of([x]), Reduction("trimmed_mean", trim), out)
            torch.testing.assert_close(out, torch.full_like(out, expected))
        rows = [0, 6, 6]  # in float64 their distance is infinite
        for keep, expected in ((1, info.max), (2, info.max), (3, info.max / 3)):
            backend(Source.of([x], rows=rows), Reduction("around_median", keep), out)
            torch.testing.assert_close(out, torch.full_like(out, expected))


@pytest.mark.parametrize("keep", range(1, 12))
def test_the_mean_of_the_largest_numbers_is_finite(keep: int, backend) -> None:
    x = torch.full((12, 64), torch.finfo(torch.float64).max, dtype=torch.float64)
    out = torch.empty(64, dtype=torch.float64)
    backend(Source.of([-x]), Reduction("around_median", keep), out)
    torch.testing.assert_close(out, -x[0])


@pytest.mark.parametrize("segment", [1, 7, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_code_may_be_cut_anywhere(
    segment: int,
    dtype: torch.dtype,
    *,
    oracle,
    draw,
    assert_close,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("llvmlite", reason="needs llvmlite")
    monkeypatch.setattr(segments, "_LONGEST", segment)
    x = draw(np.random.default_rng(segment), "ties", (14, 67), dtype)
    out = torch.empty(67, dtype=dtype)
    compiled.cache_clear()
    try:
        for reduction in (Reduction("trimmed_mean", 3), Reduction("around_median", 8)):
            machine_code(True, Source.of([x]), reduction, out)
            assert_close(out, *oracle(x.double().numpy(), reduction))
    finally:
        compiled.cache_clear()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rows_are_mixed_on_the_way(
    data: st.DataObject, backend, oracle, draw, assert_close
) -> None:
    n, m = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    dtype = data.draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = draw(rng, data.draw(st.sampled_from(["spread", "huge", "mixed"])), (n, 70), dtype)
    # Sparse weights, in thousandths that add up to at most one; whole rows may be zero.
    weights = rng.integers(0, 2, (m, n)) * rng.integers(0, 1000, (m, n)) / (1000 * n)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    mixed = weights @ x.double().numpy()
    trim = data.draw(st.integers(0, (m - 1) // 2))
    expected, _ = oracle(mixed, Reduction("trimmed_mean", trim))
    out = torch.empty(70, dtype=wide)
    backend(Source.of([x[:, :30], tuple(x[:, 30:])], weights), Reduction("trimmed_mean", trim), out)
    sizes = x.double().abs().amax(0).numpy()
    assert_close(out, expected, sizes, rounding=64 * torch.finfo(wide).eps)


def test_a_selection_is_not_a_mixture() -> None:
    x = torch.randn(5, 4)
    source = Source.of([x], mixing=np.eye(5)[[3, 1, 1]])
    assert source.mixing is None
    assert source.rows == (3, 1, 1)
    assert Source.of([x], mixing=np.eye(3)[[2, 0]], rows=[4, 2, 1]).rows == (1, 4)


def test_unused_rows_are_never_read(backend) -> None:
    x = torch.randn(9, 100)
    x[2], x[5] = torch.nan, torch.inf
    rows = [0, 1, 3, 4, 5, 6, 7, 8]
    weights = np.full((4, 8), 1 / 7)
    weights[:, 4] = 0.0
    out = torch.empty(100)
    backend(Source.of([x], weights, rows), Reduction.median(4), out)
    torch.testing.assert_close(out, x[[0, 1, 3, 4, 6, 7, 8]].mean(0))


def test_no_weights_at_all_give_zero(backend) -> None:
    out = torch.empty(100)
    backend(Source.of([torch.randn(3, 100)], np.zeros((8, 3))), Reduction.median(8), out)
    assert torch.equal(out, torch.zeros(100))


def test_weights_too_small_for_float32_keep_their_digits() -> None:
    x = torch.full((3, 1 << 16), 3e38)
    out = torch.empty(1 << 16)
    assert reduce([x], Reduction.median(3), out=out, mixing=np.eye(3) * 1e-42) == "torch"
    torch.testing.assert_close(out, x[0] * 0 + 3e-4)


def test_float64_sums_do_not_overflow(backend) -> None:
    x = torch.full((4, 80), 1.5e308, dtype=torch.float64)
    out = torch.empty(80, dtype=torch.float64)
    for reduction in (Reduction("trimmed_mean", 0), Reduction("around_median", 3)):
        backend(Source.of([x]), reduction, out)
        torch.testing.assert_close(out, x[0])


def test_values_as_near_on_either_side_count_half(backend) -> None:
    x = torch.tensor([[3.0], [1.0], [2.0], [2.0], [3.0]]).repeat(1, 65)
    out = torch.empty(65)
    for rows, keep, expected in (
        ((0, 1, 2, 3), 3, 2.0),  # 2, 2 and half of 1 and of 3
        ((1, 0, 3, 2), 3, 2.0),
        ((0, 1, 2, 3, 4), 4, 9 / 4),  # 2, 2, 3 and half of 1 and of the other 3
        ((0, 1, 2, 4), 1, 2.5),  # the median lies midway between 2 and 3
    ):
        backend(Source.of([x], rows=rows), Reduction("around_median", keep), out)
        torch.testing.assert_close(out, torch.full((65,), expected))


def test_result_takes_the_dtype_and_place_of_out(backend) -> None:
    x = torch.arange(15.0).view(5, 3).repeat(1, 30)
    for dtype in DTYPES:
        whole = torch.full((180,), -1.0, dtype=dtype)
        backend(Source.of([x]), Reduction.median(5), whole[::2])
        assert torch.equal(whole[::2], x[2].to(dtype))
        assert torch.equal(whole[1::2], torch.full((90,), -1.0, dtype=dtype))


def test_blocks_may_differ_in_dtype(backend) -> None:
    blocks = [torch.full((3, 70), 1 / 3, dtype=dtype) for dtype in DTYPES]
    out = torch.empty(280, dtype=torch.float64)
    backend(Source.of([*blocks, torch.empty(3, 0)]), Reduction.median(3), out)
    assert torch.equal(out, torch.cat([block[0].double() for block in blocks]))


def test_no_gradient_is_recorded(backend) -> None:
    out = torch.empty(70)
    backend(Source.of([torch.randn(3, 70, requires_grad=True)]), Reduction.median(3), out)
    assert not out.requires_grad


def test_threads_may_reduce_at_once() -> None:
    rows = [torch.randn(n, 300_000) for n in (9, 10, 11, 12)]

    def median(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty(x.shape[1])
        reduce([x], Reduction.median(len(x)), out=out)
        return out

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(median, rows * 3))
    for x, y in zip(rows * 3, found, strict=True):
        n = len(x)
        torch.testing.assert_close(y, x.sort(0).values[(n - 1) // 2 : n // 2 + 1].mean(0))


def test_number_of_threads_does_not_change_a_bit() -> None:
    x, found = torch.randn(12, 400_000), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(torch.empty(400_000))
            reduce([x], Reduction("around_median", 9), out=found[-1])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_fastest_backend_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite", reason="needs llvmlite")
    big, small = torch.randn(9, 1 << 14), torch.randn(9, 10)
    out = torch.empty(1 << 14)
    assert reduce([big], Reduction.median(9), out=out) == "llvm"
    assert reduce([small], Reduction.median(9), out=out[:10]) == "torch"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "llvmlite", None)
        compiler.available.cache_clear()
        compiler._loaded.cache_clear()
        again = torch.empty_like(out)
        assert reduce([big], Reduction.median(9), out=again) == "torch"
    compiler.available.cache_clear()
    torch.testing.assert_close(again, big.median(0).values)


def test_errors_name_the_requirement() -> None:
    x, out = torch.ones(4, 2), torch.empty(2)
    with pytest.raises(ValueError, match="`trimmed_mean` needs 0 ≤ 2·trim < rows; found trim = 2"):
        reduce([x], Reduction("trimmed_mean", 2), out=out)
    with pytest.raises(ValueError, match="`around_median` needs 1 ≤ keep ≤ rows; found keep = 5"):
        reduce([x], Reduction("around_median", 5), out=out)
    with pytest.raises(ValueError, match="`mixing` needs a column for each of the 4 rows"):
        reduce([x], Reduction("trimmed_mean", 1), out=out, mixing=np.eye(3))


def test_importing_loads_no_compiler() -> None:
    check = (
        "import sys, byzflower.kernels; sys.exit(bool({'llvmlite', 'triton'} & set(sys.modules)))"
    )
    root = Path(byzflower.__file__).parent.parent
    subprocess.run([sys.executable, "-c", check], check=True, cwd=root)


def test_a_kernel_shows_its_text_and_its_assembly() -> None:
    pytest.importorskip("llvmlite", reason="needs llvmlite")
    code = compiled(Reduction("trimmed_mean", 1), 5, "float32", False).run
    assert "define void @reduce" in code.text
    assert "reduce:" in code.assembly()
