"""Dtypes, devices and shared memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAvg,
)

import byzflower as bf
from byzflower.strategies import (
    Robust,
    ServerSGD,
    SharedArray,
    to_record,
    to_tensor,
)
from byzflower.strategies.vetting import Expected
from replies import MODEL, STEPS, Nodes, shifted

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def test_shared_arrays_reach_the_rule_without_a_copy(
    make_round: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacked = torch.arange(20.0).reshape(5, 4)
    strategy = Robust(ServerSGD(), "mean", 0, "gradient")
    contents = [
        RecordDict(
            {
                "arrays": to_record({"w": row.view(2, 2), "b": torch.ones(1)}),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        for row in stacked
    ]
    seen = []
    explain = type(strategy.rule).explain

    def spy(self: Any, updates: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(updates)
        return explain(self, updates, *args, **kwargs)

    monkeypatch.setattr(type(strategy.rule), "explain", spy)
    before = stacked.clone()
    arrays, _ = make_round(strategy, MODEL, 5).run(contents)
    block = seen[0].blocks[0]
    assert isinstance(block, torch.Tensor)  # the stacked tensor, recognised
    assert block.data_ptr() == stacked.data_ptr()
    assert stacked.equal(before)
    assert isinstance(arrays["w"], SharedArray)
    np.testing.assert_allclose(
        to_tensor(arrays["w"]), MODEL["w"] - 0.1 * before.mean(0).reshape(2, 2).numpy(), rtol=1e-6
    )


def test_bytes_are_read_where_they_lie(
    make_content: Any, make_round: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"w": np.ones((40, 50), np.float32), "f": np.asfortranarray(np.ones((3, 2), "f4"))}
    contents = [make_content({k: v + np.float32(s) for k, v in model.items()}) for s in STEPS]
    sent = [{k: a.data for k, a in c["arrays"].items()} for c in contents]
    before = [{k: bytes(bytearray(data)) for k, data in record.items()} for record in sent]
    seen = []
    explain = bf.TrimmedMean._explain

    def spy(self: Any, updates: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(updates)
        return explain(self, updates, *args, **kwargs)

    monkeypatch.setattr(bf.TrimmedMean, "_explain", spy)
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    arrays, _ = make_round(strategy, model, 5).run(contents)
    rows, _ = seen[0].blocks
    for row, record in zip(rows, sent, strict=True):
        start = np.frombuffer(record["w"], np.uint8).ctypes.data
        assert start < row.data_ptr() < start + len(record["w"])
    assert sent == before
    np.testing.assert_allclose(arrays["w"].numpy(), 1.3, rtol=1e-6)
    np.testing.assert_allclose(arrays["f"].numpy(), 1.3, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_are_kept(dtype: torch.dtype, make_round: Any) -> None:
    strategy = Robust(ServerSGD(1.0), "trimmed_mean", 1, "gradient")
    model = {"w": torch.ones(3, dtype=dtype), "s": torch.ones((), dtype=torch.float32)}
    grid_round = make_round(strategy, MODEL, 5)
    grid_round.model = {}
    messages = list(
        strategy.configure_train(1, to_record(model), ConfigRecord(), Nodes(grid_round.nodes))
    )
    replies = [
        Message(
            RecordDict(
                {
                    "arrays": to_record({k: torch.full_like(v, s) for k, v in model.items()}),
                    "metrics": MetricRecord({"num-examples": 1}),
                }
            ),
            reply_to=message,
        )
        for message, s in zip(messages, STEPS, strict=True)
    ]
    arrays, _ = strategy.aggregate_train(1, replies)
    assert to_tensor(arrays["w"]).dtype == dtype
    torch.testing.assert_close(to_tensor(arrays["w"]), torch.full((3,), 0.7, dtype=dtype))
    torch.testing.assert_close(to_tensor(arrays["s"]), torch.tensor(0.7))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("payload", ["model", "gradient"])
def test_updates_on_a_gpu_stay_there(payload: Any, make_round: Any) -> None:
    inner = ServerSGD(1.0) if payload == "gradient" else FedAvg()
    strategy = Robust(inner, "trimmed_mean", 1, payload)
    contents = [
        RecordDict(
            {
                "arrays": to_record(
                    {k: torch.full(v.shape, s, device="cuda") for k, v in MODEL.items()}
                ),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        for s in STEPS
    ]
    arrays, _ = make_round(strategy, MODEL, 5).run(contents)
    assert all(to_tensor(array).is_cuda for array in arrays.values())
    expected = 5.0 - 0.3 if payload == "gradient" else 0.3
    assert to_tensor(arrays["b"]).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", ">f8", "<f2"])
def test_another_precision_or_byte_order_is_cast_only_when_asked(
    dtype: str, make_content: Any, make_round: Any
) -> None:
    def contents() -> list[RecordDict]:
        replies = shifted(make_content)
        for content in replies:
            record = content["arrays"]
            for key in list(record):
                record[key] = Array(record[key].numpy().astype(dtype))
        return replies

    refused = Robust(FedAvg(), "median", 1)
    make_round(refused, MODEL, 5).run(contents())
    reason = refused.history[-1].skipped
    assert "5 of 5 replies rejected" in reason
    assert "`cast_dtypes=True` would cast it" in reason
    strategy = Robust(FedAvg(), "median", 1, cast_dtypes=True)
    arrays, _ = make_round(strategy, MODEL, 5).run(contents())
    assert not strategy.history[-1].skipped
    assert arrays["w"].dtype == "float32"
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-3)


@pytest.mark.parametrize("model", FLOATS, ids=str)
@pytest.mark.parametrize("sent", FLOATS, ids=str)
def test_any_precision_is_cast_to_any_other_shared_or_as_bytes(
    sent: torch.dtype, model: torch.dtype
) -> None:
    values = torch.tensor([1.5, -0.25, 3e4])
    read = Expected(model, (3,), cast=True).read(SharedArray(values.to(sent)))
    assert read.dtype == model
    assert torch.equal(read, values.to(sent).to(model))
    uploaded = Array(
        str(sent).removeprefix("torch."), (3,), "numpy.ndarray", SharedArray(values.to(sent)).data
    )
    assert torch.equal(Expected(model, (3,), cast=True).read(uploaded), read)
    if sent != torch.bfloat16:
        swapped = Array(values.to(sent).numpy().astype(f">f{sent.itemsize}"))
        assert torch.equal(Expected(model, (3,), cast=True).read(swapped), read)


def test_a_number_that_the_model_s_dtype_cannot_hold_is_no_number(
    make_content: Any, make_round: Any
) -> None:
    replies = shifted(make_content)
    replies[0]["arrays"]["b"] = Array(np.array([1e300]))
    strategy = Robust(FedAvg(), "median", 1, cast_dtypes=True)
    _, metrics = make_round(strategy, MODEL, 5).run(replies)
    assert metrics["robust-rejected-non-finite"] == 1


@pytest.mark.parametrize("value", [np.arange(2), np.ones(2, complex), np.array(["a", "b"])])
def test_what_is_no_floating_point_array_is_never_cast(
    value: Any, make_content: Any, make_round: Any
) -> None:
    model = {"w": np.zeros(2, np.float32)}
    replies = [make_content({"w": np.ones(2, np.float32)}) for _ in range(4)]
    replies.append(make_content({"w": value}))
    strategy = Robust(FedAvg(), "median", 1, cast_dtypes=True)
    _, metrics = make_round(strategy, model, 5).run(replies)
    assert metrics["robust-rejected-dtype"] == 1
