"""The λ and κ that are proved for a pipeline, and by which theorem."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from byzflower.specs import parse
from byzflower.steps import Aggregator, Pipeline, PreAggregator, Rule
from byzflower.theory import arc, byrd_saga, resam

__all__ = ["Bounds", "bounds"]


@dataclass(frozen=True)
class Bounds:
    """Proved coefficients of a pipeline; ``None`` if none of the papers here proves one.

    Attributes
    ----------
    lambda_bound, kappa_bound : float or None
        (f, λ)-resilience (RESAM, Definition 2) and (f, κ)-robustness (ARC, Definition 2.4).
    lambda_source, kappa_source : str or None
        The theorem that proves each, or that none exists.
    broken : bool
        Whether a theorem proves that no coefficient exists (CGE, static clipping).
    """

    lambda_bound: float | None = None
    kappa_bound: float | None = None
    lambda_source: str | None = None
    kappa_source: str | None = None
    broken: bool = False

    @property
    def source(self) -> str:
        """The statements used, or "no theorem in these papers"."""
        used = dict.fromkeys(s for s in (self.lambda_source, self.kappa_source) if s)
        return "; ".join(used) or "no theorem in these papers"


def bounds(rule: str | Aggregator, n: int, f: int, d: int | None = None) -> Bounds:
    """Return the coefficients that are proved for ``rule`` on n rows, f of them faulty.

    Only theorems of the papers in :mod:`byzflower.theory` are known; other papers may prove more.
    :mod:`byzflower.theory.relation` converts a λ into a (looser) κ and back.

    Parameters
    ----------
    rule
        The aggregation, or its spec.
    d
        Dimension of the rows; ``None`` asks for bounds that hold in every dimension.

    Raises
    ------
    InfeasibleError
        If (n, f) is outside the range of a step.

    >>> found = bounds("mda", 15, 5)
    >>> found.lambda_bound, found.kappa_bound, found.source
    (1.0, None, 'RESAM Proposition 3')
    >>> bounds("arc > nnm > trimmed_mean", 11, 3).source
    'ARC Lemma 2.5, ARC Theorem 3.2'
    >>> bounds("clip(c=1.0) > median", 11, 3).broken
    True
    """
    rule = parse(rule)
    rule.check(n, f)
    if isinstance(rule, Pipeline):
        return _composed(rule.before, rule.rule, n, f, d)
    if isinstance(rule, Rule):
        return _alone(rule, n, f, d)
    return Bounds()


_PROPOSITIONS = {
    "mda": 3,
    "trimmed_mean": 4,
    "meamed": 5,
    "krum_star": 6,
    "geometric_median": 7,
    "median": 8,
}


def _composed(
    before: tuple[PreAggregator, ...], rule: Rule, n: int, f: int, d: int | None
) -> Bounds:
    if not before:
        return _alone(rule, n, f, d)
    first, rest = before[0], before[1:]
    if first.name == "nnm":
        known = not rest and rule.name in arc.NNM_RULES and _has_defaults(rule)
        kappa = arc.after_nnm(n, f) if known else None
        return Bounds(kappa_bound=kappa, kappa_source="ARC Lemma 2.5" if known else None)
    inner = _composed(rest, rule, n, f, d)
    if first.name == "arc" and inner.kappa_bound is not None:
        kappa = arc.after_arc(inner.kappa_bound, n, f)
        source = f"{inner.kappa_source}, ARC Theorem 3.2"
        return Bounds(kappa_bound=kappa, kappa_source=source)
    # Lemma 3.1 speaks of clipping before a robust rule; a resilient one is robust too
    if first.name == "clip" and (inner.lambda_bound, inner.kappa_bound) != (None, None):
        return Bounds(kappa_source="ARC Lemma 3.1", broken=True)
    return Bounds()


def _alone(rule: Rule, n: int, f: int, d: int | None) -> Bounds:
    if rule.name == "cge" and f > 0:
        return Bounds(lambda_source="RESAM C.9", broken=True)
    if rule.name == "multi_krum_star":
        q = getattr(rule, "q", None)
        lam = resam.multi_krum_star(n, f, n - f if q is None else q)
        return Bounds(lam, lambda_source="RESAM Proposition 6")
    if rule.name not in _PROPOSITIONS or not _has_defaults(rule):
        return Bounds()
    lam = resam.resilience_coefficient(rule.name, n, f, d)
    source = f"RESAM Proposition {_PROPOSITIONS[rule.name]}"
    if rule.name != "geometric_median":
        return Bounds(lam, lambda_source=source)
    # the lemma's vectors are random; fixed ones are a special case
    kappa = byrd_saga.amplification(n, f) ** 2
    return Bounds(lam, kappa, source, "RS-Byrd-SAGA Lemma 1")


def _has_defaults(rule: Rule) -> bool:
    fields = dataclasses.fields(rule)  # type: ignore[arg-type]
    return all(getattr(rule, field.name) == field.default for field in fields)
