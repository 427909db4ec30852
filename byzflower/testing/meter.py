"""What a piece of work takes: processor time and memory, however busy the machine is."""

from __future__ import annotations

import time
import tracemalloc
from types import TracebackType
from typing import Self

__all__ = ["Meter"]


class Meter:
    """Measure what the ``with`` block takes.

    Parameters
    ----------
    memory : bool
        Whether to measure memory, too: that makes everything three times slower.

    Attributes
    ----------
    seconds : float
        Processor time of all threads.
    megabytes : float
        Most that Python and NumPy have held at a time beyond what they held before; 0 if it is not
        measured.

    Examples
    --------
    >>> with Meter() as spent:
    ...     block = bytes(3 << 20)
    ...     del block
    >>> round(spent.megabytes), spent.seconds < 1
    (3, True)
    """

    def __init__(self, *, memory: bool = True) -> None:
        self.seconds = self.megabytes = 0.0
        self._memory = memory

    def __enter__(self) -> Self:
        if self._memory:
            self._traced = tracemalloc.is_tracing()
            if not self._traced:
                tracemalloc.start()
            tracemalloc.reset_peak()
            self._held = tracemalloc.get_traced_memory()[0]
        self._began = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.process_time() - self._began
        if self._memory:
            self.megabytes = (tracemalloc.get_traced_memory()[1] - self._held) / 2**20
            if not self._traced:
                tracemalloc.stop()
