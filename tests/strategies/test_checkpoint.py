"""A run that its process does not survive goes on from its newest whole checkpoint."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

from byzflower.statefile import StateFileError, read_tree, write_tree
from byzflower.strategies import Checkpoint, CheckpointError, Robust, ServerSGD

ROUNDS = 7
START = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(0)}


class CrashError(Exception):
    """What ends the process of a run, as far as a test can see."""


def client(node: int, payload: str) -> Any:
    def answer(message: Message) -> RecordDict:
        received = message.content["arrays"]
        server_round = message.content["config"]["server-round"]
        noise = np.random.default_rng((node, server_round)).normal(size=(2, 3)).astype(np.float32)
        gap = received["w"].numpy() - 1 + noise
        w = gap if payload == "gradient" else received["w"].numpy() - 0.5 * gap
        arrays = {"w": Array(w), "n": Array(np.asarray(received["n"].numpy() + 1))}
        metrics = MetricRecord({"num-examples": 5, "loss": float((gap**2).sum())})
        return RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})

    return answer


def hostile(message: Message) -> RecordDict:
    """A node that now and then sends nothing usable, so that conduct and history say something."""
    if message.content["config"]["server-round"] % 2:
        return RecordDict()
    return client(99, "model")(message)


def start(strategy: Robust, fake_grid: Any, crash_after: int | None = None) -> Any:
    grid = fake_grid({node: client(node, strategy.payload) for node in range(1, 8)})
    grid.answers[99] = hostile

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        if server_round == crash_after:
            raise CrashError
        return MetricRecord({"norm": float(np.linalg.norm(arrays["w"].numpy()))})

    initial = ArrayRecord({key: Array(value) for key, value in START.items()})
    return strategy.start(grid, initial, num_rounds=ROUNDS, evaluate_fn=evaluate)


def everything(strategy: Robust, result: Any) -> dict[str, Any]:
    return {
        "model": {k: (a.dtype, a.numpy().tobytes()) for k, a in result.arrays.items()},
        "train": {k: dict(v) for k, v in result.train_metrics_clientapp.items()},
        "evaluate": {k: dict(v) for k, v in result.evaluate_metrics_serverapp.items()},
        "history": [record.to_metrics() for record in strategy.history],
        "conduct": strategy.conduct.table(),
    }


MAKERS = {
    "FedAvg": lambda c: Robust(FedAvg(), "median", 1, checkpoint=c),
    "FedAvgM": lambda c: Robust(FedAvgM(server_momentum=0.9), "median", 1, checkpoint=c),
    "FedAdam": lambda c: Robust(FedAdam(beta_1=0.9, beta_2=0.9), "median", 1, checkpoint=c),
    "FedYogi": lambda c: Robust(FedYogi(beta_1=0.9, beta_2=0.9), "median", 1, checkpoint=c),
    "FedAdagrad": lambda c: Robust(FedAdagrad(eta=0.3), "median", 1, checkpoint=c),
    "ServerSGD": lambda c: Robust(
        ServerSGD(0.1, momentum=0.9), "median", 1, "gradient", checkpoint=c
    ),
    "center": lambda c: Robust(FedAvg(), "centered_clipping(tau=0.5)", 1, checkpoint=c),
    "generator": lambda c: Robust(FedAvg(), "bucketing(s=2) > median", 1, seed=3, checkpoint=c),
    "quarantine": lambda c: Robust(FedAvg(), "median", 1, quarantine_after=2, checkpoint=c),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("crash_after", [1, 4, ROUNDS])
def test_a_run_that_crashed_ends_as_if_it_had_not(
    make: Any, crash_after: int, fake_grid: Any, tmp_path: Path
) -> None:
    whole = make(Checkpoint(tmp_path / "whole"))
    expected = everything(whole, start(whole, fake_grid))

    checkpoint = Checkpoint(tmp_path / "crashed")
    with pytest.raises(CrashError):
        start(make(checkpoint), fake_grid, crash_after)
    resumed = make(checkpoint)
    assert everything(resumed, start(resumed, fake_grid)) == expected


def test_a_crash_costs_at_most_as_many_rounds_as_lie_between_checkpoints(
    fake_grid: Any, tmp_path: Path
) -> None:
    make = MAKERS["FedAdam"]
    with pytest.raises(CrashError):
        start(make(Checkpoint(tmp_path, every=3)), fake_grid, crash_after=6)
    assert [p.name for p in sorted(tmp_path.glob("*.state"))] == ["round-00000003.state"]
    resumed = make(Checkpoint(tmp_path, every=3))
    result = start(resumed, fake_grid)
    assert sorted(result.train_metrics_clientapp) == list(range(1, ROUNDS + 1))
    # The last round is saved whatever `every` says, and the newest two are kept.
    assert [p.name for p in sorted(tmp_path.glob("*.state"))] == [
        "round-00000006.state",
        "round-00000007.state",
    ]


def test_a_finished_run_is_not_run_again(fake_grid: Any, tmp_path: Path) -> None:
    make = MAKERS["FedAvg"]
    first = make(Checkpoint(tmp_path))
    expected = everything(first, start(first, fake_grid))
    again = make(Checkpoint(tmp_path))
    again.aggregate_train = None  # type: ignore[method-assign]  # nobody may call it
    assert everything(again, start(again, fake_grid)) == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data.replace(b"byzflower tree 1", b"byzflower tree 9"),
        lambda data: bytes(len(data)),
        lambda data: b"\x80\x04K\x01." + data[5:],
    ],
    ids=["truncated", "empty", "another format", "zeros", "a pickle's head"],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: Any, fake_grid: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = MAKERS["FedAdam"]
    whole = make(Checkpoint(tmp_path / "whole"))
    expected = everything(whole, start(whole, fake_grid))
    checkpoint = Checkpoint(tmp_path / "damaged")
    with pytest.raises(CrashError):
        start(make(checkpoint), fake_grid, crash_after=5)
    newest = tmp_path / "damaged" / "round-00000004.state"
    newest.write_bytes(damage(newest.read_bytes()))
    resumed = make(checkpoint)
    with caplog.at_level(logging.INFO, "flwr"):
        assert everything(resumed, start(resumed, fake_grid)) == expected
    assert "Passed over a checkpoint" in caplog.text
    assert "Going on after round 3" in caplog.text


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda c: Robust(FedAvg(), "nnm > median", 1, checkpoint=c), "rule needs 'nnm > median'"),
        (lambda c: Robust(FedAdam(), "median", 1, checkpoint=c), "inner needs 'FedAdam'"),
        (
            lambda c: Robust(ServerSGD(0.1), "median", 1, "gradient", checkpoint=c),
            "payload needs 'gradient'; found 'model'",
        ),
    ],
)
def test_checkpoints_of_another_run_are_refused_with_what_differs(
    other: Any, difference: str, fake_grid: Any, tmp_path: Path
) -> None:
    start(MAKERS["FedAvg"](Checkpoint(tmp_path)), fake_grid)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=difference):
        start(other(Checkpoint(tmp_path)), fake_grid)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_another_model_is_refused_by_the_array_that_differs(fake_grid: Any, tmp_path: Path) -> None:
    start(MAKERS["FedAvg"](Checkpoint(tmp_path)), fake_grid)
    strategy = MAKERS["FedAvg"](Checkpoint(tmp_path))
    initial = ArrayRecord({"w": Array(np.zeros((2, 4), np.float32)), "n": Array(np.array(0))})
    with pytest.raises(CheckpointError, match=r"model 'w' needs \['float32', \[2, 4\]\]"):
        strategy.start(fake_grid({}), initial, num_rounds=1)


def test_a_folder_that_cannot_be_written_ends_the_start_in_one_line(
    fake_grid: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    strategy = MAKERS["FedAvg"](Checkpoint(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"needs a folder to write to alone; found .*file"):
        start(strategy, fake_grid)


def test_two_runs_cannot_save_into_one_folder(fake_grid: Any, tmp_path: Path) -> None:
    make = MAKERS["FedAvg"]
    grid = fake_grid({node: client(node, "model") for node in range(1, 8)})
    initial = ArrayRecord({key: Array(value) for key, value in START.items()})

    def second(server_round: int, arrays: ArrayRecord) -> None:
        with pytest.raises(CheckpointError, match=r"process \d+ is writing to"):
            start(make(Checkpoint(tmp_path)), fake_grid)

    make(Checkpoint(tmp_path)).start(grid, initial, num_rounds=1, evaluate_fn=second)
    start(make(Checkpoint(tmp_path)), fake_grid)  # the first is gone


def test_a_disk_that_fills_up_costs_the_checkpoint_not_the_run(
    fake_grid: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make = MAKERS["FedAvg"]
    whole = make(None)
    expected = everything(whole, start(whole, fake_grid))
    calls = iter(range(100))

    def fsync(_: int) -> None:
        if next(calls) == 6:  # in the middle of the run
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    strategy = make(Checkpoint(tmp_path))
    assert everything(strategy, start(strategy, fake_grid)) == expected
    assert "No space left on device" in caplog.text
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]


class Counting(FedAvg):
    """A strategy of one's own that remembers something, with the two methods or without."""

    def __init__(self, seen: int = 0) -> None:
        super().__init__()
        self.seen = seen

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        self.seen += 1
        return super().aggregate_train(server_round, replies)


