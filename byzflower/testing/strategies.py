"""What a strategy does with hostile replies, one at a time among eleven honest ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp.strategy import Strategy

from byzflower.testing.contract import ContractError
from byzflower.testing.hostile import HOSTILE, MODEL, HostileReply, honest_reply
from byzflower.testing.meter import Meter
from byzflower.testing.rounds import Round

__all__ = [
    "ATTACKER",
    "CAPTURED",
    "MEGABYTES",
    "Outcome",
    "Reference",
    "check_strategy",
    "judge",
    "outcome",
    "outcome_of",
    "play",
]

ModelArrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

ATTACKER = 5
"""Which of the twelve nodes is malicious; a middle one, as the order must not matter."""
CAPTURED = 3.0
"""From this many honest deviations on, an aggregate is not that of the honest clients."""
MEGABYTES = 16
"""More memory than this a round of twelve replies does not take, for a model of few numbers."""
_SECONDS = 10.0  # of processor time


@dataclass(frozen=True)
class Outcome:
    """What became of a round with one hostile reply.

    Attributes
    ----------
    verdict : str
        "fine", "raises …", "no model", "other keys", "wrong shape", "dtype …", "NaN",
        "model unchanged", "captured", "slow" or "memory".
    deviations : float or None
        Distance of the new model from that of the honest replies alone, in units of the root
        mean square distance of an honest reply from their mean; None if it cannot be measured.
    detail : str
        More in words.
    """

    verdict: str
    deviations: float | None = None
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether the strategy survived the reply."""
        return self.verdict == "fine"

    def __str__(self) -> str:
        if self.verdict == "captured":
            return f"captured ({self.deviations:.3g} honest deviations away)"
        return f"{self.verdict}: {self.detail}" if self.detail else self.verdict


@dataclass(frozen=True)
class Reference:
    """What the honest replies alone lead to, and how far they are from each other."""

    value: npt.NDArray[np.float64]
    deviation: float

    @classmethod
    def of(cls, strategy: Strategy, gradient: bool, model: ModelArrays = MODEL) -> Reference:
        """Play a round without the attacker.

        Raises
        ------
        ContractError
            If the strategy makes nothing of honest replies, so that nothing can be compared.
        """
        asked = Round(strategy, model)
        arrays, _ = asked.end(_honest(asked, model, gradient))
        if arrays is None or list(arrays) != list(model):
            raise ContractError("eleven honest replies of twelve lead to no model of these keys")
        honest = [i for i in range(len(asked.asked)) if i != ATTACKER]
        found = cls.at(arrays, [honest_reply(i, model, gradient=gradient) for i in honest])
        if not np.isfinite(found.value).all() or np.array_equal(found.value, _flat(model)):
            raise ContractError("eleven honest replies of twelve do not move the model")
        return found

    @classmethod
    def at(cls, arrays: ArrayRecord, replies: Sequence[RecordDict]) -> Reference:
        """Return the reference of these honest replies, from which ``arrays`` was made."""
        rows = np.stack([_values(reply.array_records["arrays"]) for reply in replies])
        distances = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
        return cls(_values(arrays), float(np.sqrt((distances**2).mean())))


def check_strategy(
    strategy: Strategy | Callable[[], Strategy],
    *,
    gradient: bool = False,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
) -> None:
    """Play the corpus of hostile replies against a strategy, one reply a round.

    Eleven honest clients and one that sends the hostile reply answer each time. The strategy may
    neither raise nor keep or change the model's keys, shapes and dtypes, make it non-finite, take
    long, take much memory, or end up further from what the honest replies alone lead to than three
    times their own deviation.

    Parameters
    ----------
    strategy
        A new strategy that samples all nodes and expects one malicious one of twelve, which is
        copied for each reply, or a function that makes one.
    gradient
        Whether clients send gradients rather than models.
    skip, only
        Names in `byzflower.testing.hostile.HOSTILE` to leave out, or to play alone.

    Raises
    ------
    ContractError
        With one line for each reply that the strategy does not survive.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAdam, FedAvg
    >>> from byzflower.strategies import Robust
    >>> check_strategy(Robust(FedAdam(), "nnm > trimmed_mean", 1), only={"NaN", "a missing key"})
    >>> try:
    ...     check_strategy(FedAvg(), only={"NaN"})
    ... except AssertionError as error:
    ...     print(error)
    `FedAvg` fails 1 of 1 hostile replies:
      NaN: NaN
    """

    def make() -> Strategy:
        return deepcopy(strategy) if isinstance(strategy, Strategy) else strategy()

    for parameter, names in (("skip", skip), ("only", only)):
        unknown = sorted(set(names or ()) - set(HOSTILE))
        if unknown:
            raise ValueError(f"`{parameter}` needs names in HOSTILE; found {unknown[0]!r}")
    chosen = [name for name in HOSTILE if (only is None or name in only) and name not in skip]
    reference = Reference.of(make(), gradient)
    broken = []
    for name in chosen:
        found = outcome(make(), HOSTILE[name], reference, gradient=gradient)
        if not found.fine:
            broken.append(f"{name}: {found}")
    if broken:
        what = type(make()).__name__
        title = f"`{what}` fails {len(broken)} of {len(chosen)} hostile replies:"
        raise ContractError("\n  ".join([title, *broken]))


