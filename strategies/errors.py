"""Errors with which a strategy stops a run."""

from __future__ import annotations

__all__ = ["CheckpointError", "TooManySkippedRounds"]


class TooManySkippedRounds(RuntimeError):  # noqa: N818  (it names what happened, not a mistake)
    """So many rounds in a row left the model unchanged that going on makes no sense."""


class CheckpointError(RuntimeError):
    """A folder of checkpoints cannot be used: it is not writable, or holds those of another run."""
