"""The strategy inside `Robust`: which it may be, its memory, and no trace of its failures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from logging import LogRecord, getLogger
from threading import get_ident
from typing import Any, Protocol, TypeAlias, runtime_checkable

from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    FedYogi,
    QFedAvg,
    Strategy,
)

from byzflower.statefile import Tree
from byzflower.wire.flower_internals import is_count_of_replies
from byzflower.wire.trees import records_to_tree, tree_to_records

__all__ = [
    "Resumable",
    "State",
    "check_resumable",
    "inner_state",
    "restore_inner_state",
    "restored_on_error",
    "seeded_sampling",
    "showing",
    "without_counts",
]

_LOG = getLogger("flwr")

State: TypeAlias = dict[str, Tree]

# What Flower's own strategies remember from round to round. Those that only sample, weigh and
# average remember nothing.
_MEMORY: dict[type[Strategy], tuple[str, ...]] = {
    FedAvg: (),
    FedProx: (),
    QFedAvg: (),
    FedAvgM: ("current_arrays", "momentum_vector"),
    FedAdagrad: ("m_t", "v_t"),
    FedAdam: ("m_t", "v_t"),
    FedYogi: ("m_t", "v_t"),
}


@runtime_checkable
class Resumable(Protocol):
    """A strategy whose memory can be saved: the two methods a checkpoint asks for.

    The state is a dict of numbers, text, tensors, NumPy arrays, and lists, tuples and dicts of
    them; ``{}`` for a strategy that remembers nothing between rounds.
    """

    def state_dict(self) -> State:
        """Return what the next round depends on."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Become what `state_dict` was taken from."""
        ...


def check_resumable(inner: Strategy) -> None:
    """Refuse a strategy whose memory nobody knows how to save."""
    if type(inner) not in _MEMORY and not isinstance(inner, Resumable):
        raise TypeError(
            f"`checkpoint` needs a strategy inside with `state_dict` and `load_state_dict`; "
            f"`{type(inner).__name__}` has none: add both (`return {{}}` if it remembers nothing)"
        )


def inner_state(inner: Strategy) -> State:
    """Return what the inner strategy remembers between rounds."""
    if isinstance(inner, Resumable):
        return inner.state_dict()
    return {name: _plain(getattr(inner, name)) for name in _MEMORY[type(inner)]}


def restore_inner_state(inner: Strategy, state: State) -> None:
    """Give the inner strategy its memory back."""
    if isinstance(inner, Resumable):
        inner.load_state_dict(state)
        return
    for name in _MEMORY[type(inner)]:
        setattr(inner, name, _as_flower_holds(state[name]))


_RECORD = "record"


def _plain(value: Any) -> Tree:
    if isinstance(value, ArrayRecord):
        return {_RECORD: records_to_tree(RecordDict({_RECORD: value}))}
    return value


def _as_flower_holds(value: Tree) -> Any:
    if isinstance(value, dict) and list(value) == [_RECORD]:
        return tree_to_records(value[_RECORD])[_RECORD]
    return value


@contextmanager
def restored_on_error(strategy: object) -> Iterator[None]:
    """Give the strategy its attributes back if the block raises.

    Lists, dicts and sets are copied, one level deep, arrays and tensors are not: a large model
    costs nothing, and Flower's strategies make new arrays instead of writing into old ones.
    """
    before = {
        name: copy(value) if isinstance(value, list | dict | set) else value
        for name, value in vars(strategy).items()
    }
    try:
        yield
    except BaseException:
        vars(strategy).clear()
        vars(strategy).update(before)
        raise


@contextmanager
def seeded_sampling(seed: int | None, moment: str) -> Iterator[None]:
    """Seed Python's global generator, from which Flower samples nodes, and put it back.

    What is sampled follows from the seed and the moment alone, also after a resumed run. Without a
    seed nothing happens.
    """
    if seed is None:
        yield
        return
    before = random.getstate()
    random.seed(f"{seed} {moment}")  # of a text, whatever the hash seed
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def showing(strategy: Strategy, records: list[RecordDict]) -> Iterator[None]:
    """Let the strategy's function for metrics of training see these records, one a client.

    The strategy itself sees one reply, the aggregate, whose metrics are nobody's.
    """
    aggregate = getattr(strategy, "train_metrics_aggr_fn", None)
    if aggregate is None:
        yield
        return
    strategy.train_metrics_aggr_fn = (  # type: ignore[attr-defined]
        lambda _, weighted_by: aggregate(records, weighted_by)
    )
    try:
        yield
    finally:
        strategy.train_metrics_aggr_fn = aggregate  # type: ignore[attr-defined]


@contextmanager
def without_counts() -> Iterator[None]:
    """Keep FedAvg's count of replies out of this thread's log: the aggregate counts as one."""
    thread = get_ident()

    def passes(record: LogRecord) -> bool:
        return not is_count_of_replies(record) or record.thread != thread

    _LOG.addFilter(passes)
    try:
        yield
    finally:
        _LOG.removeFilter(passes)
