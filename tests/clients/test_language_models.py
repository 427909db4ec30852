"""Models and batches as language modelling has them, on the engines that train in process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn

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
from byzflower.simulations.engines import BatchedGrid, InProcessGrid, run_in_process
from byzflower.strategies import Robust, ServerSGD, to_record, to_tensor

N, WORDS, LENGTH = 4, 11, 5
ENGINES = [InProcessGrid, BatchedGrid]
ALGORITHMS = [
    Gradient(clip=1.0),
    Momentum(),
    LocalSGD(2, 0.1, momentum=0.5),
    Saga(),
    RSA(lam=0.01, learning_rate=0.1),
]


@dataclass
class Output:
    """What the transformers library returns: a loss where labels were given, and logits."""

    logits: Tensor
    loss: Tensor | None = None


class Transformer(nn.Module):
    """One block over tokens, its output tied to its embedding, its positions a constant table."""

    def __init__(self, form=Output, sparse=False):
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.embedding = nn.Embedding(WORDS, 8, sparse=sparse)
        self.register_buffer("positions", torch.randn(LENGTH, 8))
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.dropout, self.norm = nn.Dropout(0.1), nn.LayerNorm(8)
        self.head = nn.Linear(8, WORDS, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, input_ids, attention_mask, labels=None):
        hidden = self.embedding(input_ids) + self.positions
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2) / 8**0.5
        scores = scores.masked_fill(~attention_mask[:, None].bool(), -1e9)
        hidden = self.norm(hidden + self.dropout(scores.softmax(2) @ hidden))
        logits = self.head(hidden)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return self.form(logits=logits, loss=loss)


def examples(i, count=12):
    rng = np.random.default_rng(i)
    words = rng.integers(WORDS, size=(count, LENGTH))
    return {"input_ids": words, "attention_mask": rng.random(words.shape) < 0.9}, words[:, ::-1]


def make_app(algorithm, *, labels_in_x, objective):
    def load(context):
        i = context.node_config["partition-id"]
        x, y = examples(i)
        data = ({**x, "labels": y.copy()}, None) if labels_in_x else (x, y)
        return ClientTask(objective, *data, i, 3, x_eval=data[0], y_eval=data[1])

    return make_client_app(load, algorithm)


def ask(grid, model, server_round, kind="train"):
    content = RecordDict({"config": ConfigRecord({"server-round": server_round})})
    content["arrays"] = to_record(model)
    return grid.send_and_receive([Message(content, n, kind) for n in grid.get_node_ids()])


@pytest.mark.parametrize("labels_in_x", [False, True], ids=["y", "labels in x"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
def test_engines_agree_in_one_joint_step(algorithm, labels_in_x, caplog):
    objective = Objective(Transformer(), l2=1e-3)
    answers = []
    with caplog.at_level(logging.INFO, logger="byzflower"):
        for engine in ENGINES:
            grid = engine(make_app(algorithm, labels_in_x=labels_in_x, objective=objective), N)
            replies = [ask(grid, objective.initial(), t) for t in (1, 2)][-1]
            assert not any(reply.has_error() for reply in replies)
            answers.append(
                [
                    {name: to_tensor(a) for name, a in reply.content["arrays"].items()}
                    for reply in replies
                ]
            )
    assert "one by one" not in caplog.text
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-6)
    for sent in answers[0]:
        assert list(sent) == list(objective.model.state_dict())
        assert torch.equal(sent["head.weight"], sent["embedding.weight"])
        assert torch.equal(sent["positions"], objective.initial()["positions"])


@pytest.mark.parametrize("form", [Output, dict], ids=["dataclass", "dict"])
@pytest.mark.parametrize("labels_in_x", [False, True], ids=["y", "labels in x"])
def test_evaluation_gives_the_loss_and_no_accuracy(labels_in_x, form):
    model = Transformer(form)
    app = make_app(Gradient(), labels_in_x=labels_in_x, objective=Objective(model))
    for i, reply in enumerate(ask(InProcessGrid(app, N), model.state_dict(), 1, "evaluate")):
        x, y = examples(i)
        x = {name: torch.from_numpy(value) for name, value in x.items()}
        y = torch.from_numpy(y.copy())
        output = model.eval()(**x, labels=y)
        loss = output["loss"] if form is dict else output.loss
        metrics = dict(reply.content["metrics"])
        assert metrics == {"num-examples": 12, "eval_loss": pytest.approx(loss.item(), rel=1e-5)}


@pytest.mark.parametrize("algorithm", [Momentum(), LocalSGD(2, 0.5)], ids=lambda a: a.payload)
@pytest.mark.parametrize("engine", ENGINES)
def test_tied_weights_stay_tied_and_are_trained_under_a_strategy(engine, algorithm):
    objective = Objective(Transformer())
    app = make_app(algorithm, labels_in_x=True, objective=objective)
    inner = ServerSGD(0.5) if algorithm.payload == "gradient" else FedAvg()
    strategy = Robust(inner, "nnm > trimmed_mean", 1, payload=algorithm.payload)

    def serve(grid, context):
        return strategy.start(grid, to_record(objective.initial()), num_rounds=12)

    result = run_in_process(serve, app, N, grid_type=engine)
    final = {name: to_tensor(array) for name, array in result.arrays.items()}
    assert torch.equal(final["head.weight"], final["embedding.weight"])
    losses = [m["eval_loss"] for m in result.evaluate_metrics_clientapp.values()]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_of_tied_weights_are_those_of_autograd(eager):
    model = Transformer()
    objective = Objective(model, eager=eager)
    params, buffers = objective.split(objective.initial())
    assert "head.weight" not in params
    x, y = examples(0)
    task = ClientTask(objective, x, y, 0, 12)
    _, batch = task.draw(1, (12,))
    loss, _ = objective.loss(params, buffers, batch, train=False)
    model.eval()(**batch.x, labels=batch.y).loss.backward()
    model.dropout.p = 0.0
    plain = Objective(model, eager=eager)
    grads, _, found = plain.gradient(params, buffers, batch)
    torch.testing.assert_close(found, loss)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad)


def test_a_module_at_two_places_is_one_and_is_left_as_it_was():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.BatchNorm1d(4))
    model.append(model[3])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for eager in (False, True):
        objective = Objective(model, eager=eager)
        params, buffers = objective.split(objective.initial())
        assert list(params) == ["0.weight", "0.bias", "3.weight", "3.bias"]
        x, y = torch.randn(6, 4), torch.arange(6) % 4
        batch = ClientTask(objective, x, y, 0, 6).draw(1, (6,))[1]
        for _ in range(2):  # what the first call left behind, the second would meet
            grads, left, loss = objective.gradient(params, buffers, batch)
        twin = nn.Sequential(layer, nn.Tanh(), layer, nn.BatchNorm1d(4))
        twin.append(twin[3])
        twin.load_state_dict(before)
        expected = nn.functional.cross_entropy(twin(batch.x), batch.y)
        expected.backward()
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(grads["0.weight"], layer.weight.grad)
        torch.testing.assert_close(left["3.running_mean"], twin[3].running_mean)
        layer.zero_grad()
        assert objective.join(params, left).keys() == before.keys()
        torch.testing.assert_close(dict(model.state_dict()), before)


@pytest.mark.parametrize("engine", ENGINES)
def test_sparse_embeddings_are_trained_as_dense_ones(engine):
    sent = []
    for sparse in (False, True):
        objective = Objective(Transformer(sparse=sparse))
        grid = engine(make_app(Momentum(), labels_in_x=True, objective=objective), N)
        replies = ask(grid, objective.initial(), 1)
        sent.append([to_tensor(r.content["arrays"]["embedding.weight"]) for r in replies])
        assert objective.model.embedding.sparse is sparse
    torch.testing.assert_close(*sent, rtol=0, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", [LocalSGD(3, 0.1, 0.9), RSA(0.01, 0.1)], ids=lambda a: a.name)
def test_frozen_parameters_and_quantised_ones_stay_as_they_are(algorithm, engine):
    model = Transformer()
    model.query.requires_grad_(False)
    model.codes = nn.Parameter(torch.arange(5, dtype=torch.int8), requires_grad=False)
    objective = Objective(model, l2=0.1)
    assert "codes" in objective.buffer_names
    for reply in ask(
        engine(make_app(algorithm, labels_in_x=True, objective=objective), N),
        objective.initial(),
        1,
    ):
        sent = {name: to_tensor(a) for name, a in reply.content["arrays"].items()}
        for name in ("query.weight", "query.bias", "codes"):
            assert torch.equal(sent[name], model.state_dict()[name])
        assert not torch.equal(sent["key.weight"], model.state_dict()["key.weight"])
