"""Checkpoints of a run: what survives its process, in a folder, the newest two kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from logging import ERROR, INFO, WARNING, getLogger
from pathlib import Path

from byzflower.statefile import StateFileError, read_tree, sole_writer, write_tree
from byzflower.validation import integer_at_least

from .errors import CheckpointError
from .inner_strategy import Resumable, State

__all__ = ["Checkpoint"]

_LOG = getLogger("flwr")
_NAME = re.compile(r"round-(\d{8})\.state")


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `Robust` saves its run; ``start`` goes on after the newest checkpoint.

    A checkpoint holds the model, the metrics so far, the rule's memory and generator, the inner
    strategy's optimiser, the conduct and the history: everything the next round depends on, but
    what lives on the clients. It is written to a temporary file, synchronised and renamed, so a
    crash at any moment leaves the previous ones whole; it holds no pickle. A file that is cut
    short or damaged is passed over with a warning for the one before it; files of another run
    (other rule, payload, model layout or inner strategy) end the start with a
    `CheckpointError` that says what differs. A checkpoint that cannot be written, because the
    disk is full say, is logged as an error and the run goes on.

    Parameters
    ----------
    folder : str or Path
        One run's checkpoints; created if needed.
    every : int
        Save after every so many rounds and after the last: a crash costs at most that many.
    keep : int
        How many of the newest files to keep, at least 2.
    companions : mapping of str to Resumable
        What else belongs to the run and is saved and restored with it, by name: the clients of a
        simulation, a schedule of your own.

    Raises
    ------
    ValueError
        If `every` < 1 or `keep` < 2.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAdam
    >>> from byzflower.strategies import Checkpoint, Robust
    >>> strategy = Robust(
    ...     FedAdam(), "nnm > median", 2, checkpoint=Checkpoint("runs/a/checkpoints", every=5)
    ... )
    """

    folder: str | Path
    every: int = 1
    keep: int = 2
    companions: Mapping[str, Resumable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        integer_at_least(self.every, 1, "Checkpoint", "every")
        integer_at_least(self.keep, 2, "Checkpoint", "keep")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, see that it can be written to, and let nobody else into it.

        Two runs that saved into one folder would go on from each other's rounds: such as the old
        ServerApp, when a SuperLink was killed and both were started again.

        Raises
        ------
        CheckpointError
            If it cannot be written to, or another process saves there.
        """
        try:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            lock = ExitStack()
            lock.enter_context(sole_writer(self.folder))
        except OSError as error:
            raise CheckpointError(
                f"`Checkpoint` needs a folder to write to alone; found {self.folder}: {error}"
            ) from error
        with lock:
            yield

    def due(self, server_round: int, last: bool) -> bool:
        """Whether to save after this round."""
        return last or server_round % self.every == 0

    def save(self, server_round: int, state: State) -> None:
        """Write a checkpoint and remove those beyond `keep`; a failure is logged."""
        try:
            write_tree(Path(self.folder) / f"round-{server_round:08d}.state", state)
            for path in list(self._files())[self.keep :]:
                path.unlink(missing_ok=True)
        except OSError as error:
            _LOG.log(ERROR, "No checkpoint of round %d: %s", server_round, error)

    def newest(self, identity: State) -> State | None:
        """Return the newest whole checkpoint of the run with this identity, or None.

        Raises
        ------
        CheckpointError
            If there are whole checkpoints, and all are of other runs.
        """
        foreign = ""
        for path in self._files():
            try:
                state = read_tree(path)
            except StateFileError as error:
                _LOG.log(WARNING, "Passed over a checkpoint: %s", error)
                continue
            found = state.get("identity") if isinstance(state, dict) else None
            if found == identity:
                _LOG.log(INFO, "Going on after round %d, from %s", state["round"], path)
                return dict(state)
            difference = f"{path} is of another run: {_difference(identity, found)}"
            _LOG.log(WARNING, "Passed over a checkpoint: %s", difference)
            foreign = foreign or difference
        if foreign:
            raise CheckpointError(f"{foreign}; give this run a folder of its own")
        return None

    def _files(self) -> Iterator[Path]:
        """Newest first."""
        try:
            names = sorted(filter(_NAME.fullmatch, os.listdir(self.folder)), reverse=True)
        except FileNotFoundError:
            return
        for name in names:
            yield Path(self.folder) / name


def _difference(needed: State, found: object) -> str:
    if not isinstance(found, dict):
        return "it does not say which"
    for key, value in needed.items():
        if found.get(key) == value:
            continue
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            changed = sorted(k for k in value.keys() | other.keys() if value.get(k) != other.get(k))
            name = changed[0]
            return f"{key} {name!r} needs {value.get(name)}; found {other.get(name)}"
        return f"{key} needs {value!r}; found {other!r}"
    return f"it says more: {sorted(found.keys() - needed.keys())}"
