"""Updates: blocks read in place, in the right order, and combined without their removed rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.updates import stacked_view


def joined(updates: bf.Updates, columns: int | None = None) -> torch.Tensor:
    pieces, stop = [], 0
    for span, chunk in updates.chunks(columns):
        assert span.start == stop
        assert chunk.shape == (updates.n, span.stop - span.start)
        if columns:
            assert chunk.shape[1] <= columns
        pieces.append(chunk)
        stop = span.stop
    assert stop == updates.d
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize("columns", [None, 1, 3, 7, 100])
def test_chunks_are_the_columns_in_order(columns: int | None) -> None:
    x = torch.arange(4 * 30.0).view(4, 30)
    shapes = bf.Updates.from_blocks(
        [x[:, :6].reshape(4, 2, 3), list(x[:, 6:7]), [row[7:9].clone() for row in x], x[:, 9:]]
    )
    assert (shapes.n, shapes.d) == (4, 30)
    assert torch.equal(joined(shapes, columns), x)


def test_small_blocks_are_read_together() -> None:
    blocks = [torch.ones(3, 2) for _ in range(100)]
    assert len(list(bf.Updates.from_blocks(blocks).chunks(50))) == 4


def test_scalar_arrays_are_one_column() -> None:
    updates = bf.Updates.from_blocks([torch.tensor([1.0, 2.0]), [torch.tensor(3.0)] * 2])
    assert torch.equal(joined(updates), torch.tensor([[1.0, 3.0], [2.0, 3.0]]))


def test_rows_of_one_tensor_are_read_in_place() -> None:
    x = torch.randn(5, 8)
    for rows in (list(x), list(x[:, 2:5].contiguous()), list(x[::2])):
        (block,) = bf.Updates.of(rows).blocks
        assert isinstance(block, torch.Tensor)
        assert torch.equal(block, torch.stack(rows))
    assert bf.Updates.of(list(x)).blocks[0].data_ptr() == x.data_ptr()  # type: ignore[union-attr]


def test_rows_that_are_no_matrix_stay_apart() -> None:
    x = torch.randn(6)
    assert stacked_view([x, x]) is None  # one row twice
    assert stacked_view([x[:4], x[2:]]) is None  # overlapping
    assert stacked_view([x.clone(), x.clone()]) is None
    assert stacked_view([x]) is None
    y = torch.randn(4, 6)
    assert stacked_view([y[0], y[2], y[1]]) is None  # unevenly spaced
    assert stacked_view([y[0, :2], y[1, :3]]) is None


def test_narrower_arrays_of_a_model_are_widened() -> None:
    updates = bf.Updates.from_blocks([torch.ones(2, 3, dtype=torch.float16), torch.ones(2, 1)])
    assert updates.dtype == torch.float32
    assert joined(updates).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_combines_blocks_and_adds_a_vector(dtype: torch.dtype) -> None:
    x = torch.randn(6, 40_000, generator=torch.Generator().manual_seed(0)).to(dtype)
    weights, extra = np.array([0.5, 0.0, -2.0, 1e-3, 0.0, 7.0]), torch.ones(40_000, dtype=dtype)
    expected = torch.from_numpy(weights) @ x.double() + 1
    for updates in (
        bf.Updates.of(x),
        bf.Updates.from_blocks([list(x[:, :100].clone()), x[:, 100:]]),
        bf.Updates.of([row.clone() for row in x]),
    ):
        value = updates.combine(weights, extra)
        assert value.dtype == dtype
        close = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(value.double(), expected, rtol=close, atol=20 * close)


@pytest.mark.parametrize("n", [33, 4_000])
def test_thousands_of_rows_keep_their_digits(n: int) -> None:
    equal = torch.randn(700, generator=torch.Generator().manual_seed(0)).repeat(n, 1)
    varied = torch.rand(n, 700, generator=torch.Generator().manual_seed(1))
    for x in (equal, varied):
        for weights in (np.full(n, 1 / n), np.arange(n) % 5 / (2 * n)):
            expected = torch.from_numpy(weights) @ x.double()
            for updates in (bf.Updates.of(x), bf.Updates.of([row.clone() for row in x])):
                value = updates.combine(weights)
                torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=1e-8)


def test_rows_of_no_weight_are_not_read() -> None:
    x = torch.tensor([[1.0, 2.0], [torch.nan, torch.inf]])
    assert torch.equal(bf.Updates.of(x).combine(np.array([1.0, 0.0])), x[0])
    assert torch.equal(bf.Updates.of(x).combine(np.array([0.5, 0.0])), x[0] / 2)
    assert torch.equal(bf.Updates.of(x).combine(np.zeros(2)), torch.zeros(2))
    assert torch.equal(bf.Updates.of(x).combine(np.zeros(2), torch.ones(2)), torch.ones(2))


def test_weights_too_small_for_float32_keep_their_digits() -> None:
    x = torch.tensor([[1.0], [3e38]])
    value = bf.Updates.of(x).combine(np.array([0.5, 1 / 3e38 / 1e6]))
    assert value.item() == pytest.approx(0.5 + 1e-6, rel=1e-7)


def test_refuses_blocks_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="at least one block; found none"):
        bf.Updates([])
    with pytest.raises(ValueError, match="every block needs n = 2 rows; found 3"):
        bf.Updates.from_blocks([torch.ones(2, 1), torch.ones(3, 1)])
    with pytest.raises(ValueError, match=r"one dtype and shape; found .*\(2,\) and .*\(3,\)"):
        bf.Updates.from_blocks([[torch.ones(2), torch.ones(3)]])
    with pytest.raises(ValueError, match=r"one device; found cpu and meta"):
        bf.Updates.from_blocks([torch.ones(2, 1), torch.ones(2, 1, device="meta")])
    with pytest.raises(ValueError, match=r"n tensors of shape \(d,\); found \(1, 2\)"):
        bf.Updates.of([torch.ones(1, 2)])
    with pytest.raises(ValueError, match=r"n tensors of shape \(d,\); found list"):
        bf.Updates.of([[1.0, 2.0]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"found ndarray; see torch\.from_numpy"):
        bf.Updates.of(np.ones((2, 3)))  # type: ignore[arg-type]
