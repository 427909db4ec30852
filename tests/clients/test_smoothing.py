"""Momentum around any app that returns models."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from torch import nn

from byzflower.clients import (
    ClientTask,
    LocalSGD,
    Momentum,
    Objective,
    make_client_app,
    momentum_mod,
)
from byzflower.wire.arrays import to_record, to_tensor


def foreign_app(updates, mods, name="arrays", in_place=False):
    """A ClientApp with nothing of byzflower: it adds the next update to what it received."""
    app, left = ClientApp(mods=mods), iter(updates)

    @app.train()
    def train(message, context):
        content = RecordDict({"metrics": MetricRecord({"num-examples": 1})})
        received = message.content["arrays"]
        update = next(left)
        if in_place:
            for array in received.values():
                to_tensor(array).add_(update)
        trained = {key: to_tensor(a) + (0 if in_place else update) for key, a in received.items()}
        content[name] = to_record(trained)
        return Message(content, reply_to=message)

    return app


def rounds(app, context, make_message, starts):
    return [
        to_tensor(app(make_message({"w": start.clone()}, t), context).content["arrays"]["w"])
        for t, start in enumerate(starts, 1)
    ]


def carried(state):
    """A node's memory as Ray's workers get it, and as SuperNodes' processes do."""
    return recorddict_from_proto(recorddict_to_proto(pickle.loads(pickle.dumps(state))))


@pytest.mark.parametrize("in_place", [False, True])
def test_the_reply_is_the_received_model_plus_the_momentum(in_place, make_message, make_context):
    starts = [torch.tensor([1.0, 2.0]), torch.tensor([5.0, -1.0]), torch.tensor([0.0, 0.0])]
    updates = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 4.0])]
    app = foreign_app(updates, [momentum_mod(0.75)], in_place=in_place)
    m = torch.zeros(2)
    sent = rounds(app, make_context(), make_message, starts)
    for start, update, found in zip(starts, updates, sent, strict=True):
        m = 0.75 * m + 0.25 * update
        torch.testing.assert_close(found, start + m)


def test_beta_zero_changes_nothing(make_message, make_context):
    starts = [torch.randn(3) for _ in range(3)]
    sent = rounds(foreign_app([1.0] * 3, [momentum_mod(0.0)]), make_context(), make_message, starts)
    torch.testing.assert_close(sent, [start + 1 for start in starts])


def test_the_memory_survives_the_process(make_message, make_context):
    starts = [torch.zeros(2)] * 4
    here = rounds(foreign_app(range(4), [momentum_mod()]), make_context(), make_message, starts)
    context, there = make_context(), []
    for t, update in enumerate(range(4), 1):
        app = foreign_app([update], [momentum_mod()])  # nothing but the context stays
        reply = app(make_message({"w": torch.zeros(2)}, t), context)
        there.append(to_tensor(reply.content["arrays"]["w"]))
        context.state = carried(context.state)
    torch.testing.assert_close(here, there, rtol=0, atol=0)
    assert list(context.state) == ["byzflower.momentum_mod.arrays"]


def test_a_client_that_misses_rounds_goes_on_where_it_was(make_message, make_context):
    app, context = foreign_app([1.0, 1.0], [momentum_mod(0.5)]), make_context()
    sent = [
        to_tensor(app(make_message({"w": torch.zeros(1)}, t), context).content["arrays"]["w"])
        for t in (1, 9)
    ]
    assert [value.item() for value in sent] == [0.5, 0.75]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_sent_as_it_is_and_forgotten(value, make_message, make_context):
    app = foreign_app([1.0, value, 1.0], [momentum_mod(0.5)])
    sent = rounds(app, make_context(), make_message, [torch.zeros(1)] * 3)
    assert sent[0].item() == 0.5
    assert not sent[1].isfinite()
    assert sent[2].item() == 0.75


