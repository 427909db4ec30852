"""Honest replies with bytes changed on their way, inflated as Flower's grids do and aggregated.

2,000 mutated replies by default; ``BYZFLOWER_FUZZED_REPLIES=100000`` plays more, for a nightly run.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg

from byzflower.strategies import Robust, ServerSGD
from byzflower.testing.hostile import honest_reply
from byzflower.wire.flower_internals import Stamp, assume_identity
from byzflower.wire.guard import GuardedGrid

try:
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
except ImportError:  # before 1.39
    from flwr.common.inflatable import get_all_nested_objects
    from flwr.common.inflatable_utils import inflate_object_from_contents

Objects = dict[str, bytes]
Random = np.random.Generator

RNG = np.random.default_rng(0)
MODEL = {
    "w": RNG.normal(size=(4, 3)).astype(np.float32),
    "b": RNG.normal(size=3).astype(np.float64),
    "bn.num_batches_tracked": np.array(4),
}
NODES, MALICIOUS = 12, 3
BLOCKS = 20  # each with a strategy and a seed of its own
REPLIES = int(os.environ.get("BYZFLOWER_FUZZED_REPLIES", "2000"))

STRATEGIES: dict[str, Callable[[], Robust]] = {
    "FedAvg": lambda: Robust(FedAvg(), "trimmed_mean", MALICIOUS, seed=0),
    "FedAdam": lambda: Robust(FedAdam(), "nnm > trimmed_mean", MALICIOUS, seed=0),
    "ServerSGD": lambda: Robust(
        ServerSGD(0.1, momentum=0.9), "arc > nnm > median", MALICIOUS, "gradient", seed=0
    ),
}


def flip(data: bytearray, rng: Random) -> None:
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def overwrite(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    size = min(int(rng.integers(1, 9)), len(data) - start)
    data[start : start + size] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF, 0x22, 0x7B])]) * size


def insert(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data) + 1))
    data[start:start] = rng.bytes(int(rng.integers(1, 65)))


def delete(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 17))]


def cut(data: bytearray, rng: Random) -> None:
    del data[int(rng.integers(len(data))) :]


def repeat(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    data.extend(data[start:] * int(rng.integers(1, 5)))


TOKENS = b'-1|0|NaN|-Infinity|1e999|9223372036854775808|null|true|[]|{}|""|"\\ud800"|[[[0]]]'.split(
    b"|"
)


def number(data: bytearray, rng: Random) -> None:
    """Put another token in place of a number or a word of a header or a body of JSON."""
    words = list(re.finditer(rb'[0-9]+|"[^"]*"', bytes(data)))
    if not words:
        return flip(data, rng)
    start, end = words[rng.integers(len(words))].span()
    data[start:end] = TOKENS[rng.integers(len(TOKENS))]
    return None


VALUES = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0.0]


def value(data: bytearray, rng: Random) -> None:
    """Put an extreme float in place of one at the end, where arrays have their values."""
    kind = np.dtype(rng.choice(["<f4", ">f4", "<f8"]))
    word = np.array(rng.choice(VALUES), kind).tobytes()
    start = max(0, len(data) - kind.itemsize * int(rng.integers(1, 13)))
    data[start : start + len(word)] = word


MUTATIONS = [flip, overwrite, insert, delete, cut, repeat, number, value]


def deflated(reply: Message) -> tuple[str, Objects]:
    """Return the id of the reply's object, and each object's bytes by id."""
    objects = get_all_nested_objects(reply)
    return reply.object_id, {key: item.deflate() for key, item in objects.items()}


def mutated(objects: Objects, rng: Random) -> Objects:
    """Change one or two objects.

    Objects keep the ids by which others name them; a node that uploads them can choose ids that
    fit, so whether they are hashes of the bytes proves nothing.
    """
    objects = dict(objects)
    keys = list(objects)
    for _ in range(rng.integers(1, 3)):
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.05:  # an object where another is expected
            objects[key] = objects[keys[rng.integers(len(keys))]]
            continue
        data = bytearray(objects[key])
        MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
        objects[key] = bytes(data) or b"\0"
    return objects


class MutatingGrid(Grid):
    """Nodes 1 … n; the last ones' objects are mutated before they are inflated."""

    pull_interval = 0.001
    run = None

    def __init__(self, rng: Random, *, gradient: bool) -> None:
        assume_identity(1)
        self.mutants = 0
        self._rng, self._stamp = rng, Stamp(1)
        self._gradient = gradient
        self._uploads: dict[str, tuple[str, Objects]] = {}
        self._honest: dict[int, tuple[str, Objects]] = {}

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, *args: Any, **kwargs: Any) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(range(1, NODES + 1))

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        self._uploads = {}
        for message in messages:
            self._stamp.mark(message)
            node = message.metadata.dst_node_id
            if node not in self._honest:
                content = honest_reply(node, MODEL, gradient=self._gradient)
                self._honest[node] = deflated(Message(content, reply_to=message))
            name, objects = self._honest[node]
            if node > NODES - MALICIOUS:
                objects = mutated(objects, self._rng)
                self.mutants += 1
            self._uploads[message.metadata.message_id] = name, objects
        return list(self._uploads)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = []
        for key in message_ids:
            name, objects = self._uploads[key]
            replies.append(inflate_object_from_contents(name, dict(objects)))
        return replies


