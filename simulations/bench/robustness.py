"""What Flower's strategies and `Robust` make of each hostile reply: ``docs/robustness.md``."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeAlias

import flwr
import numpy as np
from flwr.serverapp.strategy import (
    Bulyan,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
    Strategy,
)

import byzflower
from byzflower.strategies import Robust
from byzflower.testing.hostile import HOSTILE
from byzflower.testing.rounds import NODES
from byzflower.testing.strategies import CAPTURED, MEGABYTES, Outcome, Reference, outcome

__all__ = ["FINE", "LIMIT", "STRATEGIES", "Cells", "cell", "column", "page", "table"]

Cells: TypeAlias = Mapping[str, Mapping[str, str]]

FINE = "fine"
LIMIT = 20.0
"""Seconds after which a reply is said to hold the server up."""

_CUT_OFF = ("hangs", "ends the process")

# Flower's rules as an operator with one malicious node of twelve would set them.
STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    "FedAvg": FedAvg,
    "Krum": lambda: Krum(num_malicious_nodes=1),
    "MultiKrum": lambda: MultiKrum(num_malicious_nodes=1, num_nodes_to_select=len(NODES) - 1),
    "Bulyan": lambda: Bulyan(num_malicious_nodes=1),
    "FedMedian": FedMedian,
    "FedTrimmedAvg": lambda: FedTrimmedAvg(beta=0.1),
    "Robust": lambda: Robust(FedAvg(), "nnm > trimmed_mean", num_malicious_nodes=1),
}
"""Columns of the table: each takes one malicious node of twelve into account, if it can."""


def cell(found: Outcome) -> str:
    """Say in a few words what became of a round.

    >>> cell(Outcome("captured", 12.345))
    'captured, 12 × the honest spread'
    >>> cell(Outcome("dtype changes", 0.1)), cell(Outcome("fine"))
    ('another dtype', 'fine')
    """
    if found.verdict == "captured":
        return f"captured, {found.deviations:.2g} × the honest spread"
    words = {"dtype changes": "another dtype", "slow": "hangs"}
    return words.get(found.verdict, found.verdict)


def column(
    strategy: str,
    kinds: Sequence[str] = tuple(HOSTILE),
    *,
    seconds: float = LIMIT,
    done: Callable[[str], object] = lambda kind: None,
) -> dict[str, str]:
    """Play hostile replies against one strategy in a process of its own.

    A reply that takes longer than ``seconds`` is cut off and said to hang; one that ends the
    process is said to.

    Parameters
    ----------
    strategy : str
        Name in `STRATEGIES`.
    kinds : sequence of str
        Names in `byzflower.testing.hostile.HOSTILE`.
    seconds : float
        Most seconds for one reply.
    done : callable
        Called with each kind when its cell is known.

    Returns
    -------
    dict
        Kind → cell.
    """
    cells: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    while left := [kind for kind in kinds if kind not in cells]:
        ours, theirs = context.Pipe()
        child = context.Process(target=_play, args=(theirs, strategy, left), daemon=True)
        child.start()
        theirs.close()
        try:
            ours.recv()  # imports are no part of a round
            for kind in left:
                cells[kind] = _received(ours, seconds)
                done(kind)
                if cells[kind] in _CUT_OFF:
                    break  # a new process plays the rest
        finally:
            child.kill()
            child.join()
            ours.close()
    return cells


def table(
    kinds: Sequence[str] = tuple(HOSTILE),
    strategies: Sequence[str] = tuple(STRATEGIES),
    *,
    done: Callable[[str, str], object] = lambda strategy, kind: None,
) -> dict[str, dict[str, str]]:
    """Play hostile replies against strategies, as many at a time as there are cores.

    Returns
    -------
    dict
        Strategy → kind → cell.
    """
    # Flower's Bulyan takes a second a round: started first, it does not end last.
    order = sorted(strategies, key=lambda name: name != "Bulyan")
    with ThreadPoolExecutor(min(len(order), os.cpu_count() or 1)) as pool:
        futures = {
            name: pool.submit(column, name, kinds, done=partial(done, name)) for name in order
        }
        return {name: futures[name].result() for name in strategies}


def page(cells: Cells) -> str:
    """Return the table as a page in Markdown."""
    kinds = list(next(iter(cells.values())))
    libraries = ", ".join(
        f"{module.__name__} {module.__version__}" for module in (byzflower, flwr, np)
    )
    sums = [sum(found == FINE for found in column.values()) for column in cells.values()]
    return "\n".join(
        [
            "# What one hostile reply does",
            "",
            "Made by `byzflower bench robustness --out docs/robustness.md` "
            f"({libraries}, Python {platform.python_version()}).",
            "",
            f"Of {len(NODES)} nodes all but one answer a training message honestly; the other "
            f"sends one of {len(kinds)} hostile replies (`byzflower.testing.hostile`). Each "
            "strategy expects one malicious node, if it can. A cell says what becomes of the "
            "round:",
            "",
            "- **raises …**: the exception leaves the strategy, and ends the run;",
            "- **captured, k × the honest spread**: the new model lies k times the honest "
            "replies' root mean square distance from their mean away from what these alone lead "
            f"to ({CAPTURED:.0f} times count);",
            "- **NaN**, **wrong shape**, **another dtype**, **other keys**, **model unchanged**: "
            "what the new model is;",
            f"- **hangs**: not done after 10 to {LIMIT:.0f} seconds;",
            f"- **memory**: more than {MEGABYTES} MB are held at a time, for a model of 60 bytes;",
            "- **fine**: none of these.",
            "",
            "`check_strategy` of `byzflower.testing` plays the same replies against a strategy of "
            "your own.",
            "",
            _row(["Fine in", *cells]),
            _row(["---"] * (len(cells) + 1)),
            _row([f"of {len(kinds)} replies", *(f"**{n}**" for n in sums)]),
            "",
            _row(["Reply", *cells]),
            _row(["---"] * (len(cells) + 1)),
            *(_row([kind, *(found[kind] for found in cells.values())]) for kind in kinds),
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _play(connection: Connection, strategy: str, kinds: Sequence[str]) -> None:
    """Send a cell for each kind; runs in a process of its own."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    make = STRATEGIES[strategy]
    reference = Reference.of(make(), gradient=False)
    connection.send("ready")
    for kind in kinds:
        connection.send(cell(outcome(make(), HOSTILE[kind], reference)))


def _received(connection: Connection, seconds: float) -> str:
    try:
        return str(connection.recv()) if connection.poll(seconds) else "hangs"
    except EOFError:
        return "ends the process"
