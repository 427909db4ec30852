"""What is found against what is proved."""

from __future__ import annotations

from byzflower.certify.certificate import Certificate, Witness
from byzflower.certify.search import WorstInputs
from byzflower.errors import InfeasibleError, SpecError
from byzflower.specs import parse
from byzflower.steps import Aggregator, Pipeline, Rule
from byzflower.theory import bounds

__all__ = ["certify"]

_MOST_ROWS = 1000  # every input tried takes matrices of n × n numbers
_TOLERANCE = 1e-9
# Found values are rounded down by more than float64 errs, so that they are lower bounds.
_ROUNDED_DOWN = 1 - 1e-12


def certify(
    rule: str | Aggregator,
    n: int,
    f: int,
    *,
    dimension: int | None = None,
    seed: int = 0,
    evaluations: int = 4000,
) -> Certificate:
    """Search for the inputs that maximise the ratios λ and κ bound, and compare with theory.

    The adversary chooses all n rows and which n−f of them are called honest: both definitions
    (RESAM 2, ARC 2.4) are worst cases over both. What it finds are lower bounds of the true
    coefficients, in float64, and depend on the arguments alone.

    Parameters
    ----------
    rule
        A spec or what :func:`byzflower.parse` returns.
    dimension
        Search this d alone; by default 1, 2, 5 and n (at most 30).
    seed
        Of the search, and of the one fixed draw of a rule with a random step.
    evaluations
        About how often the rule is run.

    Raises
    ------
    InfeasibleError
        If (n, f) is outside the rule's range, or n beyond 1000.
    SpecError
        For an unknown rule, or one that is drawn anew at each call (``mixtailor``).

    >>> found = certify("trimmed_mean", n=5, f=1, dimension=1, evaluations=400)
    >>> found.lambda_bound, round(found.lambda_found, 6), found.holds
    (0.25, 0.25, True)
    >>> certify("mean", n=5, f=1, dimension=1).holds
    False
    """
    rule = parse(rule)
    if not isinstance(rule, Pipeline | Rule):
        raise SpecError(
            f"`certify` needs one fixed rule; found `{rule.spec}`, which draws a rule at each "
            "call: certify its members"
        )
    rule.check(n, f)
    if n > _MOST_ROWS:
        raise InfeasibleError(f"`certify` needs n ≤ {_MOST_ROWS} rows; found n = {n}")
    dimensions = (dimension,) if dimension is not None else tuple(sorted({1, 2, 5, min(n, 30)}))
    searches: list[WorstInputs] = []
    # more room needs more of a search: shares 1 : 2 : 3 : 4
    total = sum(range(len(dimensions) + 1))
    for i, d in enumerate(dimensions, start=1):
        carried = [witness.rows for s in searches for witness in s.worst.values()]
        search = WorstInputs(
            rule, n, f, d, seed=seed, evaluations=evaluations * i // total, carried=carried
        )
        search.run()
        searches.append(search)
        if search.unbounded:
            break
    proved = bounds(rule, n, f, dimension)
    by_lambda = max((s.worst["lam"] for s in searches), key=lambda w: w.ratios.lam)
    by_kappa = max((s.worst["kappa"] for s in searches), key=lambda w: w.ratios.kappa)
    counterexample = next((w for s in searches if (w := _contradiction(s))), None)
    is_proved = proved.lambda_bound is not None or proved.kappa_bound is not None
    return Certificate(
        rule=rule.spec,
        n=n,
        f=f,
        dimensions=tuple(s.d for s in searches),
        lambda_bound=proved.lambda_bound,
        lambda_found=by_lambda.ratios.lam * _ROUNDED_DOWN,
        kappa_bound=proved.kappa_bound,
        kappa_found=by_kappa.ratios.kappa * _ROUNDED_DOWN,
        holds=False if counterexample else (True if is_proved else None),
        source=proved.source,
        one_draw=any(s.random for s in searches),
        lambda_witness=by_lambda,
        kappa_witness=by_kappa,
        counterexample=counterexample,
    )


def _contradiction(search: WorstInputs) -> Witness | None:
    """Return the input that breaks a theorem in its dimension, or every coefficient."""
    proved = bounds(search.rule, search.n, search.f, search.d)
    by_lambda, by_kappa = search.worst["lam"], search.worst["kappa"]
    if search.unbounded or _exceeds(by_lambda.ratios.lam, proved.lambda_bound):
        return by_lambda
    return by_kappa if _exceeds(by_kappa.ratios.kappa, proved.kappa_bound) else None


def _exceeds(found: float, bound: float | None) -> bool:
    return bound is not None and found > bound * (1 + _TOLERANCE) + _TOLERANCE