class ResumableCounting(Counting):
    """The same, resumable."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def test_a_strategy_of_ones_own_is_resumed_by_two_methods(fake_grid: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`Counting` has none: add both"):
        Robust(Counting(), "median", 1, checkpoint=Checkpoint(tmp_path))
    first = Robust(ResumableCounting(), "median", 1, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(CrashError):
        start(first, fake_grid, crash_after=3)
    inner = ResumableCounting()
    start(Robust(inner, "median", 1, checkpoint=Checkpoint(tmp_path)), fake_grid)
    assert inner.seen == ROUNDS


def test_more_rounds_may_be_asked_for_later(fake_grid: Any, tmp_path: Path) -> None:
    grid = fake_grid({node: client(node, "model") for node in range(1, 8)})
    initial = ArrayRecord({key: Array(value) for key, value in START.items()})
    whole = MAKERS["FedAdam"](None).start(grid, initial, num_rounds=6)
    for rounds in (2, 6):
        result = MAKERS["FedAdam"](Checkpoint(tmp_path)).start(grid, initial, num_rounds=rounds)
    assert result.arrays["w"].numpy().tobytes() == whole.arrays["w"].numpy().tobytes()


def test_should_stop_ends_a_run_and_another_start_goes_on(fake_grid: Any, tmp_path: Path) -> None:
    grid = fake_grid({node: client(node, "model") for node in range(1, 8)})
    initial = ArrayRecord({key: Array(value) for key, value in START.items()})
    strategy = MAKERS["FedAvg"](Checkpoint(tmp_path, every=100))
    result = strategy.start(grid, initial, 5, should_stop=lambda done, _: done == 2)
    assert result.stopped == "`should_stop` ended the run after round 2"
    assert sorted(result.train_metrics_clientapp) == [1, 2]
    assert MAKERS["FedAvg"](Checkpoint(tmp_path)).start(grid, initial, 5).stopped == ""


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_settings_are_checked(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`Checkpoint` needs an integer every ≥ 1"):
        Checkpoint(tmp_path, every=value)
    with pytest.raises(ValueError, match="`Checkpoint` needs an integer keep ≥ 2"):
        Checkpoint(tmp_path, keep=value)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        {"a": [1, 2.5, "ü", None, True], 7: (1, {"b": ()})},
        b"\x00\xff",
        {"inf": math.inf, "-inf": -math.inf},
        torch.zeros(0, 3),
        torch.tensor(5),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
        np.arange(6.0).reshape(2, 3).T,
        np.float32(1.5),
    ],
    ids=str,
)
def test_a_tree_comes_back_as_it_was(tree: Any, tmp_path: Path) -> None:
    write_tree(tmp_path / "t", tree)
    back = read_tree(tmp_path / "t")
    if isinstance(tree, torch.Tensor):
        assert back.dtype == tree.dtype
        assert torch.equal(back, tree)
    elif isinstance(tree, np.ndarray):
        assert back.dtype == tree.dtype
        np.testing.assert_array_equal(back, tree)
    else:
        assert back == tree


@pytest.mark.parametrize(
    "value",
    [object(), {"f": print}, np.array([object()])],
    ids=["an object", "a function", "an array of objects"],
)
def test_what_is_no_tree_is_refused_and_leaves_no_file(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a state file holds"):
        write_tree(tmp_path / "t", value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StateFileError, match="needs to be a whole state file"):
        read_tree(tmp_path / "t")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["app", "run"])
def test_kill_9_at_random_moments_loses_no_more_than_the_round_at_work(
    kind: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), "20", kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 21
    assert len({line.split()[-1] for line in lines}) == 1, done.stdout
