"""Errors of the mathematical core; each message is one line a user can act on."""

from __future__ import annotations

__all__ = ["BudgetError", "InfeasibleError", "SpecError"]


class InfeasibleError(ValueError):
    """The number of rows n and of faults f are outside the range a step is proved for."""


class BudgetError(InfeasibleError):
    """An exact search would take longer than it may; nothing approximate is returned instead."""


class SpecError(ValueError):
    """A spec string names an unknown step, an unknown parameter or a value out of range."""
