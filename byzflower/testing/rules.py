"""What every aggregation keeps, as checks for a rule or pre-aggregator of anybody's.

Each check is a function of a `Case`; its name is what `skip` takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from byzflower.aggregator import Aggregator, is_defined
from byzflower.errors import InfeasibleError
from byzflower.specs import parse
from byzflower.steps import Pipeline, Step
from byzflower.testing.case import Case, is_registered, least_rows, steps_of
from byzflower.testing.contract import (
    DTYPES,
    built,
    by_name,
    documented,
    frozen_value,
    generator,
    near,
    refuses,
    require,
    run_checks,
)
from byzflower.updates import Updates

__all__ = ["RULE_CHECKS", "check_rule"]


def check_rule(
    rule: str | Aggregator | type[Aggregator],
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Check that a rule, pipeline or pool keeps what strategies and attacks rely on.

    Parameters
    ----------
    rule
        A spec, an object, or a class whose parameters all have defaults.
    skip
        Names of checks that the rule does not promise to pass: "moves_with_the_rows" where it
        measures from the origin, "scales_with_the_rows" where a length is a parameter, and
        "equal_honest_rows_are_the_answer" and "a_huge_row_spoils_nothing" where it is not robust.
    only
        Names of the checks to run; all of `RULE_CHECKS` by default.
    device
        Where what is checked computes.

    Raises
    ------
    ContractError
        With one line for each check that fails.

    Examples
    --------
    >>> check_rule("arc > nnm > trimmed_mean", skip={"moves_with_the_rows"})
    >>> try:
    ...     check_rule("mean", only={"a_huge_row_spoils_nothing"})
    ... except AssertionError as error:
    ...     print(str(error).split(" of norm")[0])
    `mean` fails 1 of 1 checks:
      a_huge_row_spoils_nothing: 2 rows of size 1e+12 lead to a value
    """
    found = built(rule, "rule", "an aggregator", Aggregator, parse)
    run_checks(Case(found, device), found.spec, RULE_CHECKS, skip=skip, only=only)


def shape_dtype_and_device_come_back(case: Case) -> None:
    """One finite row, as the updates are."""
    for dtype in DTYPES:
        x = case.rows(dtype)
        value = case.value(x)
        require(
            value.shape == (case.d,),
            f"needs to return shape ({case.d},); found {tuple(value.shape)}",
        )
        require(value.dtype == dtype, f"{dtype} rows need a {dtype} value; found {value.dtype}")
        require(value.device == x.device, f"needs the rows' device {x.device}; got {value.device}")
        require(torch.isfinite(value).all(), f"finite {dtype} rows lead to NaN or Inf")


