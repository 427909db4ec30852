"""Sharing work among threads without barriers between its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["on_threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_threads(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Return ``[work(item) for item in items]``, computed by as many threads as torch uses.

    Threads take the next item when they have done one, so a core that somebody else keeps busy
    delays no other; torch's own parallel operations all wait for the slowest thread. The work
    should be numpy's or compiled code, which let go of the interpreter.

    >>> on_threads(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    # A pool of its own for each call: safe from any thread, and after a fork.
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
