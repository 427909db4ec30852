"""The same number in every coordinate: NaN, infinity, zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["Inf", "NaN", "Zero"]


@dataclass(frozen=True)
class _Constant(Attack):
    """Send ``value`` in every coordinate."""

    reference: ClassVar[str] = "baseline"
    finite: ClassVar[bool] = False
    value: ClassVar[float]

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Fill a vector."""
        return torch.full_like(seen.honest[0], self.value), None


@register("attack")
@dataclass(frozen=True)
class NaN(_Constant):
    """Send NaN in every coordinate; a server that averages it loses its model permanently.

    >>> import torch
    >>> NaN()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[nan]])
    """

    name: ClassVar[str] = "nan"
    value: ClassVar[float] = float("nan")


@register("attack")
@dataclass(frozen=True)
class Inf(_Constant):
    """Send +∞ in every coordinate.

    >>> import torch
    >>> Inf()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[inf]])
    """

    name: ClassVar[str] = "inf"
    value: ClassVar[float] = float("inf")


@register("attack")
@dataclass(frozen=True)
class Zero(_Constant):
    """Send zeros, as a client that does no work.

    >>> import torch
    >>> Zero()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[0.]])
    """

    name: ClassVar[str] = "zero"
    finite: ClassVar[bool] = True
    value: ClassVar[float] = 0.0
