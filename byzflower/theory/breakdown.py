"""Breakdown points: the fraction f/n of faulty rows from which a rule has no guarantee."""

from __future__ import annotations

from fractions import Fraction

from byzflower.registry import rules
from byzflower.theory.domain import need

__all__ = ["breakdown_point", "max_faults"]

_BROKEN_BY_ONE = ("mean", "cge")


def breakdown_point(rule: str, s: int = 1) -> Fraction:
    """Limit of f/n as n grows: 1/a for a rule that needs n ≥ a·f + b rows.

    After s-replacement resampling f becomes s·f, and the point 1/(s·a) (RS-Byrd-SAGA Table 1). For
    the mean and CGE it is 0: a single faulty row is enough.

    >>> breakdown_point("median"), breakdown_point("bulyan"), breakdown_point("mean")
    (Fraction(1, 2), Fraction(1, 4), Fraction(0, 1))
    >>> breakdown_point("geometric_median", s=2)
    Fraction(1, 4)
    """
    need("breakdown point", "s ≥ 1", s >= 1, s=s)
    if rule in _BROKEN_BY_ONE:
        return Fraction(0)
    return Fraction(1, s * _needed(rule)[0])


def max_faults(rule: str, n: int, s: int = 1) -> int:
    """Largest f for which the rule is defined on n rows, after s-replacement resampling if s > 1.

    Raises
    ------
    InfeasibleError
        If the rule needs more than n rows even for f = 0, or has no breakdown point above 0.

    >>> max_faults("median", 11), max_faults("krum", 11), max_faults("bulyan", 11)
    (5, 4, 2)
    """
    need("max_faults", "s ≥ 1", s >= 1, s=s)
    a, b = _needed(rule)
    need(f"`{rule}`", f"n ≥ {b}", n >= b, n=n)
    return (n - b) // (a * s)


def _needed(rule: str) -> tuple[int, int]:
    ranges: dict[str, tuple[int, int]] = {
        name: cls.rows_needed
        for name, cls in rules().items()
        if name not in _BROKEN_BY_ONE and cls.rows_needed[0] > 0
    }
    need("breakdown point", f"a rule of {list(ranges)}", rule in ranges, rule=rule)
    return ranges[rule]
