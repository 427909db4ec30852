"""MixTailor: an aggregation drawn at random from a pool in every call."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from typing import ClassVar

import torch

from byzflower.aggregator import Aggregator, is_defined
from byzflower.configured import Configured
from byzflower.errors import InfeasibleError
from byzflower.explanation import Explanation, StepReport
from byzflower.preaggregator import Resampling
from byzflower.registry import register
from byzflower.specs import parse
from byzflower.steps import Pipeline, Rule
from byzflower.updates import Updates
from byzflower.validation import integer_at_least, non_negative_int

__all__ = ["MixTailor", "default_pool"]

_PHASES = ("krum", "geometric_median", "median", "mean")


def default_pool() -> tuple[str, ...]:
    """List the 64 members of MixTailor §5: four classes, each with ℓp norms p = 1 … 16.

    The paper draws the 16 norms of a class from 1 … 16 at random; here each p occurs once, so that
    the pool is always the same. The median does not depend on p; its 16 copies keep the four
    classes equally probable. Bulyan's 16 members have each of these rules, or the mean, in the
    selection and in the aggregation phase.

    >>> len(default_pool()), default_pool()[2], default_pool()[-1]
    (64, 'krum(p=3)', 'bulyan(inner=mean, p=16, outer=mean)')
    """
    orders = range(1, 17)
    phases = zip(orders, product(_PHASES, _PHASES), strict=True)
    return (
        *(f"krum(p={p})" for p in orders),
        *("median" for _ in orders),
        *(f"geometric_median(p={p})" for p in orders),
        *(f"bulyan(inner={inner}, p={p}, outer={outer})" for p, (inner, outer) in phases),
    )


@register("pool")
@dataclass(frozen=True)
class MixTailor(Configured, Aggregator):
    """Draw one member of a pool uniformly and apply it, anew in every call.

    An attacker may know the pool but not which member is drawn. Members that are not defined for
    the call's n and f, such as Bulyan where n < 4f + 3, are not drawn; one must be defined.

    The object holds no seed and no state. The draw, and all randomness of the member, comes from
    the ``rng`` passed to the call and by default from the operating system. Security depends on an
    unpredictable draw: pass a seeded generator in simulations only.

    ``explain`` reports the member as ``drawn`` and the number of defined members as ``pool``. The
    cost of a call is that of the member drawn.

    Parameters
    ----------
    pool
        Members, as specs or objects; by default :func:`default_pool`. One that occurs twice is
        drawn twice as often.
    resampling
        Put ``resampling(s=…)`` before every member, for heterogeneous clients.
    faults
        How many faulty rows members assume after resampling: ``"same"``, f as in the paper's
        experiments, or ``"worst"``, s·f, for which fewer are defined; see
        :class:`~byzflower.Resampling`.
    without
        Rules whose members leave the pool, such as ``"bulyan"`` or ``("krum", "median")``
        (appendix A.8).

    How many rules a pool needs: :func:`byzflower.theory.mixtailor.smallest_pool`.

    Examples
    --------
    >>> rule = MixTailor(pool=["krum", "arc > median"], resampling=2)
    >>> rule.spec
    "mixtailor(pool=('krum', 'arc > median'), resampling=2)"
    >>> len(MixTailor(without="bulyan").members)
    48
    >>> rows = torch.tensor([[1.0], [1.0], [1.0], [1.0], [1.0], [90.0]])
    >>> MixTailor(pool=["krum", "median"])(rows, f=1)
    tensor([1.])
    """

    name: ClassVar[str] = "mixtailor"
    reference: ClassVar[str] = "MixTailor §3, §5"

    pool: Sequence[str | Aggregator] | None = None
    resampling: int | None = None
    faults: str = "same"
    without: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.pool is not None:
            if isinstance(self.pool, str) or not self.pool:
                raise ValueError(
                    f"`{self.name}` needs a list of members as pool; found {self.pool!r}"
                )
            object.__setattr__(self, "pool", tuple(parse(member) for member in self.pool))
        if self.resampling is not None:
            integer_at_least(self.resampling, 1, self.name, "resampling")
            Resampling(self.resampling, self.faults)
        elif self.faults != "same":
            raise ValueError(f"`{self.name}` needs resampling where faults is {self.faults!r}")
        without = (self.without,) if isinstance(self.without, str) else tuple(self.without)
        object.__setattr__(self, "without", without)
        self._check_without()

    def _check_without(self) -> None:
        """Refuse a name that no member has, and a pool of which nothing is left."""
        names = {member.rule.name for member in _pipelines(self.pool)}
        for name in self.without:
            if name not in names:
                known = ", ".join(sorted(names))
                raise ValueError(
                    f"`{self.name}` needs without to name rules of its pool: {known}; "
                    f"found {name!r}"
                )
        if not self.members:
            raise ValueError(f"`{self.name}` needs a member that without leaves; found none")

    @property
    def needs_center(self) -> bool:
        """Whether any member measures against the previous aggregate."""
        return any(member.needs_center for member in self.members)

    @cached_property
    def members(self) -> tuple[Pipeline, ...]:
        """The pipelines of the pool, each behind resampling if there is any."""
        kept = (pipe for pipe in _pipelines(self.pool) if pipe.rule.name not in self.without)
        if self.resampling is None:
            return tuple(kept)
        first = Resampling(self.resampling, self.faults)
        return tuple(Pipeline((first, *pipe.before), pipe.rule) for pipe in kept)

    def defined_members(self, n: int, f: int) -> tuple[Pipeline, ...]:
        """Members that are defined for n rows, f of them possibly faulty."""
        return tuple(member for member in self.members if is_defined(member, n, f))

    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless a member is defined for (n, f)."""
        n, f = non_negative_int(n, "n"), non_negative_int(f, "f")
        if not self.defined_members(n, f):
            raise InfeasibleError(
                f"`{self.name}` needs a member defined for the rows; found none for n = {n}, "
                f"f = {f}"
            )

    def _explain(
        self,
        updates: Updates,
        f: int,
        rng: torch.Generator | None,
        center: torch.Tensor | None,
        distances: bool,
    ) -> Explanation:
        # A row that is removed for NaN or Inf takes one from n and from f, which no member minds.
        self.check(updates.n, f)
        members = self.defined_members(updates.n, f)
        drawn = members[_draw(len(members), rng)]
        found = drawn.explain(updates, f, rng=rng, center=center, distances=distances)
        note = {"drawn": drawn.spec, "pool": len(members)}
        report = StepReport(self.name, self.spec, updates.n, f, note)
        return replace(found, steps=(report, *found.steps))


@cache
def _pipelines(pool: Sequence[str | Aggregator] | None) -> tuple[Pipeline, ...]:
    members = []
    for member in map(parse, default_pool() if pool is None else pool):
        if isinstance(member, Rule):
            members.append(Pipeline((), member))
        elif isinstance(member, Pipeline):
            members.append(member)
        else:
            raise ValueError(f"`mixtailor` needs rules or pipelines; found {member.spec!r}")
    return tuple(members)


def _draw(count: int, rng: torch.Generator | None) -> int:
    if rng is None:
        return secrets.randbelow(count)
    return int(torch.randint(count, (), generator=rng, device=rng.device))
