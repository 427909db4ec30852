from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from byzflower.clients import (
    ClientTask,
    LocalSGD,
    Momentum,
    Objective,
    gaussian_mod,
    inf_mod,
    make_client_app,
    nan_mod,
    scale_mod,
    sign_flip_mod,
    zero_mod,
)
from byzflower.wire.arrays import to_tensor


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def arrays_of(reply):
    return {name: to_tensor(array) for name, array in reply.content["arrays"].items()}


@pytest.fixture
def answer(model, make_message, make_context):
    """The arrays that a client with these mods sends in round 1."""

    def run(algorithm, *mods, kind="train", partition_id=0, server_round=1):
        objective = Objective(model)
        rng = torch.Generator().manual_seed(0)
        x, y = torch.randn(9, 4, generator=rng), torch.arange(9) % 3
        task = ClientTask(objective, x, y, partition_id, 4, x_eval=x, y_eval=y)
        app = make_client_app(lambda context: task, algorithm, mods=mods)
        message = make_message(model.state_dict(), server_round, kind=kind)
        return app(message, make_context(partition_id))

    return run


GRADIENT, MODEL = Momentum(), LocalSGD(steps=2, learning_rate=0.1)


def parameters(model):
    return [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda payload: sign_flip_mod(payload=payload), -1.0),
        (lambda payload: sign_flip_mod(5.0, payload), -5.0),
        (lambda payload: scale_mod(3.0, payload), 3.0),
        (zero_mod, 0.0),
        # What the reply declares is the default.
        (lambda _: sign_flip_mod(), -1.0),
        (lambda _: scale_mod(3.0), 3.0),
        (lambda _: zero_mod(), 0.0),
    ],
)
@pytest.mark.parametrize("algorithm", [GRADIENT, MODEL], ids=lambda a: a.name)
def test_linear_mods_scale_the_update(make, factor, algorithm, model, answer):
    honest = answer(algorithm)
    reply = answer(algorithm, make(algorithm.payload))
    assert dict(reply.content["metrics"]) == dict(honest.content["metrics"])
    sent, true = arrays_of(reply), arrays_of(honest)
    assert list(sent) == list(true)
    for name, value in true.items():
        if name not in parameters(model):
            torch.testing.assert_close(sent[name], value, rtol=0, atol=0)
            continue
        start = model.state_dict()[name] if algorithm is MODEL else torch.zeros_like(value)
        torch.testing.assert_close(sent[name], start + factor * (value - start))
        assert sent[name].dtype == value.dtype


@pytest.mark.parametrize("algorithm", [GRADIENT, MODEL], ids=lambda a: a.name)
@pytest.mark.parametrize("payload", [None, "model", "gradient"])
@pytest.mark.parametrize("constant", [(nan_mod, math.nan), (inf_mod, math.inf)])
def test_mods_without_finite_values_fill_the_parameters(
    constant, payload, algorithm, model, answer
):
    make, value = constant
    sent = arrays_of(answer(algorithm, make(payload)))
    for name, tensor in sent.items():
        if name in parameters(model):
            expected = torch.full_like(tensor, value)
            torch.testing.assert_close(tensor, expected, equal_nan=True)
        else:
            assert tensor.isfinite().all()


@pytest.mark.parametrize("algorithm", [GRADIENT, MODEL], ids=lambda a: a.name)
def test_gaussian_mod_sends_noise_of_its_deviation(algorithm, model, answer):
    def noise(**options):
        mod = gaussian_mod(10.0, seed=3)
        sent = arrays_of(answer(algorithm, mod, **options))
        start = model.state_dict() if algorithm is MODEL else {}
        parts = [sent[n] - start.get(n, 0) for n in parameters(model)]
        return torch.cat([p.flatten() for p in parts])

    first = noise()
    # 43 entries: the standard error of the deviation is about 1.1.
    assert first.std() == pytest.approx(10.0, abs=4.0)
    assert first.mean() == pytest.approx(0.0, abs=6.0)
    assert torch.equal(first, noise())
    assert not torch.equal(first, noise(server_round=2))
    assert not torch.equal(first, noise(partition_id=1))


def test_gaussian_mod_without_a_seed_never_repeats(answer):
    one, two = (arrays_of(answer(GRADIENT, gaussian_mod()))["0.weight"] for _ in range(2))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("kind", ["evaluate", "query"])
def test_other_messages_pass(kind, answer):
    honest = answer(GRADIENT, kind=kind)
    assert answer(GRADIENT, nan_mod(), sign_flip_mod(), kind=kind).content == honest.content


