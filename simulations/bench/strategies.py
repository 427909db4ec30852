"""``byzflower bench strategies``: whole rounds on the server, against FedAvg and Flower's own.

Every strategy is measured in a process of its own, where its rounds and FedAvg's take turns on the
same replies: ratios are of pairs, and what one strategy has allocated another cannot use. `Robust`
takes turns with its parts, too: FedAvg's round, and then the rule alone on tensors. Time is that of
processors, of all threads together: a round lasts long enough for others' work to come between.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, cast, get_args

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    Bulyan,
    FedAdam,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    MultiKrum,
    Strategy,
)
from torch import Tensor

import byzflower as bf
from byzflower.strategies import Robust, ServerSGD, SharedArray, to_tensor
from byzflower.wire.flower_internals import Stamp, assume_identity

from .measure import (
    Row,
    environment,
    high_water,
    median_ratio,
    relative_difference,
    resident,
    timed,
)

__all__ = ["ALONE", "CASES", "RULE", "bench_strategies", "measure_one"]

Carrier: TypeAlias = Literal["bytes", "tensors"]
"""What replies hold: Flower's bytes, or tensors shared within a process."""

RULE = "arc > nnm > trimmed_mean"
CASES = (
    (30, 1_310_922, 6),
    (300, 1_310_922, 60),
    (10, 50_000_000, 2),
    (1_000, 10_000, 100),
)
"""(n, d, f)."""

ALONE = "FedAvg, then the rule alone"
"""The least that a robust round could take: what FedAvg's does, and the rule on tensors."""

_LAYER = 1 << 21  # the most numbers of one array
_STEP = 1e-3  # of the weights, as in a round of training
# Numbers, and rows; beyond, Flower's own robust strategies take minutes.
_MOST_FOR_PEERS, _MOST_ROWS_FOR_PEERS = 1 << 26, 100
_TOLERANCE = 1e-4


def bench_strategies(
    cases: tuple[tuple[int, int, int], ...] = CASES, *, repeats: int = 5
) -> Iterator[list[Row]]:
    """Yield the rows of one case and one carrier at a time.

    Flower's own robust strategies are measured on bytes, in cases of moderate size.

    Raises
    ------
    RuntimeError
        If a process fails.
    """
    for n, d, f in cases:
        for carrier in get_args(Carrier):
            names = ["FedAvg", ALONE, *_ours(f)]
            if carrier == "bytes" and n * d <= _MOST_FOR_PEERS and n <= _MOST_ROWS_FOR_PEERS:
                names += _flowers(n, f)
            yield [_in_a_process(name, carrier, n, d, f, repeats) for name in names]


_COMMAND = (
    "import sys, json; from byzflower.simulations.bench.strategies import measure_one; "
    "print(json.dumps(measure_one(*json.loads(sys.argv[1]))))"
)


