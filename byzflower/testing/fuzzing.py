"""Honest replies with bytes changed on their way, inflated as Flower's grids do and aggregated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp.strategy import Strategy

from byzflower.testing.contract import ContractError
from byzflower.testing.hostile import honest_reply
from byzflower.testing.rounds import NODES, Nodes, Round
from byzflower.testing.strategies import Reference, outcome_of
from byzflower.wire.flower_internals import deflated, inflated
from byzflower.wire.guard import GuardedGrid

__all__ = ["MODEL", "MUTATIONS", "fuzz_strategy", "mutated"]

Objects: TypeAlias = Mapping[str, bytes]
Random: TypeAlias = np.random.Generator

_RNG = np.random.default_rng(0)
MODEL: Mapping[str, npt.NDArray[Any]] = {
    "w": _RNG.normal(size=(4, 3)).astype(np.float32),
    "b": _RNG.normal(size=3),
    "bn.num_batches_tracked": np.array(4),
}
"""The model that is trained: two precisions and a counter."""

_MALICIOUS = frozenset(NODES[3::4])  # in the middle and at the end, as the order must not matter
_MEASURED = 20  # one round of so many has its memory measured, too: that is slow
_LINES = 10


def fuzz_strategy(
    strategy: Strategy | Callable[[], Strategy],
    *,
    replies: int = 2000,
    seed: int = 0,
    gradient: bool = False,
    cast: bool = False,
) -> None:
    """Play rounds in which the replies of three nodes of twelve have been changed byte by byte.

    The bytes are those of the objects that a SuperNode uploads, and are inflated as Flower's grid
    inflates them, behind a `GuardedGrid` as under `Robust.start` (around other strategies' grids
    put one yourself). In no round may the strategy raise, lose the model or change its keys, shapes
    or dtypes, make it non-finite, leave it as it was, take long or much memory, or end up further
    from what the same rounds lead to without the three than three times the deviation of the honest
    replies.

    Parameters
    ----------
    strategy
        A new strategy that samples all nodes and expects three malicious ones of twelve, which is
        copied, or a function that makes one.
    replies
        Number of mutated replies, three a round.
    seed
        Decides the mutations.
    gradient
        Whether clients send gradients rather than models.
    cast
        Whether clients send their arrays in other precisions and byte orders than the model's.

    Raises
    ------
    ContractError
        With one line for each of the first rounds that the strategy does not survive.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAdam
    >>> from byzflower.strategies import Robust
    >>> fuzz_strategy(Robust(FedAdam(), "nnm > trimmed_mean", 3), replies=60)
    """

    def make() -> Strategy:
        return deepcopy(strategy) if isinstance(strategy, Strategy) else strategy()

    attacked, peaceful = make(), make()
    honest = {node: _content(node, gradient, cast) for node in NODES}
    grid = GuardedGrid(_Uploads(honest, np.random.default_rng(seed)))
    rounds = -(-replies // len(_MALICIOUS))
    broken = []
    for number in range(1, rounds + 1):
        reference = _without_the_malicious(Round(peaceful, MODEL, number), honest)
        played = Round(attacked, MODEL, number)

        def aggregate(played: Round = played) -> ArrayRecord | None:
            return played.end(grid.send_and_receive(played.asked, timeout=60))[0]

        found = outcome_of(aggregate, reference, MODEL, memory=number % _MEASURED == 1)
        if not found.fine:
            broken.append(f"round {number}: {found}")
    if broken:
        name = type(peaceful).__name__
        title = f"`{name}` fails {len(broken)} of {rounds} rounds of mutated replies:"
        raise ContractError("\n  ".join([title, *broken[:_LINES]]))


def _content(node: int, gradient: bool, cast: bool) -> RecordDict:
    content = honest_reply(node, MODEL, gradient=gradient)
    arrays = content.array_records["arrays"]
    for key in [key for key in arrays if cast and MODEL[key].dtype.kind == "f"]:
        # Wider or in the other byte order: no honest value changes on its way.
        arrays[key] = Array(arrays[key].numpy().astype(("<f8", ">f8")[node % 2]))
    return content


def _without_the_malicious(played: Round, honest: Mapping[int, RecordDict]) -> Reference:
    replies = {
        message: RecordDict(dict(honest[message.metadata.dst_node_id]))
        for message in played.asked
        if message.metadata.dst_node_id not in _MALICIOUS
    }
    arrays, _ = played.end(Message(c, reply_to=message) for message, c in replies.items())
    if arrays is None:
        raise ContractError("nine honest replies of twelve lead to no model")
    return Reference.at(arrays, list(replies.values()))


class _Uploads(Nodes):
    """What nodes have uploaded for the messages sent; the malicious ones' bytes are mutated."""

    pull_interval = 0.001

    def __init__(self, honest: Mapping[int, RecordDict], rng: Random) -> None:
        self._honest, self._rng = honest, rng
        self._deflated: dict[int, tuple[str, Objects]] = {}  # the same in every round
        self._uploaded: dict[str, tuple[str, Objects]] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        self._uploaded = {m.metadata.message_id: self._upload(m) for m in messages}
        return list(self._uploaded)

    def _upload(self, asked: Message) -> tuple[str, Objects]:
        node = asked.metadata.dst_node_id
        if node not in self._deflated:
            self._deflated[node] = deflated(Message(self._honest[node], reply_to=asked))
        name, objects = self._deflated[node]
        return name, mutated(objects, self._rng) if node in _MALICIOUS else objects

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:  # type: ignore[override, unused-ignore]
        return [inflated(*self._uploaded[key]) for key in message_ids]


