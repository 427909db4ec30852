"""The two reductions, by each of the implementations, against exact fractions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from byzflower.attack.search.insertion import inserted, sort_rows
from byzflower.attack.search.tile import Pattern
from byzflower.kernels import Block, Reduction, cpu, cuda, reference
from byzflower.kernels.cpu.compiler import available
from byzflower.kernels.cpu.effects import WIDTH, fused
from byzflower.kernels.source import Source

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
STYLES = ["ties", "spread", "offset", "huge", "tiny", "mixed"]
LAYOUTS = ["stacked", "rows", "strided rows", "columns first", "strided row list"]


class Implementation(NamedTuple):
    """``reduce`` gets blocks whose last so many rows are equal, and returns (d,).

    A closed form inserts them among the others; it sums in the rows' own precision and leaves
    ties, numbers whose squares are not finite, and what is no ``Pattern`` of its own to others.
    """

    reduce: Callable[[Sequence[Block], Reduction, int], Tensor]
    most_rows: int = 40
    is_closed_form: bool = False


def by_backend(
    backend: ModuleType, device: str, blocks: Sequence[Block], reduction: Reduction, copies: int
) -> Tensor:
    if device == "cuda":
        blocks = [[row.cuda() for row in block] for block in blocks]
    out = torch.full((sum(block[0].numel() for block in blocks),), torch.nan, device=device)
    out = out.to(blocks[0][0].dtype)
    backend.reduce(Source.of(blocks), reduction, out)
    return out.cpu()


def by_machine_code(
    is_sorted: bool, blocks: Sequence[Block], reduction: Reduction, copies: int
) -> Tensor:
    with patch.object(cpu, "_sorts", return_value=is_sorted):
        return by_backend(cpu, "cpu", blocks, reduction, copies)


def by_insertion(blocks: Sequence[Block], reduction: Reduction, copies: int) -> Tensor:
    x = torch.cat([torch.stack([*block]) for block in blocks], dim=1)
    ordered = sort_rows([row.clone() for row in x[: len(x) - copies]])
    return inserted(ordered, x[-1:], copies, reduction)[0]


def by_effects(blocks: Sequence[Block], reduction: Reduction, copies: int) -> Tensor:
    """Where the mean is 1 in one column and 0 elsewhere, its product with R is R there."""
    x = torch.cat([torch.stack([*block]) for block in blocks], dim=1)
    d = x.shape[1]
    x = torch.nn.functional.pad(x, (0, -d % WIDTH))
    code = fused(reduction, len(x) - copies, copies, x.dtype)
    rows, row, zero = [*x[: len(x) - copies]], x[-1], torch.zeros_like(x[0])
    scalars = x.new_zeros((1, 4))
    inner = [code(rows, row, one, zero, scalars)[0, 1] for one in torch.eye(len(zero)).to(x)[:d]]
    return torch.stack(inner).to(x.dtype)


IMPLEMENTATIONS = {
    "torch": Implementation(partial(by_backend, reference, "cpu")),
    "network": Implementation(partial(by_machine_code, True)),
    "selection": Implementation(partial(by_machine_code, False), most_rows=300),
    "triton": Implementation(partial(by_backend, cuda, "cuda"), most_rows=12),
    "insertion": Implementation(by_insertion, is_closed_form=True),
    "effects": Implementation(by_effects, is_closed_form=True),
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.cuda] if name == "triton" else [])
        for name in IMPLEMENTATIONS
    ],
)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    if request.param in {"network", "selection", "effects"} and not available("float32"):
        pytest.skip("needs llvmlite")
    return IMPLEMENTATIONS[request.param]


def reductions(m: int, copies: int, closed: bool) -> list[Reduction]:
    """All reductions of m rows, or those that have a closed form."""
    everything = [
        *(Reduction("trimmed_mean", trim) for trim in range((m + 1) // 2)),
        *(Reduction("around_median", keep) for keep in range(1, m + 1)),
    ]
    if not closed:
        return everything
    rows = tuple(range(m - copies))
    return [r for r in everything if Pattern(r, rows, m - copies, copies).is_closed]


def layout(x: Tensor, kind: str) -> Block:
    if kind == "rows":
        return tuple(row.clone() for row in x)
    if kind == "strided rows":
        return torch.cat([x, x], dim=1)[:, : x.shape[1]]
    if kind == "columns first":
        return x.T.contiguous().T
    if kind == "strided row list":
        return tuple(torch.stack([x, x], dim=2)[:, :, 1])
    return x


@settings(max_examples=70, deadline=None)
@given(data=st.data())
def test_equals_exact_fractions(
    data: st.DataObject, implementation, oracle, draw, assert_close
) -> None:
    closed = implementation.is_closed_form
    m = data.draw(st.integers(1, implementation.most_rows), label="m")
    copies = data.draw(st.integers(0, (m - 1) // 2), label="copies")
    reduction = data.draw(st.sampled_from(reductions(m, copies, closed)))
    untied = closed and reduction.kind == "around_median"
    dtype = data.draw(st.sampled_from(DTYPES[:2] if closed else DTYPES))
    styles = ["spread"] if untied else STYLES[:3] if closed else STYLES
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = draw(rng, data.draw(st.sampled_from(styles)), (m, 7), dtype)
    x[m - copies :] = x[m - 1] * data.draw(st.sampled_from([1, 0.01, -1, *[1e6] * closed]))
    expected, sizes = oracle(x.double().numpy(), reduction)
    if closed:  # copies out of reach are brought to within twice the others' spread
        sizes = 5 * x[: m - copies].double().abs().amax(dim=0).numpy()
    blocks, picks = [], []
    for width in data.draw(
        st.lists(st.sampled_from([1, 3, 63, 64, 70, 200]), min_size=1, max_size=3)
    ):
        pick = rng.integers(0, 7, width)
        blocks.append(layout(x[:, pick], data.draw(st.sampled_from(LAYOUTS))))
        picks.append(pick)
    before = [torch.stack([*block]) for block in blocks]
    found = implementation.reduce(blocks, reduction, copies)
    order = np.concatenate(picks)
    rounding = m * torch.finfo(dtype).eps if closed else 0.0
    assert_close(found, expected[order], sizes[order], rounding)
    for block, copy in zip(blocks, before, strict=True):
        assert torch.equal(torch.stack([*block]), copy)
