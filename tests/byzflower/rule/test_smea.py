"""SMEA where rounding is as large as the distances between rows."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf


@pytest.mark.parametrize("seed", [*range(60), 78, 168, 606])
def test_rows_that_nearly_coincide_are_averaged(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(5, 13, (), generator=generator))
    d = int(torch.randint(1, 200, (), generator=generator))
    x = torch.randn(n, d, generator=generator)
    x[-1] *= 1e6
    c = 10 ** float(torch.empty(()).uniform_(-4, 3, generator=generator))
    rule = bf.parse(f"nnm > clip(c={c}) > clip(c={c / 1000}) > smea")
    value = rule(x.half() if seed % 3 == 0 else x, f=1)
    assert value.float().norm() <= c / 1000 * (1 + 1e-3) + 1e-6