def honest_range() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    nodes = range(1, NODES - MALICIOUS + 1)
    records = [honest_reply(node, MODEL).array_records["arrays"] for node in nodes]
    stacks = {key: np.stack([record[key].numpy() for record in records]) for key in MODEL}
    low = {key: stack.min(axis=0) for key, stack in stacks.items()}
    return low, {key: stack.max(axis=0) for key, stack in stacks.items()}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_mutated_reply_harms_a_round(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    name = list(STRATEGIES)[block % len(STRATEGIES)]
    strategy = STRATEGIES[name]()
    inner = MutatingGrid(np.random.default_rng(block), gradient=name == "ServerSGD")
    grid = GuardedGrid(inner)
    sent = ArrayRecord({key: Array(array) for key, array in MODEL.items()})
    low, high = honest_range()
    rejected: Counter[str] = Counter()
    aggregated = rounds = 0
    while inner.mutants < REPLIES / BLOCKS:
        rounds += 1
        asked = strategy.configure_train(rounds, sent, ConfigRecord(), grid)
        arrays, _ = strategy.aggregate_train(rounds, grid.send_and_receive(asked, timeout=60))
        rejected.update(item.reason.value for item in strategy.history[-1].rejections)
        if arrays is None:
            continue
        assert list(arrays) == list(MODEL)
        for key, before in MODEL.items():
            after = arrays[key].numpy()
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            assert np.isfinite(after).all()
            if name == "FedAvg" and before.dtype.kind == "f":
                # Of f faulty rows a trimmed mean keeps none that lies beyond all honest ones.
                slack = 1e-6 * (1 + np.abs(before))
                assert (low[key] - slack <= after).all()
                assert (after <= high[key] + slack).all()
        aggregated += any((arrays[key].numpy() != MODEL[key]).any() for key in ("w", "b"))
    assert aggregated == rounds
    assert {"unreadable", "bytes"} <= set(rejected)


def test_mutations_are_the_same_for_the_same_seed() -> None:
    objects = {"a": b"Array  12\0" + bytes(200), "b": b'{"x": [1, 2]}'}
    first, second = (mutated(objects, np.random.default_rng(3)) for _ in range(2))
    assert first == second != objects


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_each_mutation_changes_the_bytes(mutation: Callable[[bytearray, Random], None]) -> None:
    before = bytes(range(1, 128)) + b'{"x": [17, 23]}'
    after = bytearray(before)
    mutation(after, np.random.default_rng(0))
    assert bytes(after) != before
