from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import byzflower
from byzflower.kernels import Reduction, cuda, reduce, reference
from byzflower.kernels.network import Window, network
from byzflower.kernels.source import Source

# Triton's interpreter runs the kernel on the CPU when the variable is set before the import.
INTERPRETED = """
import numpy as np, torch
from byzflower.kernels import Reduction, cuda, reference
from byzflower.kernels.source import Source

torch.manual_seed(0)
for m, kind, count, dtype in [
    (1, "around_median", 1, torch.float32),
    (2, "trimmed_mean", 0, torch.float16),
    (7, "trimmed_mean", 3, torch.bfloat16),
    (12, "trimmed_mean", 2, torch.float64),
    (9, "around_median", 6, torch.float32),
    (12, "around_median", 3, torch.float64),
]:
    for values in (torch.randint(-3, 4, (m, 200)), torch.randn(m, 200)):
        x = values.to(dtype)
        weights = np.tril(np.full((m, m), 1 / m))
        rows = tuple(x[:, 60:])
        for blocks, mixing in (([x[:, :60], rows], None), ([x[:, ::2]], None), ([x], weights)):
            source = Source.of(blocks, mixing)
            found, expected = torch.full((2, source.d), -7.0, dtype=dtype)
            cuda.reduce(source, Reduction(kind, count), found)
            reference.reduce(source, Reduction(kind, count), expected)
            torch.testing.assert_close(found, expected)
large = torch.full((4, 3), 1.5e308, dtype=torch.float64)
out = torch.empty(3, dtype=torch.float64)
cuda.reduce(Source.of([large]), Reduction("trimmed_mean", 0), out)
assert torch.equal(out, large[0])
print("agrees")
"""


def test_kernel_agrees_when_interpreted() -> None:
    pytest.importorskip("triton", reason="needs Triton")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(byzflower.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "agrees\n", done.stderr


@pytest.mark.parametrize(
    ("reduction", "dtype"),
    [(Reduction("trimmed_mean", 1), "fp32"), (Reduction("around_median", 4), "bf16")],
    ids=str,
)
def test_kernel_compiles_for_a_gpu_that_is_not_here(
    reduction: Reduction, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = pytest.importorskip("triton", reason="needs Triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from byzflower.kernels.triton_kernel import reduce_columns

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    window = Window.of(reduction, 6)
    constants = {
        "M": 6,
        "DTYPE": triton.language.dtype(dtype),
        "NETWORK": tuple((c.low, c.high) for c in network(6, window)),
        "FIRST": window.first,
        "LAST": window.last,
        "KEEP": window.keep,
        "MIDDLE": (2, 3),
        "COLUMNS": 128,
    }
    signature = {"addresses": "*i64", "out": f"*{dtype}", "width": "i32"}
    source = ASTSource(
        fn=reduce_columns,
        signature=signature | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
    )
    options = {"num_warps": 4, "enable_fp_fusion": False}
    try:
        target = GPUTarget("cuda", 80, 32)
        compiled = triton.compile(source, target=target, options=options)
    except FileNotFoundError as error:
        pytest.skip(f"needs NVIDIA's assembler: {error}")
    assert ".target sm_80" in compiled.asm["ptx"]


def test_a_cpu_source_is_not_for_cuda() -> None:
    assert not cuda.supports(Source.of([torch.ones(3, 5)]))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("m", [1, 2, 15, 30, 64])
def test_kernel_agrees_on_a_gpu(m: int, dtype: torch.dtype) -> None:
    for values in (torch.randint(-3, 4, (m, 5003)), torch.randn(m, 5003)):
        x = values.to("cuda", dtype)
        rows = tuple(x[:, 60:])
        for reduction in (Reduction.median(m), Reduction("around_median", max(1, m - m // 5))):
            for blocks, mixing in (([x[:, :60], rows], None), ([x], np.full((m, m), 1 / m))):
                source = Source.of(blocks, mixing)
                assert cuda.supports(source)
                found, expected = torch.empty(2, source.d, dtype=dtype, device="cuda")
                cuda.reduce(source, reduction, found)
                reference.reduce(source, reduction, expected)
                torch.testing.assert_close(found, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("m", "backend"), [(20, "triton"), (100, "torch")])
def test_backend_on_a_gpu(m: int, backend: str) -> None:
    x = torch.randn(m, 1 << 18, device="cuda")
    out = torch.empty(1 << 18, device="cuda")
    assert reduce([x], Reduction.median(m), out=out) == backend
    torch.testing.assert_close(out, x.sort(0).values[m // 2 - 1 : m // 2 + 1].mean(0))
