"""How the training rows are divided among clients.

>>> import numpy as np
>>> labels = np.array([1, 0, 1, 0, 2, 2])
>>> [part.tolist() for part in parse_partition("extreme").split(labels, parts=3, seed=1)]
[[1, 3], [0, 2], [4, 5]]
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from byzflower.configured import Configured
from byzflower.registry import register
from byzflower.specs import parse_one

from .errors import ExperimentError

__all__ = [
    "IID",
    "Classes",
    "Dirichlet",
    "DirichletClients",
    "Extreme",
    "Partition",
    "RowIndices",
    "Shared",
    "parse_partition",
]

_DRAWS = 20
RowIndices = npt.NDArray[np.int64]


class Partition(Configured, ABC):
    """A way to give clients rows, of which none is left without.

    ``divides`` says whether each row is one client's alone.
    """

    divides: ClassVar[bool] = True

    def split(self, labels: npt.ArrayLike, parts: int, seed: int) -> list[RowIndices]:
        """Return each client's row numbers.

        Parameters
        ----------
        labels
            Integer label of every row.
        parts
            Number of clients.
        seed
            Decides everything that is random.

        Raises
        ------
        ExperimentError
            If some client would be left without rows.
        """
        y = np.asarray(labels)
        if parts < 1 or (self.divides and parts > len(y)):
            at_least = f"between 1 and {len(y)}" if self.divides else "one or more"
            raise ExperimentError(
                f"`{self.name}` needs {at_least} clients for {len(y)} rows; found {parts}"
            )
        return self._split(y, parts, seed)

    @abstractmethod
    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]: ...


@register("partition")
@dataclass(frozen=True)
class IID(Partition):
    """Equal shares of a random permutation."""

    name: ClassVar[str] = "iid"

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        return np.array_split(np.random.default_rng(seed).permutation(len(labels)), parts)


@register("partition")
@dataclass(frozen=True)
class Shared(Partition):
    """Every client has all rows and draws its batches from the one distribution (RESAM, §2)."""

    name: ClassVar[str] = "shared"
    divides: ClassVar[bool] = False
    reference: ClassVar[str] = "RESAM; AggregaThor"

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        return [np.arange(len(labels))] * parts


@register("partition")
@dataclass(frozen=True)
class Dirichlet(Partition):
    """Each class divided among the clients in proportions from a symmetric Dirichlet distribution.

    Clients' sizes differ. Drawn by Flower Datasets' ``DirichletPartitioner``; redrawn until every
    client has ``min_size`` rows.
    """

    name: ClassVar[str] = "dirichlet"
    reference: ClassVar[str] = "Yurochkin et al. 2019"
    alpha: float
    min_size: int = 1

    def __post_init__(self) -> None:
        _check_alpha(self.name, self.alpha)
        if not _is_count(self.min_size):
            raise ExperimentError(
                f"`dirichlet` needs an integer min_size ≥ 1; found {self.min_size!r}"
            )

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        def make(draw_seed: int) -> Any:
            return _partitioners().DirichletPartitioner(
                num_partitions=parts,
                partition_by="label",
                alpha=float(self.alpha),
                min_partition_size=self.min_size,
                seed=draw_seed,
            )

        shares = _drawn(make, labels, parts, seed)
        if shares is None:
            raise ExperimentError(
                f"`dirichlet` needs a larger alpha or fewer clients to give each of {parts} "
                f"clients min_size = {self.min_size} of {len(labels)} rows; "
                f"found alpha = {self.alpha}"
            )
        return shares


@register("partition")
@dataclass(frozen=True)
class DirichletClients(Partition):
    """Each client's class proportions from a symmetric Dirichlet distribution; equal sizes.

    Drawn by Flower Datasets' ``InnerDirichletPartitioner``. Once a class has no rows left, the
    clients that are not full go on with the proportions of the other classes.
    """

    name: ClassVar[str] = "dirichlet_clients"
    reference: ClassVar[str] = "Hsu et al. 2019"
    alpha: float

    def __post_init__(self) -> None:
        _check_alpha(self.name, self.alpha)

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        sizes = [len(share) for share in np.array_split(labels, parts)]
        classes = np.unique(labels, return_inverse=True)[1]  # it counts them from 0

        def make(draw_seed: int) -> Any:
            return _partitioners().InnerDirichletPartitioner(
                partition_sizes=sizes, partition_by="label", alpha=float(self.alpha), seed=draw_seed
            )

        shares = _drawn(make, classes, parts, seed)
        if shares is None:
            raise ExperimentError(
                f"`{self.name}` needs an alpha at which no client is left without classes; "
                f"found alpha = {self.alpha}"
            )
        return shares


@register("partition")
@dataclass(frozen=True)
class Extreme(Partition):
    """Rows sorted by label, divided evenly in that order (ARC D.1)."""

    name: ClassVar[str] = "extreme"
    reference: ClassVar[str] = "ARC D.1"

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        return np.array_split(np.argsort(labels, kind="stable"), parts)


@register("partition")
@dataclass(frozen=True)
class Classes(Partition):
    """Each class shared evenly by its own ``per`` clients (RS-Byrd-SAGA: three a class)."""

    name: ClassVar[str] = "classes"
    reference: ClassVar[str] = "RS-Byrd-SAGA"
    per: int = 1

    def __post_init__(self) -> None:
        if not _is_count(self.per):
            raise ExperimentError(f"`classes` needs an integer per ≥ 1; found {self.per!r}")

    def _split(self, labels: npt.NDArray[Any], parts: int, seed: int) -> list[RowIndices]:
        present, sizes = np.unique(labels, return_counts=True)
        if parts != self.per * len(present):
            raise ExperimentError(
                f"`classes` needs per × classes = {self.per} × {len(present)} clients; "
                f"found {parts}"
            )
        if sizes.min() < self.per:
            raise ExperimentError(
                f"`classes` needs at least per = {self.per} rows in every class; "
                f"found {sizes.min()}"
            )
        rows = (np.flatnonzero(labels == label) for label in present)
        return [share for of_class in rows for share in np.array_split(of_class, self.per)]


def parse_partition(spec: str | Partition) -> Partition:
    """Read a partition such as ``"iid"`` or ``"dirichlet(alpha=0.3)"``.

    Raises
    ------
    SpecError
        If the name, a parameter or a value is not valid; nothing is ever evaluated.

    >>> parse_partition("dirichlet(alpha=0.3)")
    Dirichlet(alpha=0.3, min_size=1)
    >>> parse_partition("dirichlet(alpha=-1)")
    Traceback (most recent call last):
    byzflower.errors.SpecError: `dirichlet` needs alpha > 0; found -1
    """
    return parse_one(spec, "partition", Partition)


def _drawn(
    make: Callable[[int], Any], labels: npt.NDArray[Any], parts: int, seed: int
) -> list[RowIndices] | None:
    """Let a partitioner of Flower Datasets, made with a seed, draw; None if it keeps giving up."""
    from datasets import Dataset  # type: ignore[import-untyped]  # noqa: PLC0415

    table = Dataset.from_dict({"label": labels.tolist(), "row": range(len(labels))})
    for draw in range(_DRAWS):
        partitioner = make(seed if draw == 0 else _other_seed(seed, draw))
        partitioner.dataset = table
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns at every redraw
                shares = [partitioner.load_partition(i)["row"][:] for i in range(parts)]
        except ValueError:  # it gives up after a few redraws
            continue
        return [np.asarray(share, dtype=np.int64) for share in shares]
    return None


def _partitioners() -> Any:
    """Import Flower Datasets' partitioners; its drawing, with seaborn and SciPy, waits for use."""
    sys.meta_path.insert(0, _DeferredDrawing)
    try:
        return import_module("flwr_datasets.partitioner")
    finally:
        sys.meta_path.remove(_DeferredDrawing)


class _DeferredDrawing:
    """Finds the package of Flower Datasets that draws, and lets it load when something reads it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "flwr_datasets.visualization":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def _check_alpha(name: str, alpha: object) -> None:
    if not _is_number(alpha) or not 0 < alpha < float("inf"):  # type: ignore[operator]
        raise ExperimentError(f"`{name}` needs alpha > 0; found {alpha!r}")


def _other_seed(seed: int, draw: int) -> int:
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
