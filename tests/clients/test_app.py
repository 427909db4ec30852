from __future__ import annotations

import logging
import math
import pickle

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import nn
from torch.nn.functional import cross_entropy

from byzflower.clients import (
    RSA,
    ClientTask,
    Gradient,
    LocalSGD,
    Momentum,
    Objective,
    Saga,
    make_client_app,
)
from byzflower.wire.arrays import SharedArray, to_record, to_tensor


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.fixture
def plain():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def loader(module, **options):
    objective = Objective(module, l2=0.01)

    def load(context):
        i = context.node_config["partition-id"]
        rng = torch.Generator().manual_seed(i)
        x = torch.randn(11, 4, generator=rng)
        return ClientTask(objective, x, torch.arange(11) % 3, i, batch_size=4, **options)

    return load


def arrays_of(reply):
    return {name: to_tensor(array) for name, array in reply.content["arrays"].items()}


@pytest.mark.parametrize(
    "algorithm",
    [
        Gradient(),
        Momentum(),
        LocalSGD(steps=2, learning_rate=0.1),
        RSA(lam=0.1, learning_rate=0.1),
        Saga(),
    ],
    ids=lambda a: a.name,
)
def test_a_reply_has_the_layout_of_the_model(algorithm, model, plain, make_message, make_context):
    module = plain if algorithm.per_sample else model
    app = make_client_app(loader(module), algorithm)
    state = module.state_dict()
    reply = app(make_message(state), make_context(2))
    assert list(reply.content) == ["metrics", "arrays", "byzflower"]
    assert dict(reply.content["byzflower"]) == {
        "payload": algorithm.payload,
        "buffers": [name for name, _ in module.named_buffers()],
    }
    layout = [(n, v.shape, v.dtype) for n, v in state.items()]
    assert [(n, v.shape, v.dtype) for n, v in arrays_of(reply).items()] == layout
    assert all(isinstance(array, SharedArray) for array in reply.content["arrays"].values())
    metrics = reply.content["metrics"]
    assert set(metrics) == {"num-examples", "train_loss"}
    assert metrics["num-examples"] == 11
    assert math.isfinite(metrics["train_loss"])


def test_the_gradient_is_that_of_the_drawn_batch(model, make_message, make_context):
    load = loader(model)
    context = make_context(1)
    reply = make_client_app(load, Gradient())(make_message(model.state_dict(), 9), context)
    _, batch = load(context).draw(9, (4,))
    loss = cross_entropy(model.train()(batch.x), batch.y)
    loss.backward()
    arrays = arrays_of(reply)
    for name, p in model.named_parameters():
        torch.testing.assert_close(arrays[name], p.grad + 0.01 * p.detach())
    for name, b in model.named_buffers():
        torch.testing.assert_close(arrays[name], b)


def test_replies_do_not_depend_on_order_or_process(model, make_message, make_context):
    def replies(order):
        app = make_client_app(loader(model), Momentum())
        contexts = {i: make_context(i) for i in order}
        found = {}
        for t in (1, 2):
            for i in order:
                torch.manual_seed(hash((i, t)) % 1000)
                found[i] = arrays_of(app(make_message(model.state_dict(), t), contexts[i]))
        return found

    first, second = replies([0, 1, 2]), replies([2, 0, 1])
    for i in range(3):
        torch.testing.assert_close(first[i], second[i], rtol=0, atol=0)


@pytest.mark.parametrize("draw", [nn.functional.dropout, nn.functional.rrelu])
def test_models_that_draw_from_torch_are_reproducible(draw, make_message, make_context):
    class Noisy(nn.Linear):
        def forward(self, x):
            return draw(super().forward(x), training=self.training)

    model = Noisy(4, 3)
    app = make_client_app(loader(model), Gradient())
    before = torch.get_rng_state()
    one = arrays_of(app(make_message(model.state_dict()), make_context()))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    two = arrays_of(app(make_message(model.state_dict()), make_context()))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize(
    "algorithm", [Momentum(beta=0.6), RSA(lam=0.1, learning_rate=0.2)], ids=lambda a: a.name
)
def test_memory_lives_in_the_context(algorithm, model, make_message, make_context):
    load = loader(model)
    context = make_context(1)
    objective = load(context).objective
    params, buffers = objective.split(objective.initial())
    expected = algorithm.init_state(params)
    for t in (1, 2, 3):
        # Every message reaches a new process, and the context has been serialised in between.
        app = make_client_app(load, algorithm)
        reply = app(make_message(model.state_dict(), t), context)
        _, batch = load(context).draw(t, (4,))
        step = algorithm.local_step(objective, params, buffers, batch, expected)
        expected = step.state
        arrays = arrays_of(reply)
        for name, value in step.update.items():
            torch.testing.assert_close(arrays[name], value, rtol=1e-5, atol=1e-6)
        context.state = pickle.loads(pickle.dumps(context.state))
    assert isinstance(context.state[f"byzflower.{algorithm.name}"], ArrayRecord)