def test_another_layout_starts_anew_and_says_so(make_message, make_context, caplog):
    app, context = foreign_app([1.0, 1.0], [momentum_mod(0.5)]), make_context()
    for shape in ((1,), (2,)):
        reply = app(make_message({"w": torch.zeros(shape)}), context)
        assert to_tensor(reply.content["arrays"]["w"]).tolist() == [0.5] * shape[0]
    assert [r.getMessage() for r in caplog.records] == [
        "the model's layout has changed: its momentum starts anew"
    ]


def test_buffers_stay_the_client_s_own(make_message, make_context):
    class Positioned(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 3), nn.BatchNorm1d(3))
            self.register_buffer("steps", torch.zeros(2))

        def forward(self, x):
            self.steps = self.steps + 1
            return super().forward(x)

    model = Positioned()
    objective = Objective(model)
    task = ClientTask(objective, torch.randn(6, 4), torch.arange(6) % 3, 0, 2)
    replies = [
        make_client_app(lambda context: task, LocalSGD(2, 0.1), mods)(
            make_message(model.state_dict()), make_context()
        ).content["arrays"]
        for mods in ([], [momentum_mod(0.75)])
    ]
    for name, start in model.state_dict().items():
        plain, smooth = (to_tensor(reply[name]) for reply in replies)
        if name in objective.names:
            torch.testing.assert_close(smooth, start + 0.25 * (plain - start))
        else:
            assert torch.equal(smooth, plain)
            assert smooth.dtype == start.dtype


def test_half_precision_keeps_its_dtype_and_its_momentum(make_message, make_context):
    context = make_context()
    app = foreign_app([1e-3] * 50, [momentum_mod(0.999)])
    for t in range(50):
        reply = app(make_message({"w": torch.zeros(1, dtype=torch.float16)}, t), context)
    sent = to_tensor(reply.content["arrays"]["w"])
    assert sent.dtype == torch.float16
    assert sent.item() == pytest.approx(1e-3 * (1 - 0.999**50), rel=1e-2)


def test_errors_and_other_messages_pass(make_message, make_context):
    app = ClientApp(mods=[momentum_mod()])
    app.train()(lambda message, context: Message(Error(1, "no"), reply_to=message))
    app.query()(lambda message, context: Message(message.content, reply_to=message))
    context, message = make_context(), make_message({"w": torch.ones(1)})
    assert app(message, context).error.reason == "no"
    query = make_message({"w": torch.ones(1)}, kind="query")
    assert app(query, context).content == query.content
    assert not context.state


def test_numpy_apps_with_records_of_their_own_names(make_message, make_context):
    app = ClientApp(mods=[momentum_mod(0.5)])

    @app.train()
    def train(message, context):
        trained = [array.numpy() + 1 for array in message.content["weights"].values()]
        return Message(RecordDict({"trained": ArrayRecord(trained)}), reply_to=message)

    message = make_message(RecordDict({"weights": ArrayRecord([np.array([3.0, 4.0])])}))
    reply = app(message, make_context())
    assert reply.content["trained"]["0"].numpy().tolist() == [3.5, 4.5]


def test_replies_that_hold_no_model_of_the_received_form_are_refused(make_message, make_context):
    model = nn.Linear(4, 3)
    task = ClientTask(Objective(model), torch.randn(6, 4), torch.arange(6) % 3, 0, 2)
    app = make_client_app(lambda context: task, Momentum(), [momentum_mod()])
    with pytest.raises(ValueError, match="needs replies that hold models; this client declares gr"):
        app(make_message(model.state_dict()), make_context())
    app = foreign_app([torch.ones(3, 1)], [momentum_mod()])
    with pytest.raises(ValueError, match=r"received array 'w' of shape \(3, 2\); found \(2,\)"):
        app(make_message({"w": torch.ones(2)}), make_context())


@pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan])
def test_beta_is_checked(beta):
    with pytest.raises(ValueError, match=r"`momentum_mod` needs .*beta"):
        momentum_mod(beta)
