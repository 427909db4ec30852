"""What every attack keeps, as checks for an attack of anybody's."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from byzflower.aggregator import Aggregator
from byzflower.attack import Attack
from byzflower.attack.parsing import parse_attack
from byzflower.specs import parse
from byzflower.testing.contract import (
    DTYPES,
    built,
    by_name,
    documented,
    frozen_value,
    generator,
    reads_back,
    refuses,
    require,
    run_checks,
)

__all__ = ["ATTACK_CHECKS", "check_attack"]


def check_attack(
    attack: str | Attack | type[Attack],
    *,
    rule: str | Aggregator = "trimmed_mean",
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Check that an attack keeps what the adversary and simulations rely on.

    Parameters
    ----------
    attack
        A spec, an object, or a class whose parameters all have defaults.
    rule
        The server's rule, for attacks that search against it.
    skip, only, device
        As for `check_rule`, of `ATTACK_CHECKS`.

    Raises
    ------
    ContractError
        With one line for each check that fails.

    Examples
    --------
    >>> check_attack("alie(tau=1.5)")
    """
    found = built(attack, "attack", "an attack", Attack, parse_attack)
    subject = Colluders(found, parse(rule), device)
    run_checks(subject, found.spec, ATTACK_CHECKS, skip=skip, only=only)