def test_saga_survives_the_rounds(plain, make_message, make_context, tmp_path, caplog):
    def rounds(state_dir, *, new_process):
        load = loader(plain, state_dir=state_dir)
        app = make_client_app(load, Saga())
        context = make_context(2, run_id=5)
        state, sent = plain.state_dict(), []
        for t in range(1, 5):
            if new_process:
                app = make_client_app(load, Saga())
            sent.append(arrays_of(app(make_message(state, t), context)))
            state = {name: v - 0.5 * sent[-1][name] for name, v in state.items()}
        assert context.state["byzflower.saga"]["steps"] == 4
        return sent

    on_disk = rounds(tmp_path, new_process=True)
    assert {p.name for p in tmp_path.iterdir()} == {"saga-5-2.rows", "saga-5-2.rows.mean"}
    in_memory = rounds(None, new_process=False)
    torch.testing.assert_close(on_disk, in_memory)
    assert not caplog.records


def test_saga_starts_anew_when_its_table_is_lost(plain, make_message, make_context, caplog):
    load = loader(plain)
    context = make_context(0)
    make_client_app(load, Saga())(make_message(plain.state_dict(), 1), context)
    with caplog.at_level(logging.WARNING):
        reply = make_client_app(load, Saga())(make_message(plain.state_dict(), 2), context)
    assert "client 0 had taken 1 steps of saga, its table 0" in caplog.text
    # A table made at the received model corrects any batch to the full gradient.
    task = load(context)
    examples = task.draw(2, (4,))[1]._replace(x=task.x, y=task.y)
    full, _, _ = task.objective.gradient(dict(plain.state_dict()), {}, examples)
    torch.testing.assert_close(arrays_of(reply), full)


def test_saga_ignores_the_table_of_an_earlier_run(plain, make_message, make_context, tmp_path):
    load = loader(plain, state_dir=tmp_path)
    state = plain.state_dict()
    moved = {name: v + 1 for name, v in state.items()}
    make_client_app(load, Saga())(make_message(moved, 1), make_context(0))
    stale = make_client_app(load, Saga())(make_message(state, 1), make_context(0))
    fresh = make_client_app(loader(plain), Saga())(make_message(state, 1), make_context(0))
    torch.testing.assert_close(arrays_of(stale), arrays_of(fresh))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("algorithm", [Momentum(clip=1.0), Saga()], ids=lambda a: a.name)
def test_a_gpu_gives_the_replies_of_the_cpu(algorithm, make_message, make_context):
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))
    replies = {}
    for device in ("cpu", "cuda"):
        app = make_client_app(loader(module, device=device), algorithm)
        context = make_context()
        for t in (1, 2):
            replies[device] = arrays_of(app(make_message(module.state_dict(), t), context))
    assert all(v.is_cuda for v in replies["cuda"].values())
    on_cpu = {name: v.cpu() for name, v in replies["cuda"].items()}
    torch.testing.assert_close(on_cpu, replies["cpu"], rtol=1e-4, atol=1e-5)


def test_a_task_is_loaded_once_per_node_and_run(model, make_message, make_context):
    loaded = []
    load = loader(model)

    def counting(context):
        loaded.append((context.run_id, context.node_id))
        return load(context)

    app = make_client_app(counting, Gradient())
    for t in (1, 2):
        for i in (0, 1):
            app(make_message(model.state_dict(), t), make_context(i))
    assert loaded == [(1, 100), (1, 101)]
    app(make_message(model.state_dict()), make_context(0, run_id=2))
    assert loaded[2:] == [(2, 100)]


def test_evaluate(model, make_message, make_context):
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    app = make_client_app(loader(model, x_eval=x, y_eval=y), Gradient())
    reply = app(make_message(model.state_dict(), kind="evaluate"), make_context())
    outputs = model.eval()(x).detach()
    metrics = reply.content["metrics"]
    assert metrics["num-examples"] == 30
    assert metrics["eval_loss"] == pytest.approx(float(cross_entropy(outputs, y)))
    assert metrics["eval_acc"] == pytest.approx(float((outputs.argmax(1) == y).float().mean()))
    assert list(reply.content) == ["metrics"]


def test_evaluate_in_parts_is_the_mean_over_examples(
    monkeypatch, model, make_message, make_context
):
    x, y = torch.randn(10, 4), torch.arange(10) % 3
    app = make_client_app(loader(model, x_eval=x, y_eval=y), Gradient())
    message = make_message(model.state_dict(), kind="evaluate")
    whole = dict(app(message, make_context()).content["metrics"])
    monkeypatch.setattr("byzflower.clients.node._EVALUATION_BATCH", 4)
    assert dict(app(message, make_context()).content["metrics"]) == pytest.approx(whole)


def test_regression_has_no_accuracy(make_message, make_context):
    model = nn.Linear(4, 2)
    x, y = torch.randn(6, 4), torch.randn(6, 2)
    objective = Objective(model, nn.functional.mse_loss)
    app = make_client_app(
        lambda context: ClientTask(objective, x, y, 0, 2, x_eval=x, y_eval=y), Gradient()
    )
    reply = app(make_message(model.state_dict(), kind="evaluate"), make_context())
    assert set(reply.content["metrics"]) == {"num-examples", "eval_loss"}