def _in_a_process(*arguments: Any) -> Row:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, json.dumps(arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} ends with {done.returncode}: {done.stderr}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def measure_one(  # noqa: PLR0917  (what a command line holds)
    name: str, carrier: Carrier, n: int, d: int, f: int, repeats: int
) -> dict[str, Any]:
    """Measure one strategy against FedAvg in this process, and the memory of a round.

    The memory is that of the replies and of whatever the round adds to it at its peak. `Robust`
    is measured against its parts, too; over FedAvg it has no ratio if its step differs from the
    rule's own on tensors.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    assume_identity(1)
    make = {**_ours(f), **_flowers(n, f)}.get(name, FedAvg)
    _Federation(n, 1 << 16, f, carrier).round(make())  # compiles what is needed
    before = resident()
    federation = _Federation(n, d, f, carrier)
    strategy, plain, rule = make(), FedAvg(), bf.parse(RULE)
    peak, result = high_water(lambda: federation.round(strategy))
    subjects: dict[str, Callable[[], Tensor | None]] = {
        "FedAvg": lambda: _drop(federation.round(plain))
    }
    difference = None
    if name == ALONE or name in _ours(f):
        updates = federation.updates()
        subjects[ALONE] = lambda: _drop(federation.round(plain), rule(updates, f))
        if name == "Robust(FedAvg)":
            difference = relative_difference(federation.moved(result), rule(updates, f))
    if name not in {"FedAvg", ALONE}:
        subjects[name] = lambda: _drop(federation.round(strategy))
    del result
    _, times = timed(subjects, repeats=repeats, clock=time.process_time)
    agrees = difference is None or difference <= _TOLERANCE
    case = f"n={n} d={d:,} f={f}, {carrier}"
    row = Row.of("strategies", case, name, "FedAvg", times, difference, agrees)
    row = dataclasses.replace(
        row,
        peak_mb=None if peak is None or before is None else peak - before,
        of_parts=median_ratio(times[name], times[ALONE]) if ALONE in times and agrees else None,
    )
    return dataclasses.asdict(row)


def _ours(f: int) -> dict[str, Callable[[], Strategy]]:
    return {
        "Robust(FedAvg)": lambda: Robust(FedAvg(), RULE, f),
        "Robust(FedAdam)": lambda: Robust(FedAdam(), RULE, f),
        "Robust(ServerSGD)": lambda: Robust(ServerSGD(), RULE, f, "gradient"),
    }


def _flowers(n: int, f: int) -> dict[str, Callable[[], Strategy]]:
    found: dict[str, Callable[[], Strategy]] = {
        "FedMedian": FedMedian,
        "FedTrimmedAvg": lambda: FedTrimmedAvg(beta=(f + 0.5) / n),
        "MultiKrum": lambda: MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f - 2),
    }
    if n >= 4 * f + 3:
        found["Bulyan"] = lambda: Bulyan(num_malicious_nodes=f)
    return found


class _Federation:
    """n nodes that answer every round with the same arrays, f of them far from the others."""

    def __init__(self, n: int, d: int, f: int, carrier: Carrier) -> None:
        self._stamp, self._rounds = Stamp(1), 0
        generator = torch.Generator().manual_seed(0)
        sizes = [min(_LAYER, d - start) for start in range(0, d, _LAYER)]
        weights = [torch.randn(size, generator=generator) for size in sizes]
        pack = SharedArray if carrier == "tensors" else lambda tensor: Array(tensor.numpy())
        self._model = [pack(weight) for weight in weights]
        self._replies = [
            [
                pack(w + _STEP * ((-5 if i < f else 1) + torch.randn(len(w), generator=generator)))
                for w in weights
            ]
            for i in range(n)
        ]

    def get_node_ids(self) -> list[int]:
        return list(range(len(self._replies)))

    def round(self, strategy: Strategy) -> ArrayRecord:
        """Let the strategy ask and aggregate."""
        self._rounds += 1
        asked, grid = list[Message](), cast(Grid, self)
        for message in strategy.configure_train(
            self._rounds, _record(self._model), ConfigRecord(), grid
        ):
            self._stamp.mark(message)
            asked.append(message)
        replies = [Message(self._content(m.metadata.dst_node_id), reply_to=m) for m in asked]
        arrays, _ = strategy.aggregate_train(self._rounds, replies)
        skipped = isinstance(strategy, Robust) and strategy.history[-1].skipped
        if arrays is None or skipped:
            raise RuntimeError(f"{type(strategy).__name__} left the model unchanged: {skipped}")
        return arrays

    def _content(self, node: int) -> RecordDict:
        # Records of the round's own: some strategies take the arrays out.
        metrics = MetricRecord({"num-examples": 10})
        return RecordDict({"arrays": _record(self._replies[node]), "metrics": metrics})

    def updates(self) -> list[Tensor]:
        """Return what nodes add to the model, each as one vector."""
        model = self.vector(_record(self._model))
        return [self.vector(_record(reply)).sub_(model) for reply in self._replies]

    def moved(self, arrays: ArrayRecord) -> Tensor:
        """Return what a strategy has added to the model."""
        return self.vector(arrays).sub_(self.vector(_record(self._model)))

    @staticmethod
    def vector(arrays: ArrayRecord) -> Tensor:
        return torch.cat([to_tensor(array) for array in arrays.values()])


def _record(arrays: list[Array]) -> ArrayRecord:
    record = ArrayRecord()
    for i, array in enumerate(arrays):
        record[str(i)] = array
    return record


def _drop(*_: object) -> None:
    """Return nothing: strategies differ in what they compute, and only the time counts."""
