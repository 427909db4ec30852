"""The updates of one round: n vectors of dimension d, held as blocks and never concatenated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from byzflower.kernels import Reduction, reduce
from byzflower.kernels.source import SUMMANDS, differences

__all__ = ["Block", "Piece", "Rows", "Updates", "packed", "stacked_view"]

Block: TypeAlias = "torch.Tensor | tuple[torch.Tensor, ...]"
"""One model array of all clients: a stacked (n, c) tensor, or n separate tensors of shape (c,)."""

Rows: TypeAlias = "Updates | torch.Tensor | Sequence[torch.Tensor]"
"""n updates of dimension d: an (n, d) tensor, n tensors of shape (d,), or `Updates`."""


class Piece(NamedTuple):
    """Columns ``low`` to ``high`` − 1 of a block; the first is column ``offset`` of all d."""

    block: Block
    offset: int
    low: int
    high: int
    whole_base: torch.Tensor | None = None

    @property
    def base(self) -> torch.Tensor | None:
        """The piece's columns of what is taken from every row; None if nothing is."""
        return None if self.whole_base is None else self.whole_base[self.low : self.high]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.high - self.low

    @property
    def rows(self) -> Block:
        """The piece as a block, of views into the original one: rows before the base is taken."""
        if self.width == self.block[0].numel():
            return self.block
        if isinstance(self.block, torch.Tensor):
            return self.block[:, self.low : self.high]
        return tuple(row[self.low : self.high] for row in self.block)


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_TINY = 1e-30  # a clipped row of size 1e38 has a smaller weight than float32 can hold
_SERIAL = 1 << 15  # elements up to which torch starts no threads, for which a busy machine waits
_COLUMNS = {"cpu": 1 << 14, "cuda": 1 << 18}  # cache-sized on a CPU, launch-bound on a GPU


