"""Arrays that are no parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, RecordDict
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedAvgM,
)

from byzflower.strategies import (
    Robust,
    ServerSGD,
)
from byzflower.wire.payload import declare
from replies import MODEL, STEPS, gradients, shifted


def test_buffers_take_the_median_whatever_the_rule(make_content: Any, make_round: Any) -> None:
    model = MODEL | {
        "bn.running_mean": np.zeros(2, np.float32),
        "bn.running_var": np.ones(2, np.float32),
        "bn.num_batches_tracked": np.array(7),
        "mask": np.array([True, False]),
    }
    contents = [
        make_content(
            {k: v + np.float32(s) for k, v in MODEL.items()}
            | {
                "bn.running_mean": np.full(2, s, np.float32),
                "bn.running_var": np.full(2, 1 + s, np.float32),
                "bn.num_batches_tracked": np.array(8 if s < 1 else 10**15),
                "mask": np.array([True, s > 1]),
            }
        )
        for s in STEPS
    ]
    for inner in (FedAvg(), FedAdam(), ServerSGD()):
        payload: Any = "gradient" if isinstance(inner, ServerSGD) else "model"
        arrays, _ = make_round(Robust(inner, "mean", 0, payload), model, 5).run(contents)
        assert {k: a.dtype for k, a in arrays.items()} == {
            k: str(v.dtype) for k, v in model.items()
        }
        np.testing.assert_allclose(arrays["bn.running_mean"].numpy(), 0.3, rtol=1e-6)
        np.testing.assert_allclose(arrays["bn.running_var"].numpy(), 1.3, rtol=1e-6)
        assert arrays["bn.num_batches_tracked"].numpy() == 8
        assert arrays["mask"].numpy().tolist() == [True, False]


def test_buffers_can_be_named(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 0, buffers={"b"})
    arrays, _ = make_round(strategy, MODEL, 5).run(shifted(make_content))
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)
    np.testing.assert_allclose(arrays["w"].numpy(), MODEL["w"] + 18.2, rtol=1e-6)


def test_a_nan_in_a_buffer_is_rejected(make_content: Any, make_round: Any) -> None:
    model = MODEL | {"bn.running_var": np.ones(2, np.float32)}
    contents = [
        make_content(MODEL | {"bn.running_var": np.full(2, v, np.float32)})
        for v in (1.0, 1.0, 1.0, 1.0, np.nan)
    ]
    strategy = Robust(FedAvg(), "mean", 1)
    arrays, _ = make_round(strategy, model, 5).run(contents)
    assert arrays["bn.running_var"].numpy().tolist() == [1.0, 1.0]
    assert [r.node_id for r in strategy.history[-1].rejections] == [105]


def test_a_mask_with_inf_stays_as_it_is(make_content: Any, make_round: Any) -> None:
    mask = np.array([0.0, -np.inf], np.float32)
    contents = shifted(make_content)
    for content in contents:
        content["arrays"]["mask"] = Array(mask)
    contents[1]["arrays"]["mask"] = Array(np.zeros_like(mask))
    strategy = Robust(FedAvg(), "trimmed_mean", 1, buffers={"mask"})
    arrays, _ = make_round(strategy, MODEL | {"mask": mask}, 5).run(contents)
    np.testing.assert_array_equal(arrays["mask"].numpy(), mask)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)


MASKED = MODEL | {"mask": np.array([0.0, -np.inf], np.float32)}


def with_mask(make_content: Any, masks: list[Any], gradient: bool = False) -> list[RecordDict]:
    contents = gradients(make_content) if gradient else shifted(make_content)
    for content, mask in zip(contents, masks, strict=True):
        content["arrays"]["mask"] = Array(np.array(mask, np.float32))
    return contents


@pytest.mark.parametrize("inner", [FedAvg, FedAvgM, FedAdam, ServerSGD])
def test_a_mask_with_inf_that_nobody_names_stays_as_it_is(
    inner: Any, make_content: Any, make_round: Any
) -> None:
    payload: Any = "gradient" if inner is ServerSGD else "model"
    masks = [MASKED["mask"]] * 4 + [np.array([np.nan, 3.0])]
    strategy = Robust(inner(), "trimmed_mean", 1, payload)
    rounds = make_round(strategy, MASKED, 5)
    for _ in range(2):
        arrays, _ = rounds.run(with_mask(make_content, masks, payload == "gradient"))
        assert arrays["mask"].numpy().tobytes() == MASKED["mask"].tobytes()
        assert arrays["b"].numpy() != MODEL["b"]
    assert not any(record.skipped for record in strategy.history)


def test_infinite_weights_are_no_mask(make_content: Any, make_round: Any) -> None:
    masks = [MASKED["mask"]] * 2 + [np.zeros(2)] * 3
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    arrays, _ = make_round(strategy, MASKED, 5).run(with_mask(make_content, masks))
    assert arrays["b"].numpy() == MODEL["b"]
    assert "found Inf in 'mask', which most replies do not return" in strategy.history[-1].skipped


def declaring_buffers(contents: list[RecordDict], names: list[str] | None) -> list[RecordDict]:
    for content in contents:
        declare(content, "gradient", names)
    return contents


TABLE = {"w": np.zeros(3, np.float32), "pe": np.ones(4, np.float32)}


def momentums(make_content: Any, pe: float = 1.5, count: int = 5) -> list[RecordDict]:
    """Replies of clients that send a gradient for w and their own value of the table pe."""
    return [
        make_content({"w": np.full(3, 0.1 * i, np.float32), "pe": np.full(4, pe, np.float32)})
        for i in range(count)
    ]


def test_what_most_clients_declare_is_never_stepped(make_content: Any, make_round: Any) -> None:
    strategy = Robust(ServerSGD(0.5, momentum=0.9), "median", 1, "gradient")
    rounds = make_round(strategy, TABLE, 5)
    for _ in range(5):
        arrays, _ = rounds.run(declaring_buffers(momentums(make_content), ["pe"]))
        assert arrays["pe"].numpy() == pytest.approx([1.5] * 4)
    assert arrays["w"].numpy()[0] < 0


def test_a_minority_cannot_decide_what_is_a_buffer(make_content: Any, make_round: Any) -> None:
    model = {"w": np.zeros(3, np.float32), "scale": np.ones(2, np.float32)}
    contents = [
        make_content({"w": np.ones(3, np.float32), "scale": np.full(2, 0.2, np.float32)})
        for _ in range(5)
    ]
    declaring_buffers(contents, [])
    declaring_buffers(contents[:2], ["w", "scale", "unknown"])
    strategy = Robust(ServerSGD(0.5), "median", 2, "gradient")
    arrays, _ = make_round(strategy, model, 5).run(contents)
    assert arrays["w"].numpy() == pytest.approx([-0.5] * 3)
    assert arrays["scale"].numpy() == pytest.approx([0.9] * 2)


def test_an_array_returned_as_it_was_sent_is_never_stepped(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A position table of clients that declare nothing: it went from 1 to 0.03 in five rounds."""
    strategy = Robust(ServerSGD(0.5, momentum=0.9), "median", 1, "gradient")
    rounds = make_round(strategy, TABLE, 5)
    with caplog.at_level("INFO", "flwr"):
        for _ in range(5):
            arrays, _ = rounds.run(momentums(make_content, pe=1.0))
    assert arrays["pe"].numpy() == pytest.approx([1.0] * 4)
    assert caplog.text.count("name others with `buffers=`") == 1


