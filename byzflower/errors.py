"""Errors of the mathematical core; each message is one line a user can act on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["BudgetError", "InfeasibleError", "SpecError", "did_you_mean"]


class InfeasibleError(ValueError):
    """The number of rows n and of faults f are outside the range a step is proved for."""


class BudgetError(InfeasibleError):
    """A decision would take more time, or memory, than it may; nothing approximate replaces it."""


class SpecError(ValueError):
    """A spec string names an unknown step, an unknown parameter or a value out of range."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error's line that names the nearest of the known names, if one is near.

    >>> did_you_mean("krumm", ["krum", "mean"]), did_you_mean("zzz", ["krum", "mean"])
    ('; did you mean `krum`?', '')
    """
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    return f"; did you mean `{close[0]}`?" if close else ""
