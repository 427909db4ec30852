"""What the operator is told once a run: numbers of nodes, guessed buffers, the inner strategy."""

from __future__ import annotations

from dataclasses import dataclass, field
from logging import INFO, WARNING, getLogger

from flwr.serverapp.strategy import Strategy

from byzflower.aggregator import Aggregator
from byzflower.errors import InfeasibleError

from .faults import FaultBound
from .sent_model import SentModel
from .server_sgd import ServerSGD

__all__ = ["Notices", "infeasible"]

_LOG = getLogger("flwr")
_OURS_AND_FLOWERS = ("byzflower.", "flwr.")


@dataclass
class Notices:
    """Lines for the log, each said once; a run has its own.

    Parameters
    ----------
    inner : Strategy
        Strategy that the lines are about.
    rule : Aggregator
        Rule of the run.
    fallback : Aggregator or None
        Rule of the rounds in which too few replies come back.
    faults : FaultBound
        How many nodes may be malicious.
    """

    inner: Strategy
    rule: Aggregator
    fallback: Aggregator | None
    faults: FaultBound
    _said: set[str] = field(default_factory=set)

    def look_at_numbers(self, asked: int, federation: int, rounds: int) -> None:
        """Say what f is where only some nodes are asked; warn of numbers outside the rule's range.

        Also of those that would be outside it if f nodes stayed silent.
        """
        f = self.faults.within(asked, federation, rounds)
        if asked < federation:
            self._say(
                INFO,
                f"{asked} of {federation} nodes asked, {self.faults.of(federation)} of all "
                f"malicious: f = {f} (more with probability {self.faults.risk:g} over {rounds} "
                "rounds)",
            )
        if problem := infeasible(self.rule, asked, f):
            self._say(WARNING, f"Too few nodes: {problem}. {self._cure}")
        elif (
            self.fallback is None
            and 0 < f < asked
            and (problem := infeasible(self.rule, asked - f, f))
        ):
            self._say(
                WARNING,
                f"{f} silent nodes of {asked} would leave the model unchanged: {problem}; "
                "`fallback` names a rule for such rounds",
            )

    def check_enough(self, asked: int, f: int) -> None:
        """Raise `InfeasibleError` if neither the rule nor its fallback is defined for so many."""
        rules = [self.rule] if self.fallback is None else [self.rule, self.fallback]
        problems = [infeasible(rule, asked, f) for rule in rules]
        if all(problems):
            raise InfeasibleError(
                f"{problems[0]}. {self._cure} Or lower `num_malicious_nodes`; "
                '`too_few_nodes="warn"` starts all the same.'
            )

    @property
    def _cure(self) -> str:
        return (
            "Set `min_train_nodes` and `min_available_nodes` of "
            f"`{type(self.inner).__name__}` to what the rule needs."
        )

    def look_at_buffers(self, model: SentModel) -> None:
        """Say which arrays are taken for buffers, where the inner strategy would step them."""
        steps = isinstance(self.inner, ServerSGD) or hasattr(self.inner, "current_arrays")
        if steps and not model.buffers_declared:
            names = ", ".join(sorted(model.buffers)) or "none"
            self._say(
                INFO,
                f"Clients do not say which arrays are no parameters; by their names: {names}. "
                "All others are stepped; name others with `buffers=`.",
            )

    def look_at_inner(self) -> None:
        """Say what an `aggregate_train` of somebody else's gets to see."""
        owner = next(base for base in type(self.inner).__mro__ if "aggregate_train" in vars(base))
        if not owner.__module__.startswith(_OURS_AND_FLOWERS):
            self._say(
                INFO,
                f"`{owner.__name__}.aggregate_train` sees one reply, the aggregate, with the "
                "medians of the clients' metrics; `train_metrics_aggr_fn` sees one record a client",
            )

    def _say(self, level: int, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _LOG.log(level, "%s", text)


def infeasible(rule: Aggregator, n: int, f: int) -> InfeasibleError | None:
    """Return why a rule is not defined for n rows of which f may be faulty; None if it is."""
    try:
        rule.check(n, f)
    except InfeasibleError as error:
        return error
    return None