def test_a_buffer_declared_by_most_that_holds_nan_is_rejected(
    make_content: Any, make_round: Any
) -> None:
    contents = declaring_buffers(momentums(make_content), ["pe"])
    contents[1]["arrays"]["pe"] = Array(np.full(4, np.nan, np.float32))
    strategy = Robust(ServerSGD(0.5), "median", 1, "gradient")
    arrays, metrics = make_round(strategy, TABLE, 5).run(contents)
    assert metrics["robust-rejected-non-finite"] == 1
    assert arrays["pe"].numpy() == pytest.approx([1.5] * 4)


def test_named_buffers_go_before_declared_ones(make_content: Any, make_round: Any) -> None:
    strategy = Robust(ServerSGD(0.5, buffers={"pe"}), "median", 1, "gradient")
    contents = declaring_buffers(momentums(make_content), ["w"])
    arrays, _ = make_round(strategy, TABLE, 5).run(contents)
    assert arrays["pe"].numpy() == pytest.approx([1.5] * 4)
    assert arrays["w"].numpy() == pytest.approx([-0.1] * 3)


def test_a_rule_with_a_memory_survives_a_change_of_what_is_a_parameter(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(ServerSGD(0.5), "centered_clipping(tau=1.0)", 1, "gradient")
    rounds = make_round(strategy, TABLE, 5)
    rounds.run(momentums(make_content))
    rounds.run(declaring_buffers(momentums(make_content), ["pe"]))
    assert not strategy.history[-1].skipped