def test_evaluate_without_data_says_so(model, make_message, make_context):
    app = make_client_app(loader(model), Gradient())
    with pytest.raises(ValueError, match="client 3 has no evaluation data"):
        app(make_message(model.state_dict(), kind="evaluate"), make_context(3))


def test_query_answers_the_partition_without_loading(make_message, make_context):
    def load(context):
        raise AssertionError("a query needs no data")

    app = make_client_app(load, Gradient())
    reply = app(make_message(RecordDict(), kind="query"), make_context(6))
    assert dict(reply.content["metrics"]) == {"partition-id": 6}


def test_query_asks_the_task_where_the_node_has_no_config(model, make_message, make_context):
    task = loader(model)(make_context(4))
    app = make_client_app(lambda context: task, Gradient())
    context = make_context()
    context.node_config = {}
    reply = app(make_message(RecordDict(), kind="query"), context)
    assert dict(reply.content["metrics"]) == {"partition-id": 4}


@pytest.mark.parametrize("eager_loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_answered(eager_loss, make_message, make_context):
    model = nn.Linear(4, 3)
    objective = Objective(model, lambda outputs, y: outputs.sum() * eager_loss)
    task = ClientTask(objective, torch.ones(3, 4), torch.zeros(3), 0, 2)
    reply = make_client_app(lambda context: task, Momentum())(
        make_message(model.state_dict()), make_context()
    )
    assert not math.isfinite(reply.content["metrics"]["train_loss"])
    assert not arrays_of(reply)["weight"].isfinite().any()


def record_of(state, **changes):
    record = to_record(state)
    for name, array in changes.items():
        if array is None:
            del record[name]
        else:
            record[name] = array
    return record


def hostile(state):
    config = ConfigRecord({"server-round": 1})
    good = to_record(state)
    weight = Array(state["weight"].numpy())
    truncated = Array(weight.dtype, weight.shape, weight.stype, weight.data[:50])
    pickled = Array(weight.dtype, weight.shape, "cloudpickle", b"cos\nsystem\n(S'true'\ntR.")
    return [
        ({}, r"needs config\['server-round'\], an int; found None"),
        ({"arrays": good}, r"needs config\['server-round'\], an int; found None"),
        (
            {"arrays": good, "config": ConfigRecord({"server-round": "one"})},
            "an int; found 'one'",
        ),
        (
            {"arrays": good, "config": ConfigRecord({"server-round": -1})},
            "`server_round` needs an integer ≥ 0; found -1",
        ),
        ({"config": config}, "needs the ArrayRecord 'arrays'"),
        ({"config": config, "arrays": MetricRecord({"x": 1})}, "needs the ArrayRecord 'arrays'"),
        (
            {"config": config, "arrays": record_of(state, bias=None, other=weight)},
            r"missing \['bias'\], unknown \['other'\]",
        ),
        (
            {"config": config, "arrays": record_of(state, weight=SharedArray(torch.ones(4, 3)))},
            r"arrays\['weight'\] needs shape \(3, 4\) and torch.float32; found \(4, 3\)",
        ),
        (
            {
                "config": config,
                "arrays": record_of(state, weight=SharedArray(torch.ones(3, 4).double())),
            },
            r"found \(3, 4\) and torch.float64",
        ),
        ({"config": config, "arrays": record_of(state, weight=truncated)}, "cannot be read"),
        ({"config": config, "arrays": record_of(state, weight=pickled)}, "cannot be read"),
    ]


@pytest.mark.parametrize("case", range(11))
def test_a_malformed_message_is_refused_with_a_reason(case, make_message, make_context):
    model = nn.Linear(4, 3)
    app = make_client_app(loader(model), Momentum())
    context = make_context()
    records, text = hostile(model.state_dict())[case]
    content = RecordDict()
    for name, record in records.items():
        content[name] = record
    with pytest.raises(ValueError, match=text):
        app(make_message(content), context)
    assert not context.state


def test_the_app_travels_without_its_data(model, make_message, make_context):
    task = loader(model)(make_context())
    app = make_client_app(_Load(task), Gradient())
    app(make_message(model.state_dict()), make_context())
    assert pickle.loads(pickle.dumps(app.nodes)).__dict__["_nodes"] == {}


class _Load:
    """A loader that pickles by its class alone, as a module's function does."""

    def __init__(self, task=None):
        self.task = task

    def __call__(self, context):
        return self.task

    def __reduce__(self):
        return _Load, ()


def test_mods_wrap_every_function(model, make_message, make_context):
    seen = []

    def mod(message, context, call_next):
        seen.append(message.metadata.message_type)
        return call_next(message, context)

    app = make_client_app(loader(model), Gradient(), mods=[mod])
    app(make_message(model.state_dict()), make_context())
    app(make_message(RecordDict(), kind="query"), make_context())
    assert seen == ["train", "query"]
