"""Sharing work among threads without barriers between its parts, and to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["on_threads", "torch_threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_threads(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Return ``[work(item) for item in items]``, computed by as many threads as torch uses.

    Threads take the next item when they have done one, so a core that somebody else keeps busy
    delays no other; torch's own parallel operations all wait for the slowest thread. Inside, these
    take one thread: how torch shares a product among threads decides its rounding, and results must
    not depend on their number. The work should be numpy's, torch's or compiled code, which let go
    of the interpreter.

    >>> on_threads(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    threads = min(torch.get_num_threads(), len(items))
    with torch_threads(1):
        if threads < 2:
            return [work(item) for item in items]
        # A pool of its own for each call: safe from any thread, and after a fork.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch's operations take ``count`` CPU threads inside the block; ``None`` changes nothing.

    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