@dataclass(frozen=True)
class Colluders:
    """An attack, the rule of the server that it faces, and honest updates to look at."""

    attack: Attack
    rule: Aggregator
    device: str | torch.device

    @property
    def forges(self) -> bool:
        """Whether updates are forged at all; others act on data or on colluders' replies."""
        return self.attack.level == "update"

    def honest(self, h: int = 7, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return honest updates that differ in direction, and two workers in length, (h, 40)."""
        rows = torch.randn(h, 40, generator=generator(), dtype=torch.float64)
        rows[: h // 4] *= 1.7
        shift = 0.7 * torch.randn(40, generator=generator(1), dtype=torch.float64)
        return (rows + shift).to(self.device, dtype)

    def forged(self, honest: Tensor, f: int = 2, seed: int = 0) -> Tensor:
        """Forge one round's updates."""
        return self.attack(honest, f, rng=generator(seed), rule=self.rule)

    def step(self, honest: Tensor | list[Tensor], f: int, state: Any) -> tuple[Tensor, Any]:
        """Forge a round's updates with a past."""
        return self.attack.step(honest, f, rng=generator(), rule=self.rule, state=state)


def _of_forged_updates(check: Callable[[Colluders], None]) -> Callable[[Colluders], None]:
    """Let attacks on the data, which forge no updates, pass the check."""

    @wraps(check)
    def where_there_are_any(subject: Colluders) -> None:
        if subject.forges:
            check(subject)

    return where_there_are_any


@_of_forged_updates
def rows_are_as_the_honest_ones(subject: Colluders) -> None:
    """Shape (f, d), the honest dtype and device, finite unless the class says otherwise."""
    for dtype in DTYPES:
        honest = subject.honest(dtype=dtype)
        rows = subject.forged(honest)
        shape = tuple(rows.shape)
        require(shape == (2, 40), f"two colluders need rows of shape (2, 40); found {shape}")
        require(rows.dtype == dtype, f"honest updates are {dtype}, forged ones {rows.dtype}")
        require(rows.device == honest.device, f"needs device {honest.device}; found {rows.device}")
        if subject.attack.finite:
            found = bool(torch.isfinite(rows).all())
            require(found, f"{dtype} rows hold NaN or Inf; say `finite = False` if they are to")


@_of_forged_updates
def honest_updates_stay_as_they_are(subject: Colluders) -> None:
    """Not modified by the call, nor by who writes into what it returns."""
    honest = subject.honest()
    before = honest.clone()
    rows = subject.forged(honest, f=1)
    require(torch.equal(honest, before), "the call modifies the honest updates")
    rows[0] = 9.0
    require(torch.equal(honest, before), "forged rows share memory with honest ones")


@_of_forged_updates
def honest_updates_are_read_outside_autograd(subject: Colluders) -> None:
    """Updates that need a gradient lead to rows without one."""
    rows = subject.forged(subject.honest().requires_grad_())
    require(not rows.requires_grad, "forged rows are tied to the honest ones by autograd")


@_of_forged_updates
def no_colluders_send_nothing(subject: Colluders) -> None:
    """With f = 0 there are no rows, and the state stays."""
    rows, state = subject.step(subject.honest(), 0, "kept")
    require(tuple(rows.shape) == (0, 40), f"f = 0 needs shape (0, 40); found {tuple(rows.shape)}")
    require(state == "kept", f"f = 0 needs to keep the state; found {state!r}")


@_of_forged_updates
def one_honest_worker_is_enough(subject: Colluders) -> None:
    """A deviation of one worker is zero, and no reason for NaN."""
    alone = Colluders(subject.attack, parse("mean"), subject.device)
    rows = alone.forged(subject.honest(h=1), f=1)
    finite = bool(torch.isfinite(rows).all()) or not subject.attack.finite
    require(finite, "one honest update leads to NaN or Inf")


@_of_forged_updates
def huge_updates_stay_finite(subject: Colluders) -> None:
    """Near float32's end nothing overflows."""
    if subject.attack.finite:
        honest = subject.honest()
        honest = honest / honest.abs().max() * 3e38
        finite = bool(torch.isfinite(subject.forged(honest)).all())
        require(finite, "honest updates of size 3e38 lead to NaN or Inf")


@_of_forged_updates
def one_seed_gives_one_result(subject: Colluders) -> None:
    """All randomness comes from the generator."""
    honest = subject.honest()
    first, second = (subject.forged(honest).nan_to_num() for _ in range(2))
    same = torch.equal(first, second)
    require(same, "two calls with one seed differ: draw from `seen.rng`, and keep no state")


@_of_forged_updates
def rounds_follow_each_other(subject: Colluders) -> None:
    """The state goes in and comes out, also when the number of honest updates changes."""
    first: Any = None
    second: Any = None
    for h in (7, 7, 6, 9):
        honest = subject.honest(h)
        one, first = subject.step(honest, 2, first)
        two, second = subject.step(honest, 2, second)
        same = torch.equal(one.nan_to_num(), two.nan_to_num())
        require(same, "two runs of the same rounds differ: keep what is learned in the state")
        require(tuple(one.shape) == (2, 40), f"h = {h} leads to shape {tuple(one.shape)}")


@_of_forged_updates
def listed_updates_and_a_rule_s_spec_are_taken(subject: Colluders) -> None:
    """A list of vectors is as good as a matrix, a spec as good as a rule."""
    honest = subject.honest()
    listed = subject.attack(list(honest), 2, rng=generator(), rule=subject.rule.spec)
    same = torch.equal(listed.nan_to_num(), subject.forged(honest).nan_to_num())
    require(same, "listed honest updates and stacked ones lead to different rows")


def is_a_frozen_value(subject: Colluders) -> None:
    """Hyper-parameters only: hashes, pickles, compares, takes no attribute."""
    frozen_value(subject.attack, subject.attack.spec)


def its_spec_reads_back(subject: Colluders) -> None:
    """``parse_attack(attack.spec)`` is the attack, where it is registered."""
    reads_back(subject.attack, "attack", parse_attack)


def a_search_asks_for_the_rule(subject: Colluders) -> None:
    """With ``needs_rule`` it does not go on without one."""
    if subject.attack.needs_rule:
        text = "needs the server's rule; found none"
        refuses(ValueError, text, "no rule", partial(subject.attack, subject.honest(), 1))


def what_are_no_honest_updates_is_refused(subject: Colluders) -> None:
    """None, integers, and a number of colluders that is no count."""
    call = partial(subject.attack, rng=generator(), rule=subject.rule)
    text = r"needs honest updates \(h, d\), h ≥ 1"
    refuses(ValueError, text, "no honest updates", partial(call, torch.zeros(0, 3), 1))
    integers = torch.zeros(2, 3, dtype=torch.int64)
    refuses(TypeError, "floating-point dtype", "integers", partial(call, integers, 1))
    refuses(ValueError, "`f` needs an integer ≥ 0", "f = -1", partial(call, subject.honest(), -1))


def an_attack_on_the_data_forges_nothing(subject: Colluders) -> None:
    """With level "data" a call says that there is nothing to forge."""
    if not subject.forges:
        call = partial(subject.attack, subject.honest(), 1, rule=subject.rule)
        refuses(TypeError, "no update to forge", "a call of an attack on the data", call)


def says_where_it_comes_from(subject: Colluders) -> None:
    """A docstring and a reference."""
    documented(subject.attack)


ATTACK_CHECKS: dict[str, Callable[[Colluders], None]] = by_name(
    rows_are_as_the_honest_ones,
    honest_updates_stay_as_they_are,
    honest_updates_are_read_outside_autograd,
    no_colluders_send_nothing,
    one_honest_worker_is_enough,
    huge_updates_stay_finite,
    one_seed_gives_one_result,
    rounds_follow_each_other,
    listed_updates_and_a_rule_s_spec_are_taken,
    is_a_frozen_value,
    its_spec_reads_back,
    a_search_asks_for_the_rule,
    what_are_no_honest_updates_is_refused,
    an_attack_on_the_data_forges_nothing,
    says_where_it_comes_from,
)
"""Name → check, in the order they run."""
