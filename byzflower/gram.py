"""Measuring the Gram matrix of n updates, in one pass over the d coordinates.

The coordinates are read in chunks. Each chunk's products are taken between differences from one of
the rows, its centre, so that rows which differ by little keep the digits of their distances. The
cost is n²d/2 multiplications and one read of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from byzflower.budget import check_distances
from byzflower.kernels.cpu.gram import CentredRows
from byzflower.order import ranks_of_bytes
from byzflower.symmetric import mirrored
from byzflower.threads import on_threads
from byzflower.updates import Piece, Updates, packed

__all__ = ["Array", "Measured", "largest_entries", "measure", "unit_of"]

Array: TypeAlias = npt.NDArray[np.float64]

# Outside this range of mean squared entries a chunk is multiplied in float64: float32 products
# would overflow, or underflow for rows that differ by 1e-7 of their size.
_SAFE_MEAN_SQUARE = (1e-20, 1e30)
_RECENTRINGS = 3
_FAR = 16.0  # squared distances about a centre 4 times too far keep all but a digit
_HUGE = 1e140  # times the median row's entries: squares of larger ones would overflow float64
_SAMPLE_ELEMENTS = 1 << 15  # read to guess a centre; more would start torch's threads, which spin
_CHUNK_ELEMENTS, _WIDEST = 1 << 22, 1 << 16
_COPIED_ELEMENTS = 1 << 20  # where a chunk is copied to float64, a few times and in each thread
_WORTH_COMPILING = 1 << 15  # elements
_BAND = 256  # rows whose distances to all others exist at a time


@dataclass(frozen=True)
class Measured:
    """The Gram matrix of the updates, and which of them are finite.

    Attributes
    ----------
    gamma : numpy.ndarray
        Gram matrix of (r, x_1 − r, …, x_n − r) and, if a vector v_0 was given, v_0 − r: shape
        (n+1, n+1) or (n+2, n+2), in units of ``unit``². The centre r differs from chunk to chunk.
    finite : numpy.ndarray
        For x_1 … x_n and v_0: whether all entries are finite and small enough to be squared.
    unit : float
        The unit of length: 1 unless squares of the updates would leave float64's range.
    """

    gamma: Array
    finite: npt.NDArray[np.bool_]
    unit: float

    def __add__(self, other: Measured) -> Measured:
        """Return what measuring further columns of the same rows, in one unit, adds up to."""
        return Measured(self.gamma + other.gamma, self.finite & other.finite, self.unit)


def measure(
    updates: Updates, center: torch.Tensor | None = None, unit: float | None = None
) -> Measured:
    """Measure the updates and, if given, a further vector ``center`` of shape (d,).

    The unit follows from the updates, unless they are some of the columns of larger ones.

    In each chunk the centre r is a row whose distance to its n/2 nearest rows is about the least
    there is. A minority of rows, wherever they lie, thus cannot spoil the other rows' distances.

    Raises
    ------
    BudgetError
        If there is no memory for the distances of so many rows.

    Examples
    --------
    >>> import torch
    >>> measured = measure(Updates.of(torch.tensor([[1.0, 0.0], [1.0, 2.0]])))
    >>> measured.gamma[1:, 1:], measured.finite
    (array([[0., 0.],
           [0., 4.]]), array([ True,  True]))
    """
    if unit is None:
        unit = unit_of(largest_entries(updates)) if updates.dtype == torch.float64 else 1.0
    check_distances(updates.n)
    if updates.d == 0:
        count = updates.n + int(center is not None)
        return Measured(np.zeros((count + 1, count + 1)), np.ones(count, dtype=bool), unit)
    return _Measurement(updates, center, unit).run()


@dataclass
class _Measurement:
    updates: Updates
    center: torch.Tensor | None
    unit: float
    narrow: bool = field(init=False)
    compiled: bool = field(init=False)
    first: int = field(init=False)

    def __post_init__(self) -> None:
        updates, center = self.updates, self.center
        self.compiled = (
            updates.dtype != torch.float64
            and updates.n * updates.d >= _WORTH_COMPILING
            and (center is None or (center.dtype == updates.dtype and center.is_contiguous()))
            and (center is None or updates.bases[0] is None)
            and CentredRows.supports(updates.blocks[0])
        )
        # Torch may be set to multiply float32 in fewer digits; the compiled code is not.
        self.narrow = self.compiled or (
            updates.dtype != torch.float64 and torch.get_float32_matmul_precision() == "highest"
        )
        self.first = self._median_row()

    def run(self) -> Measured:
        count = self.updates.n + int(self.center is not None)
        gamma, finite = np.zeros((count + 1, count + 1)), np.ones(count, dtype=bool)
        for product, good in self._results():
            gamma += product
            finite &= good
        return Measured(gamma, finite, self.unit)

    def _results(self) -> Iterable[tuple[Array, npt.NDArray[np.bool_]]]:
        """Yield every chunk's result, in order; on CPUs threads share the chunks."""
        if self.updates.device.type != "cpu":
            return map(self._chunk, self.updates.ranges())
        elements = _CHUNK_ELEMENTS if self.compiled else _COPIED_ELEMENTS
        width = min(_WIDEST, max(1 << 12, elements // (self.updates.n + 1)))
        return on_threads(self._chunk, list(self.updates.ranges(width)))

    def _chunk(self, pieces: list[Piece]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return a chunk's Gram matrix about its centre, and which rows are finite in it."""
        if self.narrow:
            product = _about_majority(self._narrow_products(pieces), self.updates.n, self.first)
            if _is_safe(product, sum(piece.width for piece in pieces)):
                return product, np.ones(len(product) - 1, dtype=bool)
        rows = self._rows(pieces).double() / self.unit
        good = (rows.abs() <= _HUGE).all(dim=1)  # false for NaN as well
        rows = torch.where(good[:, None], rows, 0.0)
        flags: npt.NDArray[np.bool_] = good.cpu().numpy()
        products = _products(rows)
        return _about_majority(products, self.updates.n, self.first, flags), flags

    def _narrow_products(self, pieces: list[Piece]) -> Callable[[int], Array]:
        if not self.compiled:
            return _products(self._rows(pieces).float())
        bases = [piece.base for piece in pieces if piece.base is not None]
        return CentredRows(
            [
                piece.rows
                if self.center is None
                else [*piece.rows, self.center[piece.offset : piece.offset + piece.width]]
                for piece in pieces
            ],
            bases or None,
        ).products

    def _rows(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Return a chunk's rows and its part of v_0 as one tensor, in a dtype that holds both."""
        rows = packed(pieces)
        if self.center is None:
            return rows
        part = torch.cat([self.center[p.offset : p.offset + p.width] for p in pieces])
        dtype = torch.promote_types(rows.dtype, torch.float32)
        return torch.cat([rows.to(dtype), part.to(dtype)[None]])

    def _median_row(self) -> int:
        """Return a row of median norm in the first columns, a first guess of the centre."""
        columns = max(1, _SAMPLE_ELEMENTS // self.updates.n)
        sample = packed(next(self.updates.ranges(columns))).double().cpu().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.nan_to_num((sample * sample).sum(axis=1), nan=np.inf)
        # Of rows of one norm the bytes decide, not the index.
        order = np.lexsort((ranks_of_bytes(sample), squares))
        return int(order[(self.updates.n - 1) // 2])


def _about_majority(
    products: Callable[[int], Array],
    n: int,
    middle: int,
    good: npt.NDArray[np.bool_] | None = None,
) -> Array:
    """Return the Gram matrix of (r, rows − r) for r = rows[middle], or a more central row.

    Products about a distant r, such as a faulty row, would lose the digits of the distances between
    the others; then the row nearest to a majority takes its place. Only ``good`` rows among the
    first n can be r.
    """
    for _ in range(_RECENTRINGS):
        product = products(middle)
        lengths = np.diag(product)[1 : n + 1]
        radii = np.empty(n)
        for low in range(0, n, _BAND):
            band = slice(low, min(n, low + _BAND))
            with np.errstate(invalid="ignore"):  # rows of NaN, or too large for float32
                apart = lengths[band, None] + lengths - 2 * product[1 : n + 1, 1 : n + 1][band]
            if good is not None:
                apart = np.where(good[:n] & good[band, None], apart, np.inf)
            radii[band] = np.partition(apart, n // 2, axis=1)[:, n // 2]
        best = int(np.nanargmin(radii)) if not np.isnan(radii).all() else middle
        if not radii[middle] > _FAR * max(radii[best], 0.0):
            break
        middle = best
    return product


def _products(rows: torch.Tensor) -> Callable[[int], Array]:
    """Return a function from r's index to the Gram matrix of (r, rows − r), as float64.

    Products are computed in the rows' dtype. Their rounding depends on their place in the matrix:
    on CPUs equal rows are multiplied once and the others in the order of their bytes, so that the
    order of the rows changes nothing.
    """
    places, distinct = None, rows
    if rows.device.type == "cpu":
        ranks = ranks_of_bytes(rows.numpy())
        _, first, places = np.unique(ranks, return_index=True, return_inverse=True)
        distinct = rows[torch.from_numpy(first)]

    def about(middle: int) -> Array:
        centred = torch.cat([rows[middle : middle + 1], distinct - rows[middle]])
        product: Array = (centred @ centred.T).double().cpu().numpy()
        product = mirrored(product)
        if places is not None:
            index = np.concatenate([[0], places + 1])
            product = product[np.ix_(index, index)]
        return product

    return about


def _is_safe(product: Array, columns: int) -> bool:
    """Whether float32 held the products: neither the centre too small nor a row too large."""
    squares = np.diag(product) / columns
    low, high = _SAFE_MEAN_SQUARE
    return bool(squares[0] > low and (squares < high).all())  # false for NaN as well


def largest_entries(updates: Updates) -> Array:
    """Return the largest |x_ij| of each row, shape (n,); 0 for one with NaN or Inf in a chunk."""
    largest = torch.zeros(updates.n, dtype=torch.float64, device=updates.device)
    for _, chunk in updates.chunks():
        largest = torch.maximum(largest, chunk.abs().amax(dim=1).nan_to_num(nan=0.0, posinf=0.0))
    found: Array = largest.cpu().numpy()
    return found


def unit_of(largest: Array) -> float:
    """Return a power of two near the median row's largest entry; 1 where float64 needs no unit."""
    middle = float(np.sort(largest)[(len(largest) - 1) // 2])
    if middle == 0 or 1e-60 < middle < 1e60:
        return 1.0
    return math.ldexp(0.5, math.frexp(middle)[1])
