"""Theorems about random gradients, which are proved of a rule beside λ and κ.

They hold in expectation, so no single input can contradict them and
:func:`byzflower.certify.certify` cannot test them.
"""

from __future__ import annotations

from byzflower.rule import Bulyan, Krum, MultiKrum
from byzflower.specs import parse
from byzflower.steps import Aggregator, Pipeline
from byzflower.theory import aggregathor, mixtailor

__all__ = ["statements"]


def statements(rule: str | Aggregator, n: int, f: int) -> tuple[str, ...]:
    """Return AggregaThor's and MixTailor's theorems about ``rule`` for these n and f, as text.

    Parameters
    ----------
    rule
        The aggregation, or its spec. There are theorems about Krum in any norm, Multi-Krum and
        Bulyan over Multi-Krum, without steps before them; for all others the result is empty.
    n, f
        Number of rows, and of faulty ones among them.

    Raises
    ------
    InfeasibleError
        If (n, f) is outside the rule's range.

    >>> print(statements("bulyan(inner=multi_krum)", 11, 2)[0])
    AggregaThor Theorem 2: without faults, √(m/n) = 0.674 of averaging's speed, up to a constant
    >>> statements("krum(p=4)", 11, 2)[0]
    'MixTailor Theorem 1: ‖E R − ∇F‖² ≤ 2σ²(1 + 1.8 d^0.5) for i.i.d. gradients of variance ≤ σ²'
    >>> statements("nnm > krum", 11, 2)
    ()
    """
    rule = parse(rule)
    rule.check(n, f)
    if isinstance(rule, Pipeline) and not rule.before:
        rule = rule.rule
    if isinstance(rule, MultiKrum):
        speed = aggregathor.slowdown(n, f, m=rule.chosen(n, f))
        return (
            "AggregaThor Lemma 1: the expected output lies within α of the gradient g, where "
            f"sin α = η√d σ/‖g‖ < 1, η = {aggregathor.eta(n, f):.3g}",
            _speed("Theorem 1", speed),
        )
    if isinstance(rule, Bulyan) and (rule.inner, rule.p) == ("multi_krum", 2):
        return (_speed("Theorem 2", aggregathor.slowdown(n, f, strong=True)),)
    if isinstance(rule, Krum):
        exponent = mixtailor.norm_exponent(rule.p)
        dimension = f" d^{exponent:.3g}" if exponent else ""
        return (
            f"MixTailor Theorem 1: ‖E R − ∇F‖² ≤ 2σ²(1 + {mixtailor.capacity(n, f):.3g}"
            f"{dimension}) for i.i.d. gradients of variance ≤ σ²",
        )
    return ()


def _speed(theorem: str, speed: float) -> str:
    return (
        f"AggregaThor {theorem}: without faults, √(m/n) = {speed:.3g} of averaging's speed, "
        "up to a constant"
    )
