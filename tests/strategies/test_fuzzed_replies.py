"""No mutated reply harms `Robust`, whatever is inside and however it is set.

2,000 mutated replies by default; ``BYZFLOWER_FUZZED_REPLIES=100000`` plays more, as every night.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg

from byzflower.strategies import Robust, ServerSGD
from byzflower.strategies.vetting import Expected, Vetting
from byzflower.testing import ContractError, fuzz_strategy
from byzflower.testing.fuzzing import MODEL, MUTATIONS, mutated
from byzflower.testing.hostile import honest_reply
from byzflower.wire.flower_internals import Allowance, assume_identity, deflated, inflated

MALICIOUS = 3
BLOCKS = 20  # each with a strategy and a seed of its own
REPLIES = int(os.environ.get("BYZFLOWER_FUZZED_REPLIES", "2000"))

ROBUST: dict[str, Callable[[], Robust]] = {
    "FedAvg": lambda: Robust(FedAvg(), "trimmed_mean", MALICIOUS, seed=0),
    "FedAdam": lambda: Robust(FedAdam(), "nnm > trimmed_mean", MALICIOUS, seed=0),
    "ServerSGD": lambda: Robust(
        ServerSGD(0.1, momentum=0.9), "arc > nnm > median", MALICIOUS, "gradient", seed=0
    ),
    "casting": lambda: Robust(
        FedAvg(), "geometric_median", MALICIOUS, cast_dtypes=True, quarantine_after=5, seed=0
    ),
}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_mutated_reply_harms_a_round(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    name = list(ROBUST)[block % len(ROBUST)]
    made: list[Robust] = []

    def make() -> Robust:
        made.append(ROBUST[name]())
        return made[-1]

    fuzz_strategy(
        make,
        replies=REPLIES // BLOCKS,
        seed=block,
        gradient=name == "ServerSGD",
        cast=name == "casting",
    )
    attacked = made[0].history
    assert not any(record.skipped for record in attacked)
    reasons = Counter(str(item.reason) for record in attacked for item in record.rejections)
    assert {"unreadable", "bytes"} <= set(reasons)


def test_flower_s_own_strategies_do_not_survive_it() -> None:
    with pytest.raises(ContractError) as error:
        fuzz_strategy(FedAvg, replies=300)
    title, *lines = str(error.value).split("\n  ")
    assert title.startswith("`FedAvg` fails ")
    assert title.endswith("of 100 rounds of mutated replies:")
    assert len(lines) == 10
    assert any("raises" in line or "captured" in line or "NaN" in line for line in lines)


def test_a_mutated_reply_costs_no_more_work_than_a_few_honest_ones() -> None:
    assume_identity(1)
    asked = Message(RecordDict(), dst_node_id=1, message_type="train")
    name, objects = deflated(Message(honest_reply(1, MODEL), reply_to=asked))
    expected = {
        key: Expected(torch.from_numpy(array).dtype, array.shape) for key, array in MODEL.items()
    }
    vetting = Vetting(expected)

    def calls(upload: Any) -> int:
        """Return how many functions, of Python and C, are called for a reply."""
        count = 0

        def note(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in {"call", "c_call"}

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            with Allowance(1 << 20):
                vetting.train(1, Message(inflated(name, upload).content, reply_to=asked))
        except Exception:  # as the guard has it: an unreadable reply
            pass
        finally:
            sys.setprofile(before)
        return count

    rng = np.random.default_rng(0)
    honest = calls(objects)
    assert honest > 100
    assert max(calls(mutated(objects, rng)) for _ in range(1000)) < 3 * honest


def test_mutations_are_the_same_for_the_same_seed() -> None:
    objects = {"a": b"Array  12\0" + bytes(200), "b": b'{"x": [1, 2]}'}
    first, second = (mutated(objects, np.random.default_rng(3)) for _ in range(2))
    assert first == second != objects


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_each_mutation_changes_the_bytes(mutation: Any) -> None:
    before = bytes(range(1, 128)) + b'{"x": [17, 23], "dtype": "float8"}'
    after = bytearray(before)
    mutation(after, np.random.default_rng(0))
    assert bytes(after) != before