def test_mods_leave_the_clients_memory_honest(model, make_message, make_context):
    objective = Objective(model)
    task = ClientTask(objective, torch.randn(9, 4), torch.arange(9) % 3, 0, 4)
    contexts = make_context(), make_context()
    honest = make_client_app(lambda context: task, GRADIENT)
    malicious = make_client_app(lambda context: task, GRADIENT, mods=[scale_mod(1e6)])
    for t in (1, 2):
        message = make_message(model.state_dict(), t)
        before = copy.deepcopy(dict(model.state_dict()))
        honest(message, contexts[0])
        malicious(message, contexts[1])
        torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert contexts[0].state == contexts[1].state


def foreign_app(mods):
    """A ClientApp with nothing of byzflower: other record names, NumPy arrays, an error."""
    app = ClientApp(mods=mods)

    @app.train()
    def train(message, context):
        weights = message.content["weights"]["w"].numpy()
        if weights[0] < 0:
            return Message(Error(1, "negative"), reply_to=message)
        content = RecordDict({"trained": ArrayRecord([weights + 1, np.array(7)])})
        content["count"] = MetricRecord({"num-examples": 1})
        return Message(content, reply_to=message)

    return app


def foreign_message(make_message, value):
    record = ArrayRecord([np.array([value, value])])
    record["w"] = record.pop("0")
    return make_message(RecordDict({"weights": record}))


def test_mods_work_on_any_client_app(make_message, make_context):
    app = foreign_app([sign_flip_mod(scale=2.0, payload="gradient")])
    reply = app(foreign_message(make_message, 3.0), make_context())
    assert reply.content["trained"]["0"].numpy().tolist() == [-8.0, -8.0]
    assert reply.content["trained"]["1"].numpy() == 7
    assert list(reply.content) == ["trained", "count"]


def test_replies_that_declare_nothing_hold_models(make_message, make_context):
    app = ClientApp(mods=[sign_flip_mod()])

    @app.train()
    def train(message, context):
        trained = [array.numpy() + 1 for array in message.content["weights"].values()]
        return Message(RecordDict({"weights": ArrayRecord(trained)}), reply_to=message)

    content = RecordDict({"weights": ArrayRecord([np.array([3.0, 4.0])])})
    reply = app(make_message(content), make_context())
    assert reply.content["weights"]["0"].numpy().tolist() == [2.0, 3.0]


def test_a_model_payload_is_told_apart_by_its_keys(make_message, make_context):
    app = foreign_app([zero_mod()])
    with pytest.raises(ValueError, match=r"needs the received array '0'; found \['w'\]"):
        app(foreign_message(make_message, 3.0), make_context())


def test_error_replies_pass(make_message, make_context):
    app = foreign_app([sign_flip_mod(), nan_mod()])
    reply = app(foreign_message(make_message, -1.0), make_context())
    assert reply.error.reason == "negative"


def test_half_precision_stays_half_precision(make_message, make_context):
    model = nn.Linear(4, 3).half()
    objective = Objective(model, lambda outputs, y: outputs.sum())
    task = ClientTask(objective, torch.randn(4, 4).half(), torch.zeros(4), 0, 2)
    for mod in (sign_flip_mod(), gaussian_mod(1.0), inf_mod()):
        app = make_client_app(lambda context: task, GRADIENT, mods=[mod])
        reply = app(make_message(model.state_dict()), make_context())
        assert {t.dtype for t in arrays_of(reply).values()} == {torch.float16}


def test_seeded_noise_needs_the_round(make_message, make_context):
    app = foreign_app([gaussian_mod(seed=1)])
    with pytest.raises(ValueError, match=r"seeded noise needs .*config\['server-round'\]"):
        app(foreign_message(make_message, 1.0), make_context())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sign_flip_mod(0.0), "`sign_flip_mod` needs scale > 0; found 0.0"),
        (lambda: sign_flip_mod(-1.0), "`sign_flip_mod` needs scale > 0; found -1.0"),
        (lambda: scale_mod(math.nan), "`scale_mod` needs a finite number factor; found nan"),
        (lambda: gaussian_mod(math.inf), "`gaussian_mod` needs std > 0; found inf"),
        (lambda: gaussian_mod(seed=-1), "`seed` needs an integer ≥ 0; found -1"),
        *(
            (
                lambda mod=mod: mod("weights"),
                "`payload` needs to be 'model' or 'gradient'; found 'weights'",
            )
            for mod in (zero_mod, nan_mod, inf_mod)
        ),
    ],
)
def test_parameters_are_checked(make, text):
    with pytest.raises(ValueError, match=text):
        make()
