"""Models in bfloat16 and float16, as messages carry them: bytes, there and back."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM

from byzflower.strategies import Checkpoint, Robust, ServerSGD, to_record, to_tensor

HALVES = [torch.bfloat16, torch.float16]
TARGET = torch.tensor([1.0, -2.0, 3.0])


def as_bytes(tensors: dict[str, torch.Tensor]) -> ArrayRecord:
    """The record as it comes out of another process."""
    record = ArrayRecord()
    for key, array in to_record(tensors).items():
        record[key] = pickle.loads(pickle.dumps(array))
        assert type(record[key]) is Array
    return record


def client(dtype: torch.dtype, payload: str, offset: float) -> Any:
    def answer(message: Message) -> RecordDict:
        if message.metadata.message_type == "evaluate":
            return RecordDict({"metrics": MetricRecord({"num-examples": 5})})
        sent = pickle.loads(pickle.dumps(message.content["arrays"]["w"]))
        w = to_tensor(sent)
        assert w.dtype == dtype
        gap = w.float() - TARGET + offset
        arrays = {"w": (gap if payload == "gradient" else w.float() - 0.5 * gap).to(dtype)}
        metrics = MetricRecord({"num-examples": 5})
        return RecordDict({"arrays": as_bytes(arrays), "metrics": metrics})

    return answer


def grid_of(fake_grid: Any, dtype: torch.dtype, payload: str) -> Any:
    offsets = [0.0, 0.01, -0.01, 0.02, -0.02, 0.0, 1e4]
    return fake_grid({i: client(dtype, payload, offset) for i, offset in enumerate(offsets, 1)})


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    "make",
    [
        FedAvg,
        lambda: FedAvgM(server_momentum=0.5),
        lambda: FedAdam(eta=0.2, tau=0.1, beta_1=0.0),
        lambda: ServerSGD(0.5, momentum=0.3),
    ],
    ids=["FedAvg", "FedAvgM", "FedAdam", "ServerSGD"],
)
def test_training_keeps_the_dtype_and_succeeds(
    make: Any, dtype: torch.dtype, fake_grid: Any
) -> None:
    inner = make()
    payload: Any = "gradient" if isinstance(inner, ServerSGD) else "model"
    strategy = Robust(inner, "arc > nnm > trimmed_mean", 1, payload)
    initial = as_bytes({"w": torch.zeros(3, dtype=dtype)})
    result = strategy.start(grid_of(fake_grid, dtype, payload), initial, num_rounds=54)
    assert not any(record.skipped or record.rejections for record in strategy.history)
    trained = to_tensor(result.arrays["w"])
    assert trained.dtype == dtype
    torch.testing.assert_close(trained.float(), TARGET, atol=0.1, rtol=0.0)
    assert strategy.conduct.to_rows()[0]["node"] == 7


def test_a_step_smaller_than_the_clients_dtype_is_not_lost_in_the_server_s(
    fake_grid: Any,
) -> None:
    """Eight clients move a weight by one unit in the last place or not at all: the mean counts."""
    one, next_one = torch.tensor(1.0), torch.tensor(1.0078125)

    def answer(value: torch.Tensor) -> Any:
        arrays = {"w": value.reshape(1).to(torch.bfloat16)}
        metrics = MetricRecord({"num-examples": 1})
        return lambda _: RecordDict({"arrays": as_bytes(arrays), "metrics": metrics})

    class Watching(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            (reply,) = replies
            seen.append(reply.content["arrays"]["w"].numpy())
            return super().aggregate_train(server_round, [reply])

    seen: list[np.ndarray] = []
    grid = fake_grid({i: answer(next_one if i % 4 == 0 else one) for i in range(8)})
    strategy = Robust(Watching(fraction_evaluate=0.0), "mean", 0)
    strategy.start(grid, as_bytes({"w": torch.ones(1, dtype=torch.bfloat16)}), num_rounds=1)
    assert seen[0].dtype == np.float32
    assert seen[0] == pytest.approx(1 + 0.0078125 / 4, rel=1e-7)


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, fake_grid: Any) -> None:
    dtype = torch.bfloat16

    def start(rounds: int, folder: Path) -> bytes:
        strategy = Robust(FedAdam(), "median", 1, checkpoint=Checkpoint(folder))
        grid = grid_of(fake_grid, dtype, "model")
        initial = as_bytes({"w": torch.zeros(3, dtype=dtype)})
        return strategy.start(grid, initial, num_rounds=rounds).arrays["w"].data

    start(2, tmp_path / "a")
    assert start(4, tmp_path / "a") == start(4, tmp_path / "b")


@pytest.mark.parametrize("cast", [False, True])
def test_float32_for_bfloat16_is_cast_only_when_asked(
    cast: bool, make_content: Any, fake_grid: Any
) -> None:
    model = {"w": torch.zeros(3, dtype=torch.bfloat16)}
    for code in ("<f4", ">f4", "<f2", ">f8"):
        reply = make_content({"w": np.ones(3, code)})
        grid = fake_grid({i: lambda _, reply=reply: reply for i in range(5)})
        strategy = Robust(FedAvg(fraction_evaluate=0.0), "median", 1, cast_dtypes=cast)
        result = strategy.start(grid, as_bytes(model), num_rounds=1)
        assert to_tensor(result.arrays["w"]).tolist() == [float(cast)] * 3
        if not cast:
            assert "needs dtype bfloat16; found" in strategy.history[-1].skipped


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lambda data: data[:-1], "needs 6 bytes after the header; found 5"),
        (lambda data: data.replace(b"|V2", b"<f2"), "needs the .npy header of bfloat16"),
        (lambda data: data.replace(b"|V2", b"|O2"), "needs the .npy header of bfloat16"),
    ],
)
def test_other_bytes_are_no_bfloat16(data: Any, text: str, fake_grid: Any) -> None:
    array = pickle.loads(pickle.dumps(to_record({"w": torch.ones(3).bfloat16()})["w"]))
    bad = ArrayRecord()
    bad["w"] = Array("bfloat16", (3,), array.stype, data(array.data))
    reply = RecordDict({"arrays": bad, "metrics": MetricRecord({"num-examples": 1})})
    grid = fake_grid({i: lambda _: reply for i in range(3)})
    strategy = Robust(FedAvg(fraction_evaluate=0.0), "median", 1)
    strategy.start(grid, as_bytes({"w": torch.zeros(3).bfloat16()}), num_rounds=1)
    assert text in strategy.history[-1].rejections[0].detail


def test_eight_bits_are_refused_in_one_line(fake_grid: Any) -> None:
    model = to_record({"w": torch.ones(3).to(torch.float8_e4m3fn)})
    with pytest.raises(TypeError, match="needs arrays of 16 bits or more; found float8_e4m3fn"):
        Robust(FedAvg(), "median", 1).start(fake_grid({}), model, num_rounds=1)
