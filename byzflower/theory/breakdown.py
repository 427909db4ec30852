"""Breakdown points: the fraction f/n at which each rule stops promising anything."""

from __future__ import annotations

from fractions import Fraction

from byzflower.theory.domain import need

__all__ = ["ROWS_NEEDED", "breakdown_point", "max_faults"]

# rule -> (a, b): n ≥ a·f + b. RESAM, AggregaThor, El Mhamdi et al. 2018.
ROWS_NEEDED: dict[str, tuple[int, int]] = {
    "mda": (2, 1),
    "trimmed_mean": (2, 1),
    "meamed": (2, 1),
    "krum_star": (2, 1),
    "multi_krum_star": (2, 1),
    "geometric_median": (2, 1),
    "median": (2, 1),
    "krum": (2, 3),
    "multi_krum": (2, 3),
    "bulyan": (4, 3),
}


def breakdown_point(rule: str, s: int = 1) -> Fraction:
    """Limit of f/n as n grows, 1/a for a rule that needs n ≥ a·f + b rows.

    Behind s-replacement resampling f becomes s·f, and the point 1/(s·a) (RS-Byrd-SAGA Table 1).
    The mean, CGE and anything behind static clipping break at the first fault: 0.

    >>> breakdown_point("median"), breakdown_point("bulyan"), breakdown_point("mean")
    (Fraction(1, 2), Fraction(1, 4), Fraction(0, 1))
    >>> breakdown_point("geometric_median", s=2)
    Fraction(1, 4)
    """
    need("breakdown point", "s ≥ 1", s >= 1, s=s)
    if rule in ("mean", "cge"):
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
    need("breakdown point", f"a rule of {sorted(ROWS_NEEDED)}", rule in ROWS_NEEDED, rule=rule)
    return ROWS_NEEDED[rule]
