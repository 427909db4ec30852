"""Where a reduction's columns come from: rows of blocks, chosen, widened and mixed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels.reduction import Block

__all__ = ["SUMMANDS", "Source", "differences"]

SUMMANDS = 32  # products that are added up in float32: in some thousands two digits would go


@dataclass(frozen=True)
class Source:
    """Blocks of rows and what to do to them before they are reduced.

    ``rows`` picks rows by index; where a block has a base (c,), it is taken from them; ``mixing``
    (m, rows) then replaces them by combinations of them. All of it happens a chunk of columns at a
    time: the matrix of all differences or mixed rows never exists.
    """

    blocks: tuple[Block, ...]
    rows: tuple[int, ...]
    mixing: Tensor | None
    bases: tuple[Tensor | None, ...]

    @classmethod
    def of(
        cls,
        blocks: Iterable[Block],
        mixing: np.ndarray | Tensor | None = None,
        rows: Sequence[int] | None = None,
        bases: Sequence[Tensor | None] | None = None,
    ) -> Source:
        """Bring the arguments of :func:`byzflower.kernels.reduce` into their simplest form.

        Rows that no combination uses are not read; a mixing matrix that selects is a selection.
        """
        blocks = tuple(blocks)
        bases = (None,) * len(blocks) if bases is None else tuple(bases)
        rows = range(len(blocks[0])) if rows is None else rows
        if mixing is None:
            return cls(blocks, tuple(rows), None, bases)
        chosen = np.array(rows, dtype=np.intp)
        matrix = np.asarray(mixing, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(chosen):
            raise ValueError(
                f"`mixing` needs a column for each of the {len(chosen)} rows; "
                f"found shape {matrix.shape}"
            )
        if (np.count_nonzero(matrix, axis=1) == 1).all() and (matrix.sum(axis=1) == 1).all():
            return cls(blocks, tuple(chosen[matrix.argmax(axis=1)].tolist()), None, bases)
        used = np.flatnonzero(np.count_nonzero(matrix, axis=0))
        if not used.size:
            used = np.array([0])
        return cls(blocks, tuple(chosen[used].tolist()), torch.from_numpy(matrix[:, used]), bases)

    @property
    def m(self) -> int:
        """How many rows reach the reduction."""
        return len(self.rows) if self.mixing is None else int(self.mixing.shape[0])

    @property
    def d(self) -> int:
        """How many columns there are."""
        return sum(block[0].numel() for block in self.blocks)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.blocks[0][0].device

    @property
    def needs_float64(self) -> bool:
        """Tell whether a weight is too small for float32: a huge row, clipped."""
        if self.mixing is None:
            return False
        nonzero = self.mixing[self.mixing != 0].abs()
        return bool((nonzero < torch.finfo(torch.float32).tiny).any())

    @cached_property
    def indices(self) -> npt.NDArray[np.intp]:
        """The chosen rows, as an array."""
        return np.array(self.rows, dtype=np.intp)

    def part(self, index: int, start: int, stop: int) -> Tensor:
        """Copy some columns of a block's chosen rows, in their own dtype: no base, no mixing."""
        block = self.blocks[index]
        if isinstance(block, Tensor):
            rows = torch.from_numpy(self.indices).to(self.device)
            return block.detach()[:, start:stop].index_select(0, rows)
        return torch.stack([block[row][start:stop] for row in self.rows]).detach()

    def chunks(self, columns: int) -> Iterator[tuple[int, Tensor]]:
        """Yield (first column, (m, ≤ columns) tensor in the compute dtype), in order."""
        offset = 0
        for index, block in enumerate(self.blocks):
            dtype = compute_dtype(block)
            work = torch.float64 if self.needs_float64 else dtype
            weights = None if self.mixing is None else self.mixing.to(self.device, work)
            width = block[0].numel()
            for start in range(0, width, columns):
                chunk, base = self.part(index, start, start + columns), self.bases[index]
                if base is not None:
                    chunk = differences([*chunk], base[start : start + columns])
                if weights is not None:
                    chunk = _mixed(weights, chunk.to(work))
                yield offset + start, chunk.to(dtype)
            offset += width


def _mixed(weights: Tensor, rows: Tensor) -> Tensor:
    """Return weights @ rows, each sum of some products added up in float64."""
    total = weights[:, :SUMMANDS] @ rows[:SUMMANDS]
    for low in range(SUMMANDS, len(rows), SUMMANDS):
        group = slice(low, low + SUMMANDS)
        total = total.double().add_(weights[:, group] @ rows[group])
    return total


def differences(rows: Sequence[Tensor], base: Tensor) -> Tensor:
    """Return rows (c,) less a base (c,) as one (n, c) tensor, in float32, or float64 for float64.

    >>> differences([torch.tensor([1.5], dtype=torch.bfloat16)], torch.ones(1))
    tensor([[0.5000]])
    """
    wide = torch.promote_types(rows[0].dtype, torch.float32)
    base = base.to(wide)
    if base.device.type != "cpu" or rows[0].dtype != wide:
        out = torch.empty((len(rows), base.numel()), dtype=wide, device=base.device)
        for row, target in zip(rows, out, strict=True):
            torch.sub(row, base, out=target)
        return out
    # NumPy works on this thread alone, and reuses the memory of the tile before, which torch's
    # aligned allocations leave in pieces.
    tile = np.empty((len(rows), base.numel()), dtype=base.numpy().dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite, and found as such
        for row, target in zip(rows, tile, strict=True):
            np.subtract(row.numpy(), base.numpy(), out=target)
    return torch.from_numpy(tile)


def compute_dtype(block: Block) -> torch.dtype:
    """Return what a block's values are compared and mixed in: float32, or float64 for float64."""
    return torch.float64 if block[0].dtype == torch.float64 else torch.float32
