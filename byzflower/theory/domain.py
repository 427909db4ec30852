"""Checks that arguments are in the range of a theorem."""

from __future__ import annotations

from byzflower.errors import InfeasibleError
from byzflower.validation import rows_as_text

__all__ = ["need", "need_rows"]


def need(what: str, requirement: str, holds: bool, **found: object) -> None:
    """Raise unless ``holds``, naming the requirement and the values found.

    Raises
    ------
    InfeasibleError
        If ``holds`` is false.

    >>> need("learning error", "B < W/(2s)", False, W=30, B=8, s=2)
    Traceback (most recent call last):
    ...
    byzflower.errors.InfeasibleError: learning error needs B < W/(2s); found W = 30, B = 8, s = 2
    """
    if not holds:
        values = ", ".join(f"{name} = {value}" for name, value in found.items())
        raise InfeasibleError(f"{what} needs {requirement}; found {values}")


def need_rows(what: str, n: int, f: int, factor: int = 2, offset: int = 1) -> None:
    """Raise unless f ≥ 0 and n ≥ ``factor``·f + ``offset``.

    Raises
    ------
    InfeasibleError
        If n and f are outside the range.

    >>> need_rows("λ of mda", 8, 4)
    Traceback (most recent call last):
    ...
    byzflower.errors.InfeasibleError: λ of mda needs n ≥ 2f+1 and f ≥ 0; found n = 8, f = 4
    """
    requirement = f"{rows_as_text(factor, offset)} and f ≥ 0"
    need(what, requirement, f >= 0 and n >= factor * f + offset, n=n, f=f)
