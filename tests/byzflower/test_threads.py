"""Aggregates have the same bits however many threads torch may take."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf
from byzflower.threads import on_threads, torch_threads

SPECS = [
    "mean",
    "arc > nnm > geometric_median",
    "geometric_median(p=1.5)",
    "centered_clipping(tau=1)",
    "nnm > trimmed_mean",
    "bucketing(s=2) > multi_krum",
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(13, 1000), (13, 20_003), (40, 2001)], ids=str)
@pytest.mark.parametrize("spec", SPECS)
def test_threads_do_not_change_an_aggregate(
    spec: str, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            found.append(bf.parse(spec)(x, f=2, rng=torch.Generator().manual_seed(1)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_torch_takes_one_thread_inside_and_as_many_as_before_outside() -> None:
    with torch_threads(3):
        assert on_threads(lambda _: torch.get_num_threads(), range(5)) == [1] * 5
        assert on_threads(lambda _: torch.get_num_threads(), [0]) == [1]
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError):
            on_threads(lambda x: 1 // x, [1, 0, 1])
        assert torch.get_num_threads() == 3
        with torch_threads(None):
            assert torch.get_num_threads() == 3