def mutated(objects: Objects, rng: Random) -> Objects:
    """Return an upload with one or two of its objects changed.

    Objects keep the ids by which others name them; a node that uploads them can choose ids that
    fit, so whether they are hashes of the bytes proves nothing.
    """
    changed = dict(objects)
    keys = list(changed)
    for _ in range(rng.integers(1, 3)):
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.05:  # an object where another is expected
            changed[key] = changed[keys[rng.integers(len(keys))]]
            continue
        data = bytearray(changed[key])
        MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
        changed[key] = bytes(data) or b"\0"
    return changed


def _flip(data: bytearray, rng: Random) -> None:
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def _overwrite(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    size = min(int(rng.integers(1, 9)), len(data) - start)
    data[start : start + size] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF, 0x22, 0x7B])]) * size


def _insert(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data) + 1))
    data[start:start] = rng.bytes(int(rng.integers(1, 65)))


def _delete(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 17))]


def _cut(data: bytearray, rng: Random) -> None:
    del data[int(rng.integers(len(data))) :]


def _repeat(data: bytearray, rng: Random) -> None:
    start = int(rng.integers(len(data)))
    data.extend(data[start:] * int(rng.integers(1, 5)))


_TOKENS = (
    b'-1|0|NaN|-Infinity|1e999|9223372036854775808|null|true|[]|{}|""|"\\ud800"|[[[0]]]'.split(b"|")
)


def _token(data: bytearray, rng: Random) -> None:
    """Put another token in place of a number or a word of a header or a body of JSON."""
    words = list(re.finditer(rb'[0-9]+|"[^"]*"', bytes(data)))
    if words:
        start, end = words[rng.integers(len(words))].span()
        data[start:end] = _TOKENS[rng.integers(len(_TOKENS))]
    else:
        _flip(data, rng)


_DTYPES = [b"float16", b"float32", b"float64", b"bfloat16", b"int64", b"<f4", b">f4", b">f8"]


def _dtype(data: bytearray, rng: Random) -> None:
    """Declare another dtype, beside the bytes or in their header."""
    words = list(re.finditer(rb"b?float[0-9]+|int[0-9]+|[<>=|][a-zA-Z][0-9]+", bytes(data)))
    if words:
        start, end = words[rng.integers(len(words))].span()
        data[start:end] = _DTYPES[rng.integers(len(_DTYPES))]
    else:
        _flip(data, rng)


_VALUES = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0.0]


def _value(data: bytearray, rng: Random) -> None:
    """Put an extreme float in place of one at the end, where arrays have their values."""
    kind = np.dtype(rng.choice(["<f4", ">f4", "<f8", ">f8"]))
    word = np.array(rng.choice(_VALUES), kind).tobytes()
    start = max(0, len(data) - kind.itemsize * int(rng.integers(1, 13)))
    data[start : start + len(word)] = word


MUTATIONS: list[Callable[[bytearray, Random], None]] = [
    _flip,
    _overwrite,
    _insert,
    _delete,
    _cut,
    _repeat,
    _token,
    _dtype,
    _value,
]
"""Ways in which the bytes of an object, not empty, are changed in place."""