class Updates:
    """A virtual n × d matrix of client updates, stored block by block.

    A block holds one model array of all clients: one stacked ``(n, c)`` tensor, or ``n`` tensors
    of shape ``(c,)``. Both are read in place and never written to; no (n, d) copy is made. Separate
    tensors that are evenly spaced views of one storage are treated as the stacked tensor they are.

    Parameters
    ----------
    blocks
        One entry per model array, each with the same n, dtype float16, bfloat16, float32 or
        float64, all on one device. Where dtypes differ, narrower blocks are converted to the
        widest.
    base
        One tensor (c,) per block: the updates are the blocks' rows less it. The differences are
        formed where they are read, a cacheful at a time and in at least float32; all of them
        together never exist.

    Attributes
    ----------
    n, d : int
        Number of updates, and their dimension: the sum of the blocks' widths.
    dtype : torch.dtype
        The widest dtype of the blocks; with a base at least float32.
    blocks, bases : tuple
        The rows as they lie in memory, and what is taken from them: a tensor or None per block.
    offsets : tuple of int
        First column of each block, then d.

    Raises
    ------
    ValueError
        Without a block or a row, or if blocks differ in n, device, or in dtype or shape inside one.
    TypeError
        For integers, booleans and complex numbers.

    Examples
    --------
    >>> import torch
    >>> updates = Updates.of([torch.zeros(3), torch.ones(3)])
    >>> updates.n, updates.d, updates.dtype
    (2, 3, torch.float32)
    """

    def __init__(self, blocks: Sequence[Block], base: Sequence[torch.Tensor] | None = None) -> None:
        if not blocks:
            raise ValueError("updates need at least one block; found none")
        first = blocks[0]
        self.n = len(first)
        if self.n == 0:
            raise ValueError("updates need n ≥ 1 rows; found n = 0")
        self.device = first[0].device
        self.dtype = first[0].dtype
        for block in blocks:
            self._check(block)
            self.dtype = torch.promote_types(self.dtype, block[0].dtype)
        # Models of mixed precision are rare: their narrower arrays are widened, the others not.
        self.blocks: tuple[Block, ...] = tuple(_converted(block, self.dtype) for block in blocks)
        self.bases: tuple[torch.Tensor | None, ...] = (None,) * len(blocks)
        if base is not None:
            self.bases = tuple(self._base_of(*pair) for pair in zip(blocks, base, strict=True))
            self.dtype = torch.promote_types(self.dtype, torch.float32)
        widths = [block[0].numel() for block in blocks]
        self.offsets: tuple[int, ...] = tuple(accumulate(widths, initial=0))
        self.d = self.offsets[-1]

    def _base_of(self, block: Block, base: torch.Tensor) -> torch.Tensor:
        if base.shape != block[0].shape or base.device != self.device:
            raise ValueError(
                f"a base needs the shape and device of a row, {tuple(block[0].shape)} on "
                f"{self.device}; found {tuple(base.shape)} on {base.device}"
            )
        return base.to(self.dtype).contiguous()

    def _check(self, block: Block) -> None:
        if len(block) != self.n:
            raise ValueError(f"every block needs n = {self.n} rows; found {len(block)}")
        rows = [block] if isinstance(block, torch.Tensor) else block
        for row in rows:
            if row.dtype not in _DTYPES:
                raise TypeError(f"updates need a real floating-point dtype; found {row.dtype}")
            if row.device != self.device:
                raise ValueError(f"updates need one device; found {self.device} and {row.device}")
            if row.dtype != rows[0].dtype or row.shape != rows[0].shape:
                raise ValueError(
                    "the rows of a block need one dtype and shape; found "
                    f"{rows[0].dtype} {tuple(rows[0].shape)} and {row.dtype} {tuple(row.shape)}"
                )

    @classmethod
    def of(cls, x: Rows) -> Updates:
        """View an (n, d) tensor or n tensors of shape (d,) as updates, without a copy.

        Raises
        ------
        ValueError
            For any other shape, and for NumPy arrays.
        """
        if isinstance(x, Updates):
            return x
        if isinstance(x, torch.Tensor):
            if x.ndim != 2:
                raise ValueError(f"updates need shape (n, d); found {tuple(x.shape)}")
            return cls([x.detach()])
        rows = list(x)
        for row in rows:
            if not isinstance(row, torch.Tensor) or row.ndim != 1:
                found = tuple(row.shape) if isinstance(row, torch.Tensor) else type(row).__name__
                hint = "; see torch.from_numpy" if isinstance(row, np.ndarray | np.generic) else ""
                raise ValueError(f"updates need n tensors of shape (d,); found {found}{hint}")
        return cls.from_blocks([rows])

    @classmethod
    def from_blocks(
        cls,
        blocks: Sequence[torch.Tensor | Sequence[torch.Tensor]],
        base: Sequence[torch.Tensor] | None = None,
    ) -> Updates:
        """Build updates from one entry per model array, of any shape after the client axis.

        >>> Updates.from_blocks([torch.zeros(2, 3, 4), [torch.zeros(5), torch.ones(5)]]).d
        17
        """
        views: list[Block] = []
        for block in blocks:
            if isinstance(block, torch.Tensor):
                stack = block.detach()
                views.append(stack.flatten(1) if stack.ndim > 1 else stack[:, None])
            else:
                rows = tuple(row.detach().reshape(-1) for row in block)
                stacked = stacked_view(rows)
                views.append(rows if stacked is None else stacked)
        return cls(views, None if base is None else [b.detach().reshape(-1) for b in base])

    def ranges(self, columns: int | None = None) -> Iterator[list[Piece]]:
        """Cut the d columns, in order, into ranges of at most ``columns``, as lists of pieces.

        By default a range fits the CPU's cache. Several small blocks share one range.
        """
        limit = columns or _COLUMNS.get(self.device.type, 1 << 14)
        width, pending = 0, list[Piece]()
        for block, base, offset in zip(self.blocks, self.bases, self.offsets, strict=False):
            size = block[0].numel()
            for low in range(0, size, limit):
                piece = Piece(block, offset + low, low, min(size, low + limit), base)
                if width and width + piece.width > limit:
                    yield pending
                    width, pending = 0, []
                pending.append(piece)
                width += piece.width
        if width:
            yield pending

    def chunks(self, columns: int | None = None) -> Iterator[tuple[slice, torch.Tensor]]:
        """Read the matrix range by range: yield a slice of the d columns and their (n, c) tensor.

        The tensors may be views of the caller's memory and must not be written to.
        """
        for pieces in self.ranges(columns):
            start, last = pieces[0].offset, pieces[-1]
            yield slice(start, last.offset + last.width), packed(pieces)

    def combine(
        self,
        weights: npt.NDArray[np.float64],
        extra: torch.Tensor | None = None,
        *,
        finite: bool = False,
    ) -> torch.Tensor:
        """Return Σ w_i x_i (+ ``extra``), in one pass over the rows of non-zero weight.

        Parameters
        ----------
        weights
            (n,), float64.
        extra
            Vector (d,) to add.
        finite
            Whether all rows are finite. Otherwise rows of weight zero are never read, because
            0 × NaN would be NaN.

        Returns
        -------
        torch.Tensor
            (d,), in the updates' dtype and device. Its error does not grow with n.
        """
        out = torch.empty(self.d, dtype=self.dtype, device=self.device)
        used = np.flatnonzero(weights)
        if not len(used):
            return out.zero_() if extra is None else out.copy_(extra)
        if any(base is not None for base in self.bases):
            # The mean, in float64, of one sum in float32 for every so many rows.
            sums = -(-len(used) // SUMMANDS)
            mixing = np.zeros((sums, self.n))
            mixing[np.arange(len(used)) // SUMMANDS, used] = weights[used] * sums
            mean = Reduction("trimmed_mean", 0)
            reduce(self.blocks, mean, out=out, mixing=mixing, bases=self.bases)
            return out if extra is None else out.add_(extra)
        work = torch.promote_types(self.dtype, torch.float32)
        if np.abs(weights[used]).min() < _TINY:
            work = torch.float64
        if finite and 2 * len(used) >= self.n:  # one product of all rows beats gathering some
            used = np.arange(self.n)
        if len(used) == 1 and weights[used[0]] == 1.0:
            torch.cat([block[int(used[0])] for block in self.blocks], out=out)
            return out if extra is None else out.add_(extra)
        factors = torch.as_tensor(weights[used], dtype=work, device=self.device)
        groups = [slice(i, i + SUMMANDS) for i in range(0, len(used), SUMMANDS)]
        for low, high, block in zip(self.offsets, self.offsets[1:], self.blocks, strict=False):
            target = out[low:high]
            step = _COLUMNS.get(self.device.type, 1 << 14)
            if isinstance(block, torch.Tensor) and len(used) == self.n:
                if len(groups) == 1 and self.dtype == work:
                    torch.mv(block.T, factors, out=target)
                    continue
                step = _SERIAL
            for start in range(0, high - low, step):
                stop = min(high - low, start + step)
                partials = (
                    factors[group] @ _part(block, used[group], start, stop).to(work)
                    for group in groups
                )
                total = next(partials)
                for partial in partials:
                    total = total.double().add_(partial)
                target[start:stop] = total
        return out if extra is None else out.add_(extra)


def _part(block: Block, rows: npt.NDArray[np.intp], start: int, stop: int) -> torch.Tensor:
    """Return some columns of ascending rows, (rows, stop − start); a view if they are adjacent."""
    first, last = int(rows[0]), int(rows[-1])
    if isinstance(block, torch.Tensor) and last - first + 1 == len(rows):
        return block[first : last + 1, start:stop]
    return torch.stack([block[row][start:stop] for row in rows])


def _converted(block: Block, dtype: torch.dtype) -> Block:
    if isinstance(block, torch.Tensor):
        return block.to(dtype)
    return block if block[0].dtype == dtype else tuple(row.to(dtype) for row in block)


def packed(pieces: Sequence[Piece]) -> torch.Tensor:
    """Return the pieces side by side as one (n, c) tensor; a view where no copy is needed."""
    stacks = [_stack(piece) for piece in pieces]
    return stacks[0] if len(stacks) == 1 else torch.cat(stacks, dim=1)


def _stack(piece: Piece) -> torch.Tensor:
    rows = piece.rows
    if piece.base is not None:
        return differences([*rows], piece.base)
    return rows if isinstance(rows, torch.Tensor) else torch.stack(rows)


def stacked_view(rows: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return the (n, *shape) tensor of which ``rows`` are consecutive rows, without a copy.

    Returns ``None`` where the rows are not evenly spaced, contiguous views of one storage.

    >>> stacked = torch.zeros(3, 2)
    >>> stacked_view(list(stacked)).shape
    torch.Size([3, 2])
    """
    if len(rows) < 2 or rows[0].numel() == 0:
        return None
    base = rows[0]
    storage = base.untyped_storage().data_ptr()
    start, step = base.storage_offset(), rows[1].storage_offset() - base.storage_offset()
    if step < base.numel():  # overlapping rows, or one row several times
        return None
    for i, row in enumerate(rows):
        if (
            row.dtype != base.dtype
            or row.shape != base.shape
            or not row.is_contiguous()
            or row.storage_offset() != start + i * step
            or row.untyped_storage().data_ptr() != storage
        ):
            return None
    return base.as_strided((len(rows), *base.shape), (step, *base.stride()))
