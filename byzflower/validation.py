"""Checks of hyper-parameters and counts; each error names the owner, the need and the finding."""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "fraction",
    "integer_at_least",
    "non_negative",
    "non_negative_int",
    "norm_order",
    "positive",
    "real",
    "rows_as_text",
]


def real(value: object, owner: str, name: str) -> None:
    """Refuse a hyper-parameter that is not a finite number."""
    if not _is_real(value) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"`{owner}` needs a finite number {name}; found {value!r}")


def positive(value: object, owner: str, name: str) -> None:
    """Refuse a hyper-parameter that is not a positive, finite number."""
    if not _is_real(value) or not (math.isfinite(value) and value > 0):  # type: ignore[arg-type, operator]
        raise ValueError(f"`{owner}` needs {name} > 0; found {value!r}")


def non_negative(value: object, owner: str, name: str) -> None:
    """Refuse a hyper-parameter that is not a finite number ≥ 0."""
    if not _is_real(value) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"`{owner}` needs a finite {name} ≥ 0; found {value!r}")


def fraction(value: object, owner: str, name: str) -> None:
    """Refuse a hyper-parameter that is not a number in [0, 1)."""
    if not _is_real(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise ValueError(f"`{owner}` needs {name} in [0, 1); found {value!r}")


def norm_order(value: object, owner: str) -> None:
    """Refuse a p of ‖·‖_p that is not a finite number ≥ 1."""
    if not _is_real(value) or not 1 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"`{owner}` needs a finite p ≥ 1; found {value!r}")


def integer_at_least(value: object, least: int, owner: str, name: str) -> None:
    """Refuse a hyper-parameter that is not an integer ≥ ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{owner}` needs an integer {name} ≥ {least}; found {value!r}")


def non_negative_int(value: object, name: str) -> int:
    """Return ``value`` if it is an integer ≥ 0, else say what was found."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"`{name}` needs an integer ≥ 0; found {value!r}")
    return int(value)


def rows_as_text(a: int, b: int) -> str:
    """Write n ≥ a·f + b as errors and listings show it.

    >>> rows_as_text(2, 3), rows_as_text(1, 1), rows_as_text(0, 1)
    ('n ≥ 2f+3', 'n ≥ f+1', 'n ≥ 1')
    """
    return f"n ≥ {b}" if a == 0 else f"n ≥ {a if a > 1 else ''}f+{b}"


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
