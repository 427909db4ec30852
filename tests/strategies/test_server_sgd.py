from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord

from byzflower.strategies import ServerSGD, StepSchedule, to_record

MODEL = {"w": np.array([1.0, 2.0], np.float32), "bn.running_mean": np.zeros(1, np.float32)}


def gradient(make_content: Any, value: float, examples: int = 10) -> Any:
    arrays = {"w": np.full(2, value, np.float32), "bn.running_mean": np.full(1, value, np.float32)}
    return make_content(arrays, examples=examples, loss=value)


def test_plain_mean_of_gradients(make_content: Any, make_round: Any) -> None:
    contents = [gradient(make_content, 1.0, 30), gradient(make_content, 5.0, 10)]
    arrays, metrics = make_round(ServerSGD(0.5), MODEL, 2).run(contents)
    np.testing.assert_allclose(arrays["w"].numpy(), MODEL["w"] - 0.5 * 2.0)
    np.testing.assert_allclose(arrays["bn.running_mean"].numpy(), 3.0)
    assert dict(metrics) == {"loss": 2.0}
    assert contents[0]["arrays"]["w"].numpy().tolist() == [1.0, 1.0]


def test_momentum_and_weight_decay_follow_pytorch(make_content: Any, make_round: Any) -> None:
    import torch

    weight = torch.nn.Parameter(torch.from_numpy(MODEL["w"].copy()))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    rounds = make_round(ServerSGD(0.1, momentum=0.9, weight_decay=0.01), MODEL, 2)
    for value in (1.0, -2.0, 3.0):
        weight.grad = torch.full((2,), value)
        optimiser.step()
        arrays, _ = rounds.run([gradient(make_content, value)] * 2)
        rounds.model = {key: array.numpy() for key, array in arrays.items()}
    np.testing.assert_allclose(rounds.model["w"], weight.detach().numpy(), rtol=1e-6)


def test_schedule_is_read_each_round(make_content: Any, make_round: Any) -> None:
    rounds = make_round(ServerSGD(StepSchedule(0.5, {1: 0.25})), MODEL, 2)
    for rate in (0.5, 0.25, 0.25):
        arrays, _ = rounds.run([gradient(make_content, 1.0)] * 2)
        np.testing.assert_allclose(arrays["w"].numpy(), MODEL["w"] - rate)


def test_any_function_of_the_round_is_a_schedule(make_content: Any, make_round: Any) -> None:
    rounds = make_round(ServerSGD(lambda server_round: 1.0 / server_round), MODEL, 2)
    for rate in (1.0, 0.5):
        arrays, _ = rounds.run([gradient(make_content, 1.0)] * 2)
        np.testing.assert_allclose(arrays["w"].numpy(), MODEL["w"] - rate)


def test_no_replies_no_step(make_round: Any) -> None:
    assert make_round(ServerSGD(), MODEL, 2).run([None, None]) == (None, None)


def test_aggregating_before_configuring_is_an_error(make_content: Any, make_round: Any) -> None:
    rounds = make_round(ServerSGD(), MODEL, 2)
    rounds.ask()
    replies = rounds.replies([gradient(make_content, 1.0)] * 2)
    with pytest.raises(RuntimeError, match="needs a call of `configure_train`"):
        ServerSGD().aggregate_train(1, replies)


def test_settings_are_those_of_fedavg(fake_grid: Any) -> None:
    strategy = ServerSGD(fraction_train=0.5, arrayrecord_key="model")
    grid = fake_grid(dict.fromkeys(range(8)))
    messages = list(strategy.configure_train(1, to_record({}), ConfigRecord(), grid))
    assert len(messages) == 4
    assert set(messages[0].content) == {"model", "config"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` needs a number > 0; found 0.0"),
        ({"learning_rate": float("nan")}, "found nan"),
        ({"momentum": 1.0}, r"`momentum` needs a number in \[0, 1\); found 1.0"),
        ({"weight_decay": -0.1}, "`weight_decay` needs a number ≥ 0; found -0.1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ServerSGD(**options)


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="fraction_trian"):
        ServerSGD(fraction_trian=0.5)  # type: ignore[call-arg]


def test_summary_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ServerSGD(StepSchedule(0.05, {1500: 0.00082}), momentum=0.9).summary()
    assert "Learning rate: step(0.05, {1500: 0.00082})" in caplog.text
    assert "Momentum: 0.9" in caplog.text


def test_step_schedule_is_a_value() -> None:
    schedule = StepSchedule(1.0, {20: 0.1, 10: 0.5})
    assert [schedule(t) for t in (1, 10, 11, 20, 21)] == [1.0, 1.0, 0.5, 0.5, 0.1]
    assert schedule == StepSchedule(1.0, [(10, 0.5), (20, 0.1)])
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))


@pytest.mark.parametrize(
    ("initial", "changes", "text"),
    [
        (0.0, {}, "needs learning rates > 0; found 0.0"),
        (1.0, {5: float("inf")}, "needs learning rates > 0; found inf"),
        (1.0, {5.5: 0.1}, r"needs changes such as \{1500: 0.01\}; found \{5.5: 0.1\}"),
        (1.0, 3, r"needs changes such as \{1500: 0.01\}; found 3"),
        (1.0, {-5: 0.1}, "needs an integer round ≥ 0; found -5"),
    ],
)
def test_step_schedule_out_of_range(initial: float, changes: dict[int, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        StepSchedule(initial, changes)