def narrow_types_lose_only_their_own_rounding(case: Case) -> None:
    """float16 rows are aggregated as the same rows in float64."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
        x = case.rows(dtype)
        text = f"{dtype} rows and the same in float64 give {{}}"
        near(case.value(x), case.value(x.double()), text, rtol=tolerance, atol=tolerance)


def the_rows_stay_as_they_are(case: Case) -> None:
    """Rows come out as they went in."""
    x = case.rows()
    before = x.clone()
    case.value(x)
    case.value(Updates.from_blocks([list(x[:, :5]), list(x[:, 5:])]))
    require(torch.equal(x, before), "the call modifies the rows")


def rows_are_read_outside_autograd(case: Case) -> None:
    """Rows that need a gradient are aggregated without one."""
    x = case.rows().requires_grad_()
    for same in (x, list(x), Updates.from_blocks([x[:, 0], x[:, 1:]])):
        require(not case.value(same).requires_grad, "the value is tied to the rows by autograd")


def stacked_listed_and_blocked_rows_agree(case: Case) -> None:
    """Rows in another form give the same value."""
    x = case.rows()
    value = case.value(x)
    blocks: list[Tensor | Sequence[Tensor]] = [
        x[:, :6].reshape(case.n, 2, 3),
        [row[6:7].clone() for row in x],
        x[:, 7:],
    ]
    forms: dict[str, Updates | Tensor | list[Tensor]] = {
        "listed": [row.clone() for row in x],
        "blocked": Updates.from_blocks(blocks),
        "strided": x.T.contiguous().T,
    }
    for form, same in forms.items():
        near(case.value(same), value, f"{form} rows and stacked ones give {{}}")


def is_a_frozen_value(case: Case) -> None:
    """Hyper-parameters only: hashes, pickles, compares, takes no attribute."""
    frozen_value(case.rule, case.rule.spec)


def its_spec_reads_back(case: Case) -> None:
    """``parse(rule.spec)`` is the rule, where its steps are registered."""
    spec = case.rule.spec
    require(str(case.rule) == spec, f"`str` needs to be the spec {spec!r}; found {case.rule!s}")
    if all(is_registered(step) for step in steps_of(case.rule)):
        require(parse(spec) == case.rule, f"the spec {spec!r} reads back as {parse(spec)!r}")


def one_seed_gives_one_result(case: Case) -> None:
    """All randomness comes from the generator."""
    x = case.rows()
    require(
        torch.equal(case.value(x, seed=5), case.value(x, seed=5)),
        "two calls with one seed differ: draw from the generator, and keep no state",
    )


def permuted_rows_permute_the_weights(case: Case) -> None:
    """Order says nothing, unless a parameter names a row."""
    if case.random:
        return
    x, order = case.rows(torch.float64), _another_order(case, 3)
    found = case.rule.explain(x, f=case.f)
    permuted = case.rule.explain(x[order.to(x.device)], f=case.f)
    near(permuted.value, found.value, "rows in another order give {}", rtol=1e-6)
    require(
        (permuted.weights is None) == (found.weights is None),
        "weights are given for some orders of the rows and not for others",
    )
    if found.weights is not None and permuted.weights is not None:
        text = "weights of rows in another order have {}"
        near(permuted.weights, found.weights[order], text)


def ties_fall_alike_in_any_order(case: Case) -> None:
    """Of rows that are equally good their content decides, not their place."""
    if case.random:
        return
    n, half = case.n, case.n // 2 + 1
    random = torch.randn(half, case.d, generator=generator(21), dtype=torch.float64)
    whole = torch.randint(-1, 2, (n, 2), generator=generator(22), dtype=torch.float64)
    ties = {
        "mirrored rows": torch.cat([random, -random])[:n],
        "rows of small whole numbers": whole,
        "rows at equal distances": torch.eye(n, dtype=torch.float64),
        "two groups of equal rows": random[:2].repeat(half, 1)[:n],
    }
    for rows, exact in ties.items():
        for dtype in (torch.float64, torch.float32):
            x = exact.to(case.device, dtype)
            value = case.value(x)
            for seed in (4, 5):
                moved = case.value(x[_another_order(case, seed).to(x.device)])
                near(moved, value, f"{rows}, {dtype}, in another order give {{}}")


def _another_order(case: Case, seed: int) -> Tensor:
    fixed = case.n // 2 if case.names_a_row else 0  # the row in question stays in its place
    moved = torch.randperm(case.n - fixed, generator=generator(seed))
    return torch.cat([torch.arange(fixed), fixed + moved])


def weights_make_the_value(case: Case) -> None:
    """``explain``'s weights, if any, are those of the value."""
    x = case.rows(torch.float64)
    found = case.rule.explain(x, f=case.f, rng=generator())
    require(found.kept == tuple(range(case.n)), f"finite rows are kept; found {found.kept}")
    if found.weights is not None:
        shape = tuple(found.weights.shape)
        require(shape == (case.n,), f"needs weights of shape ({case.n},); found {shape}")
        made = found.weights.to(x.device) @ x
        near(made, found.value, "Σ weights × rows and the value have {}")


def every_step_is_reported(case: Case) -> None:
    """``explain`` lists the steps with the n and f that they saw."""
    found = case.rule.explain(case.rows(), f=case.f, rng=generator())
    require(found.steps, "`explain` reports no step")
    first, last = found.steps[0], found.steps[-1]
    require(
        (first.n, first.f) == (case.n, case.f),
        f"the first step's report needs n = {case.n}, f = {case.f}; found {first.n}, {first.f}",
    )
    require(found.n_byzantine == last.f, "`n_byzantine` is not the f that the last step saw")
    reported = " > ".join(step.spec for step in found.steps)
    if isinstance(case.rule, Step | Pipeline):
        require(reported == case.rule.spec, f"the reports read {reported!r}: {case.rule.spec!r}")


