"""What every preset passes on to `Robust`."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from byzflower.strategies.checkpoint import Checkpoint

__all__ = ["RobustOptions"]


class RobustOptions(TypedDict, total=False):
    """Options of `Robust` that no algorithm fixes; described there."""

    seed: int | None
    max_skipped_rounds: int | None
    quarantine_after: int | None
    conduct_file: str | Path | None
    checkpoint: Checkpoint | None
    measure_distances: bool
