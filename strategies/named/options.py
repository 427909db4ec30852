"""What every preset passes on to `Robust`."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["RobustOptions"]


class RobustOptions(TypedDict, total=False):
    """Options of `Robust` that no algorithm fixes; described there."""

    seed: int | None
    max_skipped_rounds: int | None
    quarantine_after: int | None
    measure_distances: bool
