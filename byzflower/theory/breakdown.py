"""Breakdown points: the fraction f/n at which each rule stops promising anything."""

from __future__ import annotations

from fractions import Fraction

from byzflower.registry import rules
from byzflower.theory.domain import need

__all__ = ["breakdown_point", "max_faults"]

_BROKEN_BY_ONE = ("mean", "cge")  # whatever n they are computed for


def breakdown_point(rule: str, s: int = 1) -> Fraction:
    """Limit of f/n as n grows, 1/a for a rule whose ``rows_needed`` is n ≥ a·f + b.

    Behind s-replacement resampling f becomes s·f, and the point 1/(s·a) (RS-Byrd-SAGA Table 1).
    The mean, CGE and anything behind static clipping break at the first fault: 0.

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
    """Largest f that n rows allow, s·f of them faulty behind s-replacement resampling.

    Raises
    ------
    InfeasibleError
        If n is below what the rule needs at f = 0, or the rule has no such range.

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
