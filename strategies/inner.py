"""Around a call of the strategy inside `Robust`: no trace of a failure, no misleading log line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from logging import LogRecord, getLogger
from threading import get_ident

from flwr.serverapp.strategy import Strategy

from byzflower.wire.flower_internals import is_count_of_replies

__all__ = ["restored_on_error", "seeded_sampling", "without_counts"]

_LOG = getLogger("flwr")


@contextmanager
def restored_on_error(strategy: Strategy) -> Iterator[None]:
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