def outcome(
    strategy: Strategy,
    hostile: HostileReply,
    reference: Reference,
    *,
    gradient: bool = False,
    model: ModelArrays = MODEL,
) -> Outcome:
    """Play one round with one hostile reply against a new strategy, and judge its result."""

    def forge(asked: Message) -> list[Message]:
        return hostile.replies(asked, honest_reply(ATTACKER, model, gradient=gradient))

    return play(strategy, forge, reference, gradient=gradient, model=model)


def play(
    strategy: Strategy,
    forge: Callable[[Message], list[Message]],
    reference: Reference,
    *,
    gradient: bool = False,
    model: ModelArrays = MODEL,
) -> Outcome:
    """Play one round in which the attacker answers with what ``forge`` makes of its message."""
    asked = Round(strategy, model)
    replies = _honest(asked, model, gradient)
    replies[ATTACKER:ATTACKER] = forge(asked.asked[ATTACKER])
    return outcome_of(lambda: asked.end(replies)[0], reference, model)


def outcome_of(
    aggregate: Callable[[], ArrayRecord | None],
    reference: Reference,
    model: ModelArrays = MODEL,
    *,
    memory: bool = True,
) -> Outcome:
    """Judge what a call makes of a round's replies, and what it takes (``memory``, see `Meter`)."""
    try:
        with Meter(memory=memory) as spent:
            arrays = aggregate()
    except Exception as error:  # what this is all about
        return Outcome(f"raises {type(error).__name__}")
    if spent.seconds > _SECONDS:
        return Outcome("slow", detail=f"{spent.seconds:.0f} s")
    if spent.megabytes > MEGABYTES:
        return Outcome("memory", detail=f"{spent.megabytes:.0f} MB")
    return judge(arrays, reference, model)


def judge(arrays: ArrayRecord | None, reference: Reference, model: ModelArrays = MODEL) -> Outcome:
    """Compare a new model with the one sent and with what honest replies alone lead to."""
    if arrays is None:
        return Outcome("no model")
    if list(arrays) != list(model):
        return Outcome("other keys")
    found = {}
    for key, array in arrays.items():
        try:
            found[key] = array.numpy()
        except Exception as error:
            return Outcome("unreadable", detail=f"{key!r}: {type(error).__name__}")
    for key, value in found.items():
        if value.shape != model[key].shape:
            return Outcome("wrong shape", detail=f"{key!r} becomes {value.shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return Outcome("NaN")
    value = _flat(found)
    deviations = float(np.linalg.norm(value - reference.value) / reference.deviation)
    if not deviations <= CAPTURED:
        unchanged = np.array_equal(value, _flat(model))
        return Outcome("model unchanged" if unchanged else "captured", deviations)
    for key, kept in found.items():
        if kept.dtype != model[key].dtype:
            detail = f"{key!r} becomes {kept.dtype}"
            return Outcome("dtype changes", deviations, detail)
    if np.array_equal(value, _flat(model)):
        return Outcome("model unchanged", deviations)
    return Outcome("fine", deviations)


def _honest(asked: Round, model: ModelArrays, gradient: bool) -> list[Message]:
    return [
        Message(honest_reply(i, model, gradient=gradient), reply_to=message)
        for i, message in enumerate(asked.asked)
        if i != ATTACKER
    ]


def _values(record: ArrayRecord) -> npt.NDArray[np.float64]:
    return _flat({key: array.numpy() for key, array in record.items()})


def _flat(arrays: ModelArrays) -> npt.NDArray[np.float64]:
    """Return the float arrays as one vector, float64."""
    parts = [np.asarray(v).astype(np.complex128) for v in arrays.values()]
    joined = np.concatenate([part.reshape(-1) for part in parts])
    return np.where(joined.imag != 0, np.abs(joined), joined.real)
