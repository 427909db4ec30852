"""The server's geometry under each candidate, derived from one Gram matrix that all share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from byzflower.geometry import Array, Geometry
from byzflower.updates import Updates

__all__ = ["CandidateGeometry", "Span"]


class Span:
    """Vectors whose combinations are the server's rows under every candidate, measured once.

    Parameters
    ----------
    updates
        The S vectors that span all rows; finite.
    rows
        The server's n rows for each of T candidates as combinations of them, (T, n, S).
    fixed
        How many rows no candidate changes; they come first, the others are equal.
    center
        The server's previous aggregate (d,), if any.
    """

    def __init__(
        self, updates: Updates, rows: Array, fixed: int, center: torch.Tensor | None
    ) -> None:
        self.updates, self.rows, self.fixed, self.center = updates, rows, fixed, center
        self._measured: dict[bool, Geometry] = {}
        self._distances: dict[float, Array] = {}
        self._gammas: dict[tuple[int, bool], Array] = {}

    def measured(self, centred: bool) -> Geometry:
        """Geometry of the spanning vectors (and the centre): one pass over d, the first time."""
        centred = centred and self.center is not None
        if centred not in self._measured:
            center = self.center if centred else None
            self._measured[centred] = Geometry.of(self.updates, center=center)
        return self._measured[centred]

    @property
    def unmeasured(self) -> Geometry:
        """Geometry of the spanning vectors without distances, which costs nothing."""
        return Geometry(self.updates, np.arange(self.updates.n), None)

    def at(self, candidate: int, *, centred: bool, gram: bool) -> CandidateGeometry:
        """Return the geometry of the server's rows under one candidate."""
        if not gram:
            return CandidateGeometry(self, candidate)
        source = self.measured(centred)
        extra = len(source.gamma) - 1 - self.updates.n  # 1 with a centre, else 0
        key = candidate, bool(extra)
        if key not in self._gammas:
            self._gammas[key] = self._gamma(source.gamma, self.rows[candidate], extra)
        return CandidateGeometry(
            self, candidate, self._gammas[key], has_center=bool(extra), unit=source.unit
        )

    @staticmethod
    def _gamma(source: Array, rows: Array, extra: int) -> Array:
        """Gram matrix about the centre of rows that are combinations of measured ones."""
        n, spanning = rows.shape
        # Row i is Σ_j rows_ij (r + y_j): about r, it lies at (Σ_j rows_ij − 1) r + rows_i y.
        over = np.zeros((1 + n + extra, len(source)))
        over[0, 0] = 1.0
        over[1 : n + 1, 0] = rows.sum(axis=1) - 1
        over[1 : n + 1, 1 : spanning + 1] = rows
        over[n + 1 :, spanning + 1 :] = np.eye(extra)
        gamma: Array = over @ source @ over.T
        return (gamma + gamma.T) / 2

    def distances(self, p: float) -> Array:
        """‖x_i − x_j‖_p for every candidate, (T, n, n): one pass over d, the first time."""
        if p in self._distances:
            return self._distances[p]
        T, n, _ = self.rows.shape
        k = self.fixed
        left, right = np.triu_indices(k, 1)
        honest = self.rows[0, left] - self.rows[0, right]
        faulty = (self.rows[:, :k] - self.rows[:, k:][:, :1]).reshape(T * k, -1)
        lengths = self.unmeasured.norms(np.vstack([honest, faulty]), p)
        table = np.zeros((T, n, n))
        table[:, left, right] = table[:, right, left] = lengths[: len(left)]
        to_faulty = lengths[len(left) :].reshape(T, k, 1)
        table[:, :k, k:] = to_faulty
        table[:, k:, :k] = to_faulty.transpose(0, 2, 1)
        self._distances[p] = table
        return table


class CandidateGeometry(Geometry):
    """The n rows that the server would see under one candidate; plans are over these rows."""

    def __init__(
        self,
        span: Span,
        candidate: int,
        gamma: Array | None = None,
        matrix: Array | None = None,
        *,
        kept: npt.NDArray[np.intp] | None = None,
        has_center: bool = False,
        unit: float = 1.0,
    ) -> None:
        kept = np.arange(span.rows.shape[1]) if kept is None else kept
        super().__init__(span.updates, kept, gamma, matrix, has_center, unit)
        self._span, self._candidate = span, candidate

    def mixed(self, matrix: Array) -> CandidateGeometry:
        """Replace the rows by ``matrix @ rows``."""
        product = matrix @ self.matrix if self.is_mixed else matrix
        return CandidateGeometry(
            self._span,
            self._candidate,
            self._gamma,
            product,
            kept=self.kept,
            has_center=self._has_center,
            unit=self.unit,
        )

    def _with(self, kept: npt.NDArray[np.intp], gamma: Array) -> CandidateGeometry:
        return CandidateGeometry(
            self._span,
            self._candidate,
            gamma,
            kept=kept,
            has_center=self._has_center,
            unit=self.unit,
        )

    def distances(self, p: float = 2.0) -> Array:
        """‖x_i − x_j‖_p for all pairs; those of unmixed rows are measured for all candidates."""
        if p == 2.0 or self.is_mixed:
            return super().distances(p)
        table: Array = self._span.distances(p)[self._candidate][np.ix_(self.kept, self.kept)]
        return table if self.unit == 1.0 else table / self.unit

    def _combined(
        self, combinations: Array | None, columns: int | None = None
    ) -> Iterator[torch.Tensor]:
        """Read the spanning vectors in place of rows that exist nowhere."""
        over = self.matrix if combinations is None else combinations @ self.matrix
        rows = over @ self._span.rows[self._candidate][self.kept]
        return self._span.unmeasured._combined(rows, columns)