def equal_honest_rows_are_the_answer(case: Case) -> None:
    """Where all honest rows are equal, f faulty ones move nothing."""
    for size in (1e-6, 1e6):
        honest = torch.randn(case.d, generator=generator(7), dtype=torch.float64) * size
        x = honest.repeat(case.n, 1)
        x[-case.f :] += 100 * size * torch.randn(case.f, case.d, generator=generator(8)).double()
        value = case.value(x.to(case.device))
        text = f"with {case.f} faulty rows among equal ones of size {size:g}, the value has {{}}"
        near(value, honest, text, rtol=1e-6, atol=1e-9 * size)


def equal_rows_are_their_own_aggregate(case: Case) -> None:
    """Rows that agree are the answer."""
    x = case.rows()[:1].repeat(case.n, 1) / 10
    near(case.value(x), x[0], "equal rows and their aggregate have {}")


def moves_with_the_rows(case: Case) -> None:
    """Aggregate of x + c = aggregate of x, + c."""
    x = case.rows(torch.float64)
    move = torch.randn(case.d, generator=generator(9), dtype=torch.float64).to(case.device)
    text = "moved rows give {}; skip the check if the rule measures from the origin"
    near(case.value(x + move), case.value(x) + move, text, rtol=1e-6)


def scales_with_the_rows(case: Case) -> None:
    """Aggregate of a·x = a × that of x, also where squares leave float64's range."""
    x = case.rows(torch.float64)
    value = case.value(x)
    for scale in (-1.0, 2.0**40, 2.0**-664, 2.0**664):
        text = f"rows × {scale:.3g} give {{}}; skip the check if a length is a parameter"
        near(case.value(x * scale) / scale, value, text, rtol=1e-6)


def rows_with_nan_or_inf_count_as_faulty(case: Case) -> None:
    """They are removed first, each takes one from f, and too many are refused."""
    x = case.rows()
    x[5, 3], x[9] = torch.nan, -torch.inf
    found = case.rule.explain(x, f=2, rng=generator())
    require(torch.isfinite(found.value).all(), "a row of NaN reaches the value")
    rest = tuple(i for i in range(case.n) if i not in {5, 9})
    require(found.kept == rest, f"rows 5 and 9 hold NaN or Inf, kept are {found.kept}")
    if found.weights is not None:
        require(not found.weights[[5, 9]].any(), "a row of NaN or Inf has a weight")
    require(found.n_byzantine == 0, f"both faults are known, and f is still {found.n_byzantine}")
    x[0, 0] = torch.inf
    refuses(
        InfeasibleError,
        r"`f` needs to cover .* found f = 2 and 3 such",
        "three rows of NaN or Inf with f = 2",
        lambda: case.value(x),
    )


def an_f_that_is_no_count_is_refused(case: Case) -> None:
    """−1, True, 1.0, "1" and None are no number of faults."""
    values: tuple[Any, ...] = (-1, True, 1.0, "1", None)
    for bad in values:
        text = f"`f` needs an integer ≥ 0; found {re.escape(repr(bad))}"
        refuses(ValueError, text, f"f = {bad!r}", partial(case.rule, case.rows(), bad))
        refuses(ValueError, text, f"f = {bad!r}", partial(case.rule.check, case.n, bad))


def what_is_no_set_of_updates_is_refused(case: Case) -> None:
    """No rows, a vector, integers and complex numbers."""
    n, call = case.n, case.rule
    refuses(ValueError, "n ≥ 1 rows; found n = 0", "no rows", lambda: call(torch.empty(0, 3), f=0))
    refuses(ValueError, r"found none|n = 0", "an empty list", lambda: call([], f=0))
    refuses(ValueError, r"shape \(n, d\)", "a vector", lambda: call(torch.ones(3), f=0))
    for dtype in (torch.int64, torch.complex64):
        x = torch.ones(n, 2, dtype=dtype)
        refuses(TypeError, f"floating-point dtype; found {dtype}", str(dtype), partial(call, x, 0))


def both_sides_of_the_bound_on_n(case: Case) -> None:
    """At the least n a rule works; below it the check and the call refuse."""
    for f in (5,) if case.names_a_row else (0, 1, 2, 5):
        least = least_rows(case.rule, f)
        x = torch.randn(least, 3, generator=generator(least), dtype=torch.float64)
        x = x.to(case.device)
        value = case.rule(x, f=f, rng=generator())
        require(torch.isfinite(value).all(), f"n = {least}, f = {f} leads to NaN or Inf")
        text = f"n = {least - 1}, f = {f} "
        refuses(InfeasibleError, "needs", text, partial(case.rule.check, least - 1, f))
        if least > 1:
            found = refuses(InfeasibleError, "needs", text, partial(case.rule, x[:-1], f))
            if isinstance(case.rule, Step):
                needed = f"`{case.rule.name}` needs "
                require(found.startswith(needed), f"an error needs to say {needed!r}: {found!r}")


