from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, RecordDict
from torch import nn

from byzflower.clients import GARBAGE, ClientTask, Momentum, Objective, garbage_mod, make_client_app


@pytest.fixture
def replies(make_message, make_context):
    """The honest content and the spoilt one."""
    model = nn.Linear(4, 3)
    task = ClientTask(Objective(model), torch.randn(6, 4), torch.arange(6) % 3, 0, 2)

    def run(kind, message_type="train"):
        contents = []
        for mods in ([], [garbage_mod(kind)]):
            app = make_client_app(lambda context: task, Momentum(), mods=mods)
            message = make_message(model.state_dict(), kind=message_type)
            contents.append(app(message, make_context()).content)
        return contents

    return run


def described(content: RecordDict) -> list[object]:
    """Everything a reply declares and holds, without decoding anything."""
    return [
        (name, [(k, a.dtype, tuple(a.shape), a.stype, a.data) for k, a in record.items()])
        if isinstance(record, ArrayRecord)
        else (name, list(record.items()))
        for name, record in content.items()
    ]


@pytest.mark.parametrize("kind", sorted(set(GARBAGE) - {"error"}))
def test_every_kind_spoils_train_replies_and_nothing_else(kind, replies):
    honest, spoilt = replies(kind)
    assert described(spoilt) != described(honest)
    assert all(array.numpy().shape == array.shape for array in honest["arrays"].values())
    honest, same = replies(kind, "query")
    assert described(same) == described(honest)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("wrong_shape", (3, 4, 2)),
        ("transposed", (4, 3)),
        ("extra_dimension", (1, 3, 4)),
        ("flattened", (12,)),
        ("zero_size", (0, 3, 4)),
    ],
)
def test_shapes(kind, shape, replies):
    array = replies(kind)[1]["arrays"]["weight"]
    assert (tuple(array.shape), array.numpy().shape) == (shape, shape)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("complex", "c"), ("float16", "f"), ("integers", "i"), ("strings", "U"), ("structs", "V")],
)
def test_dtypes(kind, dtype, replies):
    array = replies(kind)[1]["arrays"]["weight"]
    assert array.numpy().dtype.kind == dtype
    assert array.dtype != "float32"


@pytest.mark.parametrize(
    "kind",
    ["no_bytes", "object_pickle", "random_bytes", "truncated", "unknown_stype", "wrong_header"],
)
def test_bytes_that_cannot_be_read(kind, replies):
    array = replies(kind)[1]["arrays"]["weight"]
    assert (array.dtype, array.shape) == ("float32", (3, 4))
    with pytest.raises((ValueError, TypeError, EOFError, MemoryError, np.exceptions.AxisError)):
        array.numpy()


@pytest.mark.parametrize(
    ("kind", "records"),
    [
        ("empty", []),
        ("no_arrays", ["metrics", "byzflower"]),
        ("no_metrics", ["arrays", "byzflower"]),
        ("renamed_arrays", ["metrics", "byzflower", "arrays-renamed"]),
        ("extra_arrays", ["metrics", "arrays", "byzflower", "arrays-again"]),
        ("extra_config", ["metrics", "arrays", "byzflower", "garbage"]),
    ],
)
def test_records(kind, records, replies):
    assert list(replies(kind)[1]) == records


def test_keys_and_counts(replies):
    assert list(replies("missing_key")[1]["arrays"]) == ["bias"]
    assert list(replies("extra_key")[1]["arrays"]) == ["weight", "bias", "garbage"]
    assert "garbage" in replies("extra_metric")[1]["metrics"]
    assert "num-examples" not in replies("no_num_examples")[1]["metrics"]
    assert replies("negative_num_examples")[1]["metrics"]["num-examples"] < 0
    assert replies("list_num_examples")[1]["metrics"]["num-examples"] == [1.0, 2.0]


def test_error_raises(replies):
    with pytest.raises(RuntimeError, match="fails on purpose"):
        replies("error")


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"needs a kind from complex, .*; found 'rubbish'"):
        garbage_mod("rubbish")
