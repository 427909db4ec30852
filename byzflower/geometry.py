"""Distances and inner products of n updates, from a single pass over the d coordinates.

A step that uses distances or norms depends on the updates only through their n × n Gram matrix,
and its output is a linear combination of the updates. ``Geometry`` measures that matrix once, in
float64. Clipped, mixed or selected rows are then vectors of coefficients, whose distances follow
from the matrix without reading the updates again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from byzflower.gram import Array, Measured, measure
from byzflower.kernels import Gaps, Reduction, reduce
from byzflower.lengths import Lengths
from byzflower.order import order_of_content
from byzflower.symmetric import squared_distances, symmetric_product
from byzflower.updates import Block, Updates

__all__ = ["Array", "Geometry", "finite_rows"]

_AT_ONCE = 1 << 18  # differences of rows' coordinates, 2 MiB
_CANCELLED = 1e-4  # of the sum of its terms: a smaller square has fewer than two digits in float32


class Geometry:
    """The rows that reach a step, each as coefficients over vectors whose Gram matrix is known.

    Those vectors, the generators, are a centre r and the centred rows y_i = x_i − r
    (:func:`byzflower.gram.measure` says how r is chosen). A current row is a coefficient vector
    c = (c_0, c_1 … c_N) over (r, y_1 … y_N): x_i itself is e_0 + e_i, a clipped or mixed row
    another combination. Squared distances are quadratic forms of coefficient *differences*, in
    which the centre cancels exactly, so updates that differ by little keep their digits.

    Measuring costs n²d/2 products and one read of the data, each method O(n³) at most unless it
    says that it reads the updates.

    Attributes
    ----------
    n : int
        Number of current rows (after mixing).
    kept : numpy.ndarray
        Indices of the original rows that hold only finite numbers and, where distances are
        measured, have finite squares, in the order of the current rows before any mixing. The other
        rows take no part.
    unit : float
        The unit of length: lengths computed here, times ``unit``, are those of the updates. It is 1
        except for float64 updates so large or small that their squares would leave float64's
        range.

    Examples
    --------
    >>> updates = Updates.of(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    >>> geometry = Geometry.of(updates)
    >>> geometry.squared_norms(), geometry.distances()[0]
    (array([  0.,  25., 100.]), array([ 0.,  5., 10.]))
    >>> geometry.mixed(np.array([[0.5, 0.5, 0.0]])).squared_norms()
    array([6.25])
    """

    def __init__(  # noqa: PLR0917
        self,
        updates: Updates,
        kept: npt.NDArray[np.intp],
        gamma: Array | None,
        matrix: Array | None = None,
        has_center: bool = False,
        unit: float = 1.0,
    ) -> None:
        self.unit = unit
        self._updates = updates
        self.kept = kept
        self._gamma = gamma
        self._matrix = matrix
        self._has_center = has_center
        self.n = len(kept) if matrix is None else len(matrix)

    @classmethod
    def of(
        cls, updates: Updates, *, center: torch.Tensor | None = None, gram: bool = True
    ) -> Geometry:
        """Check every row for NaN and Inf and, unless ``gram`` is false, measure the Gram matrix.

        Parameters
        ----------
        updates
            n rows of dimension d.
        center
            An extra vector (d,) that steps may measure against (centered clipping's v_0).
        gram
            Whether distances are needed; a given ``center`` implies it.

        Raises
        ------
        ValueError
            If ``center`` is not finite.
        """
        if not gram and center is None:
            return cls(updates, np.flatnonzero(finite_rows(updates)), None)
        return cls.of_measured(updates, measure(updates, center))

    @classmethod
    def of_measured(cls, updates: Updates, measured: Measured) -> Geometry:
        """Take what was measured of the updates, and maybe of a center, already.

        Raises
        ------
        ValueError
            If the center is not finite.
        """
        center = measured.finite[updates.n :]
        if not center.all():
            raise ValueError("`center` needs finite numbers; found NaN or Inf")
        kept = np.flatnonzero(measured.finite[: updates.n])
        generators = np.concatenate([[0], kept + 1, [updates.n + 1] if center.size else []])
        index = generators.astype(np.intp)
        gamma = measured.gamma
        if len(index) < len(gamma):
            gamma = gamma[np.ix_(index, index)]
        return cls(updates, kept, gamma, None, bool(center.size), measured.unit)

    @property
    def matrix(self) -> Array:
        """The current rows as combinations of the kept original rows, shape (n, len(kept))."""
        return np.eye(len(self.kept)) if self._matrix is None else self._matrix

    @property
    def is_measured(self) -> bool:
        """Whether distances follow from a Gram matrix."""
        return self._gamma is not None

    @property
    def is_mixed(self) -> bool:
        """Whether a step has replaced the rows."""
        return self._matrix is not None

    def ordered(self) -> Geometry:
        """Put unmixed rows into an order that their content decides, whatever theirs was.

        As they are, where nothing was measured.
        """
        if self._gamma is None:
            return self
        order = order_of_content(self.squared_distances(), self.numbers)
        index = np.arange(len(self._gamma))
        index[1 : self.n + 1] = order + 1
        return self._with(self.kept[order], self._gamma[np.ix_(index, index)])

    def _with(self, kept: npt.NDArray[np.intp], gamma: Array) -> Geometry:
        return type(self)(self._updates, kept, gamma, None, self._has_center, self.unit)

    def numbers(self, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[Any]]:
        """Read some rows, a range of columns at a time: arrays whose bytes order them."""
        for part in self._combined(np.eye(self.n)[rows]):
            yield part.cpu().numpy()

    def mixed(self, matrix: Array) -> Geometry:
        """Return the geometry of the rows ``matrix @ rows``, for ``matrix`` (m, n)."""
        product = matrix if self._matrix is None else matrix @ self._matrix
        return type(self)(
            self._updates, self.kept, self._gamma, product, self._has_center, self.unit
        )

    @property
    def gamma(self) -> Array:
        """Gram matrix of the generators: the centre, the centred rows and, if given, v_0 − r.

        Raises
        ------
        RuntimeError
            If it was not measured: a step that needs it must have ``needs_gram``.
        """
        if self._gamma is None:
            raise RuntimeError("this step measures distances but did not declare `needs_gram`")
        return self._gamma

    @cached_property
    def coefficients(self) -> Array:
        """Coefficient vectors of the current rows over the generators, shape (n, N + 1)."""
        matrix = self.matrix
        center = np.zeros((len(matrix), int(self._has_center)))
        return np.hstack([matrix.sum(axis=1, keepdims=True), matrix, center])

    @property
    def center_coefficients(self) -> Array:
        """Coefficient vector of the extra vector v_0, or of the origin where none was given."""
        vector = np.zeros(len(self.gamma))
        if self._has_center:
            vector[[0, -1]] = 1.0
        return vector

    @cached_property
    def _scales(self) -> Array | None:
        """The s of current rows s_i x_i, as before any step and after clipping; else None.

        Then n² products replace n³.
        """
        if self._matrix is None:
            return np.ones(self.n)
        scales = np.diag(self._matrix) if len(self._matrix) == len(self.kept) else np.zeros(0)
        if not scales.size or np.count_nonzero(self._matrix) > np.count_nonzero(scales):
            return None
        return scales

    def squared_norms(self) -> Array:
        """‖x_i‖² for every current row, shape (n,), clamped at 0."""
        return self._squares_from(np.zeros(len(self.gamma)))

    def norms_of_rows(self) -> Array:
        """‖x_i‖ for every current row, shape (n,), to at least two digits.

        The squared length of a row much shorter than the others cancels between terms of their
        size; such rows are read once more.
        """
        squares, scales = self.squared_norms(), self._scales
        if scales is None:
            sizes = np.abs(self.coefficients)
            terms = ((sizes @ np.abs(self.gamma)) * sizes).sum(axis=1)
        else:
            own = slice(1, self.n + 1)
            cross, diagonal = np.abs(self.gamma[0, own]), np.abs(np.diag(self.gamma)[own])
            terms = scales**2 * (abs(self.gamma[0, 0]) + 2 * cross + diagonal)
        lengths: Array = np.sqrt(squares)
        short = np.flatnonzero(squares < _CANCELLED * terms)
        if short.size:
            lengths[short] = self.norms(np.eye(self.n)[short], 2.0)
        return lengths

    @cached_property
    def centred_gram(self) -> Array:
        """Inner products of the differences of the rows from a point near them, shape (n, n).

        Distances between rows, and between combinations whose weights add up to one, can be
        computed from it as from any Gram matrix, with less cancellation than from ⟨x_i, x_j⟩.
        """
        if self._scales is not None:
            return self._scaled_gram(self._scales)
        return symmetric_product(self._images, self._centred)

    def _scaled_gram(self, scales: Array) -> Array:
        own = slice(1, self.n + 1)
        gram: Array = self.gamma[own, own]
        if (scales == 1.0).all():
            return gram
        gram = gram * scales
        gram *= scales[:, None]
        centre = scales - np.median(scales)
        if centre.any():
            cross = np.outer(scales * self.gamma[own, 0], centre)
            gram += cross
            gram += cross.T
            gram += self.gamma[0, 0] * np.outer(centre, centre)
        return gram

    @cached_property
    def _centred(self) -> Array:
        """Coefficients of the rows' differences from a point near most of them.

        Where most rows agree on a coefficient they have none, and no error from that generator.
        """
        centred: Array = self.coefficients - self._middle
        return centred

    @cached_property
    def _middle(self) -> Array:
        """Upper medians of the coefficients, shape (N + 1,)."""
        half = self.n // 2
        middle: Array = np.partition(self.coefficients, half, axis=0)[half]
        return middle

    @cached_property
    def _images(self) -> Array:
        """Products of the centred rows with the generators."""
        images: Array = self._centred @ self.gamma
        return images

    @property
    def noise(self) -> Array:
        """Bound on the rounding errors of the squared lengths in `centred_gram`, shape (n,).

        An inner product of generators is wrong by some units in the last place of the product of
        their lengths; the errors of the generators that a row combines add up.
        """
        exact = self._updates.dtype == torch.float64
        lengths = np.sqrt(np.maximum(np.diag(self.gamma), 0.0))
        scales = self._scales
        if scales is None:
            sizes = np.abs(self._centred) @ lengths
        else:
            centre = np.abs(scales - np.median(scales))
            sizes = centre * lengths[0] + np.abs(scales) * lengths[1 : self.n + 1]
        noise: Array = sizes**2 * (self.n * 2.0**-52 if exact else 2.0**-21)
        return noise

    def squared_distances(self) -> Array:
        """‖x_i − x_j‖² for all pairs of current rows, shape (n, n), clamped at 0."""
        return squared_distances(self.centred_gram)

    def distances_to(self, weights: Array, center: float = 0.0) -> Array:
        """‖x_i − z‖ to z = Σ w_j x_j + center · v_0 for every current row, shape (n,)."""
        if not self._has_center and not weights.any():
            return self.norms_of_rows()
        target = weights @ self.coefficients + center * self.center_coefficients
        distances: Array = np.sqrt(self._squares_from(target))
        return distances

    def _squares_from(self, target: Array) -> Array:
        """Squared distances of the current rows to the point with coefficients ``target``."""
        scales = self._scales
        if scales is None and not target.any():
            return self._squares(self.coefficients)
        if scales is None:
            target = target - self._middle
            away: Array = (self._images * self._centred).sum(axis=1) - 2 * (self._images @ target)
            away += float(target @ self.gamma @ target)
            return np.maximum(away, 0.0, out=away)
        # Row i's vector is s_i (e_0 + e_i): a form in e_0, e_i and the target's own generators.
        own = slice(1, self.n + 1)
        rest = target.copy()
        rest[0] = 0.0
        first = scales - target[0]
        image = self.gamma @ rest
        squares = first**2 * self.gamma[0, 0] + scales**2 * np.diag(self.gamma)[own]
        squares += 2 * scales * first * self.gamma[0, own] + float(rest @ image)
        squares -= 2 * (first * image[0] + scales * image[own])
        clamped: Array = np.maximum(squares, 0.0)
        return clamped

    def _squares(self, vectors: Array) -> Array:
        """Squared lengths of coefficient vectors, clamped at 0."""
        squares: Array = np.maximum(((vectors @ self.gamma) * vectors).sum(axis=1), 0.0)
        return squares

    def length(self, weights: Array, center: float = 0.0) -> float:
        """‖Σ w_j x_j + center · v_0‖."""
        vector = weights @ self.coefficients
        if center:
            vector = vector + center * self.center_coefficients
        return float(np.sqrt(self._squares(vector[None])[0]))

    def distances(self, p: float = 2.0) -> Array:
        """‖x_i − x_j‖_p for all pairs of current rows, shape (n, n).

        For p ≠ 2 the updates are read once more, at O(n²d) operations and O(n²) memory.
        """
        if p == 2.0:
            return np.sqrt(self.squared_distances())
        n, columns = self.n, 1 << 7
        step = max(1, _AT_ONCE // (n * columns))
        groups = [(low, min(n, low + step)) for low in range(0, n, step)]
        device = self._updates.device
        lengths = [Lengths((high - low) * (n - low), p, device) for low, high in groups]
        for rows in self._combined(None, columns):
            for (low, high), part in zip(groups, lengths, strict=True):
                apart = rows[low:high, None] - rows[low:]
                part.add(apart.flatten(0, 1))
        out = np.zeros((n, n))
        for (low, high), part in zip(groups, lengths, strict=True):
            found = part.value(self.unit).reshape(high - low, n - low)
            out[low:high, low:], out[low:, low:high] = found, found.T
        return out

    def distances_about(self, weights: Array, p: float) -> Array:
        """‖x_i − Σ_j w_j x_j‖_p for every current row, shape (n,).

        For p ≠ 2 the updates are read once more, at O(nd) operations.
        """
        if p == 2.0:
            return self.distances_to(weights)
        lengths = Lengths(self.n, p, self._updates.device)
        factors = torch.from_numpy(weights).to(self._updates.device)
        for rows in self._combined(None):
            lengths.add(rows - factors @ rows)
        return lengths.value(self.unit)

    def norms(self, combinations: Array, p: float) -> Array:
        """‖Σ_j a_ij x_j‖_p for each row a_i of ``combinations`` (k, n), shape (k,).

        Reads the updates once, at O(knd) operations and about 4 MiB of memory.
        """
        lengths = Lengths(len(combinations), p, self._updates.device)
        for rows in self._combined(combinations):
            lengths.add(rows)
        return lengths.value(self.unit)

    def distances_to_median(self, combinations: Array, p: float = 2.0) -> Array:
        """‖x̃_i − median(x̃_1 … x̃_k)‖_p for the k rows x̃ = ``combinations`` @ rows, shape (k,).

        The coordinate-wise median is not determined by distances: each call reads the updates.
        """
        lengths = Lengths(len(combinations), p, self._updates.device)
        middle = Reduction.median(len(combinations))
        for rows in self._combined(combinations):
            median = torch.empty_like(rows[0])
            reduce([rows], middle, out=median)
            lengths.add(rows - median)
        return lengths.value(self.unit)

    def _combined(
        self, combinations: Array | None, columns: int | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield ``combinations`` @ rows, or the rows, in float64, a range of columns at a time."""
        device = self._updates.device
        count = self.n if combinations is None else len(combinations)
        columns = columns or max(256, (1 << 19) // max(1, count))
        over = self._matrix if combinations is None else combinations
        if over is None:
            every = torch.from_numpy(self.kept).to(device)
            for _, chunk in self._updates.chunks(columns):
                yield chunk.index_select(0, every).double()
            return
        if combinations is not None and self._matrix is not None:
            over = combinations @ self._matrix
        used = over.any(axis=0)
        matrix = torch.from_numpy(over[:, used]).to(device)
        kept = torch.from_numpy(self.kept[used]).to(device)
        for _, chunk in self._updates.chunks(columns):
            yield matrix @ chunk.index_select(0, kept).double()


def finite_rows(updates: Updates) -> npt.NDArray[np.bool_]:
    """Return which rows hold only finite numbers, shape (n,); reads the updates once if all do.

    >>> finite_rows(Updates.of(torch.tensor([[1.0], [torch.nan]])))
    array([ True, False])
    """
    finite = torch.ones(updates.n, dtype=torch.bool, device=updates.device)
    # A finite sum has finite terms.
    bases = [base for base in updates.bases if base is not None]
    if bases:
        squares = Gaps(updates.blocks, [None] * len(bases), bases).squares()
        finite = torch.from_numpy(np.isfinite(squares)).to(updates.device)
    else:
        for block in updates.blocks:
            finite &= torch.isfinite(_sums_of_block(block))
    if not bool(finite.all()):
        finite[:] = True
        for _, chunk in updates.chunks():
            finite &= torch.isfinite(chunk).all(dim=1)
    flags: npt.NDArray[np.bool_] = finite.cpu().numpy()
    return flags


def _sums_of_block(block: Block) -> torch.Tensor:
    # One operation for a whole block: many small ones wait for each other's threads on a busy
    # machine.
    wide = _wide(block[0].dtype)
    if isinstance(block, torch.Tensor):
        return block.sum(dim=1, dtype=wide)
    return torch.stack([row.sum(dtype=wide) for row in block])


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