def one_row_alone_is_the_aggregate(case: Case) -> None:
    """Where one row is enough."""
    if is_defined(case.rule, 1, 0) and not case.names_a_row:
        x = torch.tensor([[0.5, -0.25, 0.0]], device=case.device)
        value = case.rule(x, f=0, rng=generator())
        near(value, x[0], "one row and its aggregate have {}", rtol=0, atol=0)


def duplicated_rows_are_no_trouble(case: Case) -> None:
    """Ties and distances of zero: finite, and between the rows."""
    x = case.rows()
    x[1:6], x[-case.f :] = x[0].clone(), x[-1].clone()
    require(torch.isfinite(case.value(x)).all(), "rows that occur twice lead to NaN or Inf")
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]], device=case.device).repeat(case.n, 1)[: case.n]
    value = case.value(x)
    require(((value >= 0) & (value <= 1)).all(), f"rows in [0, 1]² lead to {value.tolist()}")


def zero_rows_give_zero(case: Case) -> None:
    """Nothing in, nothing out."""
    value = case.value(torch.zeros(case.n, case.d, device=case.device))
    require(not value.any(), "zero rows lead to a value that is not zero")


def a_huge_row_spoils_nothing(case: Case) -> None:
    """Rows of any size, f of them, do not carry the value away."""
    for size in (1e12, 1e30, 3e38):
        x = case.rows()
        x[-case.f :] = torch.randn(case.f, case.d, generator=generator(4)).sign().to(x) * size
        norm, longest = case.value(x).norm(), x[: -case.f].norm(dim=1).max()
        require(
            norm <= longest * 1.5,
            f"{case.f} rows of size {size:g} lead to a value of norm {norm:.5g}; the honest ones' "
            f"is at most {longest:.3g}; skip the check if the rule is not robust",
        )


def float32_rows_of_any_size_are_aggregated_alike(case: Case) -> None:
    """Denormal ones and ones whose squares overflow."""
    for size in (1e-42, 1e-30, 1e30):
        x = (case.rows(torch.float64) * size).float()
        text = f"float32 rows of size {size:g} and the same in float64 give {{}}"
        near(case.value(x), case.value(x.double()), text, atol=max(1e-6 * size, 1e-43))


def a_center_that_does_not_fit_is_refused(case: Case) -> None:
    """For rules that measure against the previous aggregate."""
    if case.rule.needs_center and isinstance(case.rule, Step | Pipeline):
        x = case.rows()
        for bad in (torch.ones(case.d + 1), torch.full((case.d,), torch.nan)):
            refuses(
                ValueError,
                "`center` needs",
                f"a center of shape {tuple(bad.shape)} that holds {float(bad[0])}",
                partial(case.rule, x, case.f, center=bad),
            )


def says_where_it_comes_from(case: Case) -> None:
    """Each step has a docstring and names its reference."""
    for step in steps_of(case.rule):
        documented(step)


RULE_CHECKS: dict[str, Callable[[Case], None]] = by_name(
    shape_dtype_and_device_come_back,
    narrow_types_lose_only_their_own_rounding,
    the_rows_stay_as_they_are,
    rows_are_read_outside_autograd,
    stacked_listed_and_blocked_rows_agree,
    is_a_frozen_value,
    its_spec_reads_back,
    one_seed_gives_one_result,
    permuted_rows_permute_the_weights,
    ties_fall_alike_in_any_order,
    weights_make_the_value,
    every_step_is_reported,
    equal_honest_rows_are_the_answer,
    equal_rows_are_their_own_aggregate,
    moves_with_the_rows,
    scales_with_the_rows,
    rows_with_nan_or_inf_count_as_faulty,
    an_f_that_is_no_count_is_refused,
    what_is_no_set_of_updates_is_refused,
    both_sides_of_the_bound_on_n,
    one_row_alone_is_the_aggregate,
    duplicated_rows_are_no_trouble,
    zero_rows_give_zero,
    a_huge_row_spoils_nothing,
    float32_rows_of_any_size_are_aggregated_alike,
    a_center_that_does_not_fit_is_refused,
    says_where_it_comes_from,
)
"""Name → check, in the order they run."""
