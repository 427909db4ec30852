"""What every aggregation offers: a call, an explanation of it, and a check of (n, f)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from byzflower.errors import InfeasibleError
from byzflower.explanation import Explanation
from byzflower.updates import Rows, Updates

__all__ = ["Aggregator", "is_defined"]


class Aggregator(ABC):
    """Anything that turns n updates, f of them possibly faulty, into one vector.

    A sub-class defines ``spec``, ``check`` and ``_explain``. A rule of one's own is better derived
    from :class:`byzflower.Rule`, a pre-aggregator from :class:`byzflower.PreAggregator`: these
    decide on the Gram matrix and get the rest.
    """

    @property
    @abstractmethod
    def spec(self) -> str:
        """The text that :func:`byzflower.parse` turns into this aggregator."""

    @property
    def needs_center(self) -> bool:
        """Whether the caller should pass the previous aggregate as ``center``."""
        return False

    @property
    def searchable(self) -> bool:
        """Whether attacks can search against it: what it decides weighs rows or orders values."""
        return True

    @abstractmethod
    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless defined for n rows of which f may be faulty."""

    def explain(
        self,
        x: Rows,
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
        distances: bool = False,
    ) -> Explanation:
        """Aggregate, and say how.

        Parameters
        ----------
        x
            Updates: an (n, d) tensor, n tensors of shape (d,), or :class:`Updates`. Unmodified.
        f
            Assumed number of faulty rows. Rows with NaN or Inf are removed first and count
            against it.
        rng
            Source of randomness; the operating system's entropy by default.
        center
            Vector (d,) for rules with ``needs_center``: usually the previous aggregate.
        distances
            Whether to measure each row's distance to the aggregate, at little more than the
            aggregate's own cost.

        Returns
        -------
        Explanation
            The aggregate, the weight of each row, and a report of each step.

        Raises
        ------
        InfeasibleError
            If (n, f) is outside a step's range, or more than f rows are not finite.
        ValueError
            If ``f`` is no count, or ``x`` or ``center`` has a shape, dtype or value that cannot be
            aggregated.

        Examples
        --------
        >>> import byzflower as bf
        >>> rows = torch.tensor([[1.0], [2.0], [4.0], [7.0], [90.0]])
        >>> found = bf.parse("krum").explain(rows, f=1)
        >>> found.value, found.steps[0].note
        (tensor([2.]), {'selected': (1,)})
        """
        return self._explain(Updates.of(x), f, rng, center, distances)

    @abstractmethod
    def _explain(
        self,
        updates: Updates,
        f: int,
        rng: torch.Generator | None,
        center: torch.Tensor | None,
        distances: bool,
    ) -> Explanation:
        """Do what :meth:`explain` says of its arguments."""

    def __call__(
        self,
        x: Rows,
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the aggregate of ``x``, shape (d,); see :meth:`explain`."""
        return self.explain(x, f, rng=rng, center=center).value

    def __str__(self) -> str:
        return self.spec


def is_defined(rule: Aggregator, n: int, f: int) -> bool:
    """Whether a rule's :meth:`Aggregator.check` accepts n rows, f of them possibly faulty."""
    try:
        rule.check(n, f)
    except InfeasibleError:
        return False
    return True
