"""Where a kernel's columns come from: rows of blocks, chosen, converted and mixed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from byzflower.kernels.reduction import Block

__all__ = ["Source"]

# Below this a float32 weight is (nearly) denormal and would lose digits.
_SMALLEST_FLOAT32_WEIGHT = 2.0**-100


@dataclass(frozen=True)
class Source:
    """Blocks of rows and what to do to them before they are reduced.

    ``rows`` picks rows by index (all when None); ``mixing`` (m, rows) then replaces them by its
    combinations of them, chunk by chunk: the n×d matrix of mixed rows never exists.
    """

    blocks: tuple[Block, ...]
    mixing: Tensor | None
    rows: tuple[int, ...] | None

    @classmethod
    def of(
        cls,
        blocks: Iterable[Block],
        mixing: np.ndarray | Tensor | None = None,
        rows: Sequence[int] | None = None,
    ) -> Source:
        """Bring the arguments of :func:`byzflower.kernels.reduce` into one form."""
        source = cls(
            tuple(blocks),
            None if mixing is None else torch.as_tensor(mixing, dtype=torch.float64),
            None if rows is None else tuple(int(row) for row in rows),
        )
        if source.mixing is not None and source.mixing.shape[1] != source.selected:
            raise ValueError(
                f"`mixing` needs a column for each of the {source.selected} rows; "
                f"found shape {tuple(source.mixing.shape)}"
            )
        return source

    @property
    def selected(self) -> int:
        """How many rows are read."""
        return len(self.blocks[0]) if self.rows is None else len(self.rows)

    @property
    def m(self) -> int:
        """How many rows reach the reduction."""
        return self.selected if self.mixing is None else int(self.mixing.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """What the reduction computes in: float64 for float64 rows, float32 for the others."""
        wide = self.blocks[0][0].dtype == torch.float64
        return torch.float64 if wide else torch.float32

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.blocks[0][0].device

    def block_rows(self, block: Block) -> list[Tensor]:
        """Return the chosen rows of a block as 1-D views, outside autograd."""
        chosen = range(len(block)) if self.rows is None else self.rows
        return [block[row].detach() for row in chosen]

    def weights(self) -> Tensor | None:
        """Return the mixing matrix on the rows' device, in the dtype that its weights need."""
        if self.mixing is None:
            return None
        nonzero = self.mixing[self.mixing != 0].abs()
        fits = nonzero.numel() == 0 or float(nonzero.min()) >= _SMALLEST_FLOAT32_WEIGHT
        return self.mixing.to(self.device, self.dtype if fits else torch.float64)

    def chunks(self, columns: int) -> Iterator[tuple[int, Tensor]]:
        """Yield (first column, (m, ≤ columns) tensor in ``dtype``), in order; for reading only."""
        weights = self.weights()
        offset = 0
        for block in self.blocks:
            rows = self.block_rows(block)
            width = rows[0].numel()
            for start in range(0, width, columns):
                chunk = torch.stack([row[start : start + columns] for row in rows])
                if weights is not None:
                    chunk = weights @ chunk.to(weights.dtype)
                yield offset + start, chunk.to(self.dtype)
            offset += width
