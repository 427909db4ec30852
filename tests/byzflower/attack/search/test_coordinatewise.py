"""Tiles of many candidates, in tensor operations and machine code, against sorting everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from byzflower.attack.search import coordinatewise, tile
from byzflower.attack.search.coordinatewise import Arrangement, Column, reduce_columns
from byzflower.attack.search.insertion import sort_rows
from byzflower.attack.search.tile import Line
from byzflower.kernels import Reduction, reference


@pytest.mark.parametrize("n", range(1, 9))
def test_network_sorts_all_zero_one_inputs(n) -> None:
    # A network that sorts every 0–1 input sorts every input (Knuth, 5.3.4, theorem Z).
    bits = torch.tensor([[i >> k & 1 for i in range(2**n)] for k in range(n)]).float()
    sorted_rows = torch.stack(sort_rows([row.clone() for row in bits]))
    assert torch.equal(sorted_rows, bits.sort(dim=0).values)


@pytest.mark.parametrize("n", [17, 33, 100])
def test_network_sorts_many_rows(n) -> None:
    rows = torch.randn(n, 50, generator=torch.Generator().manual_seed(n))
    assert torch.equal(torch.stack(sort_rows(list(rows.clone()))), rows.sort(dim=0).values)


def reduced(rows: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    function = (
        reference.trimmed_mean if reduction.kind == "trimmed_mean" else reference.around_median
    )
    return function(rows, reduction.count)


def example(d: int, dtype: torch.dtype) -> tuple[Line, list[Column]]:
    """Columns of all kinds: a family of three, one of equal shares, two that share nothing."""
    rng = torch.Generator().manual_seed(1)
    rows = torch.randn(6, d, generator=rng, dtype=torch.float64).to(dtype)
    work = torch.promote_types(dtype, torch.float32)
    mean, direction = rows.to(work).mean(dim=0), rows.to(work).std(dim=0)
    line = Line(rows, mean, np.linspace(1, -2, 6), np.linspace(0, 3, 6), direction)
    honest = np.vstack([np.eye(6), np.zeros((2, 6))])
    some = np.abs(np.random.default_rng(0).normal(size=(8, 6)))
    insert = np.array([0.0] * 6 + [1.0] * 2)
    equal, ragged = np.full(8, 0.25), np.linspace(0, 1, 8)
    reduction = Reduction("trimmed_mean", 2)
    return line, [
        *(Column(t, reduction, honest, insert) for t in range(3)),
        Column(3, reduction, some, equal),
        Column(4, Reduction("around_median", 4), some, ragged),
        Column(5, reduction, some, ragged),
    ]


def truth(line: Line, column: Column) -> list[float]:
    rows, mean = line.honest.double(), line.mean.double()
    v = line.along_mean[column.candidate] * mean
    v = v + line.along[column.candidate] * line.direction.double()
    everyone = torch.from_numpy(column.honest) @ rows + torch.from_numpy(column.faulty)[:, None] * v
    value = reduced(everyone, column.reduction)
    return [float((value - mean).square().sum()), float(value @ mean)]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("d", [1, 15, 1000])
def test_all_kinds_of_columns_over_many_tiles(d, dtype, compiled, monkeypatch) -> None:
    if not compiled:
        monkeypatch.setattr(tile, "fused", lambda *_: None)
    monkeypatch.setattr(coordinatewise, "tile_width", lambda *_: 48)
    line, all_columns = example(d, dtype)
    found = np.transpose(reduce_columns(line, all_columns))
    expected = np.array([truth(line, column) for column in all_columns])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * abs(expected).max())


def test_a_column_may_count_more_than_once() -> None:
    line, all_columns = example(40, torch.float64)
    once = np.array(reduce_columns(line, all_columns[:1]))
    np.testing.assert_allclose(np.array(reduce_columns(line, all_columns[:1] * 3)), 3 * once)


def test_candidates_share_what_they_can() -> None:
    _, all_columns = example(5, torch.float32)
    arrangement = Arrangement.of(all_columns)
    assert sorted(len(family) for family in arrangement.families.values()) == [1, 3]
    assert [column.candidate for column in arrangement.single] == [4, 5]
    assert len(arrangement.bases) == 7 + 8  # six rows and zero, then eight combinations


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_tiles_of_extreme_numbers_are_computed_in_float64(scale) -> None:
    line, all_columns = example(100, torch.float32)
    direction = line.direction * scale
    scaled = Line(line.honest * scale, line.mean * scale, line.along_mean, line.along, direction)
    for column in all_columns[:4]:
        found = np.transpose(reduce_columns(scaled, [column]))[column.candidate]
        np.testing.assert_allclose(found / scale**2, truth(line, column), rtol=1e-4)
