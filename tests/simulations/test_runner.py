"""Experiments from end to end, a few rounds each."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from byzflower import registry
from byzflower.clients.algorithms import Gradient
from byzflower.clients.table import GradientTable
from byzflower.clients.task import JointTask
from byzflower.simulations import runner
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.models import ModelFamily
from byzflower.simulations.runner import run_experiment
from byzflower.simulations.tasks import TaskLoader, open_dataset, open_objective, split_rows


def run(experiment):
    rounds = []
    model = run_experiment(experiment, rounds.append)
    return rounds, model


@pytest.mark.parametrize("engine", ["inprocess", "batched"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"client": "gradient(clip=1.0)", "weight_decay": 0.01},
        {"client": "saga"},
        {"client": "local_sgd(steps=2, lr=0.5)"},
        {"client": "rsa(lam=0.1, lr=0.1)", "rule": ""},
        {"attack": "none"},
        {"rule": "mixtailor(pool=[median, krum])"},
        {"attack": "label_flip"},
        {"attack": "label_flip(data=own)"},
        {"attack": "label_flip", "client": "local_sgd(steps=2, lr=0.5)", "byzantine_data": "own"},
        {"attack": "alie(tau=1.5)", "byzantine_data": "own"},
        {"attack": "own_sign_flip(scale=5)", "byzantine_data": "own"},
        {"rule": "mean", "server_momentum": 0.5, "learning_rate": "step(0.5, {1: 0.1})"},
        {"partition": "extreme", "model": "cnn", "rule": "arc > nnm > median"},
    ],
    ids=str,
)
def test_every_kind_of_experiment_runs(small, engine, options):
    rounds, model = run(small(engine=engine, **options))
    assert [done.round for done in rounds] == [0, 1, 2, 3]
    assert all(0 <= done.accuracy <= 1 for done in rounds)
    assert all(torch.equal(rounds[-1].model[key], value) for key, value in model.items())
    assert any(not torch.equal(rounds[0].model[key], value) for key, value in model.items())
    assert [done.notes.get("rejected") for done in rounds] == [None, 0, 0, 0]


@pytest.mark.parametrize("engine", ["inprocess", "batched"])
def test_rsa_colluders_flip_the_model_that_they_trained(small, engine):
    options = {"client": "rsa(lam=0.1, lr=0.1)", "rule": "", "byzantine_data": "own"}
    honest = run(small(engine=engine, attack="none", **options))[1]
    update = run(small(engine=engine, attack="own_sign_flip(scale=5)", **options))[1]
    message = run(small(engine=engine, attack="own_sign_flip(scale=5, of=message)", **options))[1]
    for one, other in ((honest, update), (update, message)):
        assert any(not torch.equal(one[key], value) for key, value in other.items())


@pytest.mark.parametrize("engine", ["inprocess", "batched"])
@pytest.mark.parametrize(
    ("option", "value"),
    [("penalty", "norm"), ("server_weight_decay", 0.5), ("init_scale", 3.0)],
)
def test_each_knob_changes_the_run(small, engine, option, value):
    options = {"engine": engine, "weight_decay": 0.1, "attack": "none"}
    plain, changed = run(small(**options))[1], run(small(**options, **{option: value}))[1]
    assert any(not torch.equal(changed[key], tensor) for key, tensor in plain.items())


def test_the_server_s_weight_decay_pulls_every_step(small):
    # With one round, θ_2 = θ_1 − γ(R + λθ_1).
    options = {"rounds": 1, "attack": "none", "learning_rate": 0.5}
    start = run(small(**options))[0][0].model
    plain, decayed = (run(small(**options, server_weight_decay=d))[1] for d in (0.0, 0.2))
    for key, tensor in plain.items():
        torch.testing.assert_close(decayed[key], tensor - 0.5 * 0.2 * start[key])


@pytest.mark.parametrize("engine", ["inprocess", "batched"])
def test_large_saga_tables_lie_on_disk(small, engine, monkeypatch):
    experiment = small(engine=engine, client="saga")
    in_memory = run(experiment)[0]
    paths, opened = [], GradientTable.__init__

    def watched(self, examples, params, path=None, *args):
        paths.append(path)
        opened(self, examples, params, path, *args)

    monkeypatch.setattr(GradientTable, "__init__", watched)
    monkeypatch.setattr(runner, "_TABLES_IN_MEMORY", 10**6)
    same_path(run(experiment)[0], in_memory)
    assert len(set(paths)) == experiment.honest
    assert not any(path is None or path.exists() for path in paths)  # gone after the run


def same_path(first, second):
    """Assert the same model, to float tolerance, in every round."""
    for a, b in zip(first, second, strict=True):
        for key, value in a.model.items():
            torch.testing.assert_close(b.model[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("client", ["momentum", "saga"])
def test_the_batched_engine_follows_the_same_path(small, client):
    same_path(
        run(small(engine="inprocess", client=client))[0],
        run(small(engine="batched", client=client))[0],
    )


@pytest.mark.ray
@pytest.mark.slow
def test_ray_follows_the_same_path(small, tolerating_ray):
    with tolerating_ray():
        rounds, _ = run(small(engine="ray", client="saga"))
    same_path(run(small(engine="inprocess", client="saga"))[0], rounds)


def test_the_same_experiment_gives_the_same_model_and_another_seed_another(small):
    (_, first), (_, again), (_, other) = (run(small(seed=s)) for s in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_evaluation_is_every_k_rounds_and_at_the_end(small):
    rounds, _ = run(small(rounds=5, evaluate_every=2))
    assert [done.round for done in rounds] == [0, 2, 4, 5]


def test_a_robust_rule_learns_where_the_mean_does_not(small):
    options = {"rounds": 30, "evaluate_every": 30, "learning_rate": 1.0, "client": "gradient"}
    robust, _ = run(small(rule="nnm > trimmed_mean", **options))
    naive, _ = run(small(rule="mean", **options))
    assert robust[-1].accuracy > 0.8
    assert naive[-1].accuracy < 0.3


def test_without_attack_the_mean_learns(small):
    rounds, _ = run(small(rule="mean", attack="none", rounds=30, learning_rate=1.0))
    assert rounds[-1].accuracy > 0.8


def test_a_broken_model_stays_and_the_run_goes_on(small):
    rounds, model = run(small(rule="mean", attack="inf", rounds=4))
    assert len(rounds) == 5
    assert rounds[-1].notes["rejected"] == 1
    assert all(value.isfinite().all() for value in model.values())


def test_a_run_leaves_torch_as_it_was(small):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    run(small(threads=threads + 1))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_colluders_read_flipped_labels_and_own_data_only_if_they_have_any(small):
    attack = "label_flip(data=own)"
    none, own = small(attack=attack), small(attack=attack, byzantine_data="own")
    honest = TaskLoader(none, split_rows(none)).task(0)
    borrowed = TaskLoader(none, split_rows(none)).task(4)
    assert torch.equal(borrowed.x, honest.x)
    assert torch.equal(borrowed.y, 9 - honest.y)
    shares = split_rows(own)
    mine = TaskLoader(own, shares).task(4)
    assert torch.equal(mine.y, 9 - open_dataset(own).y_train[shares[4]])
    silent = small(attack="foe(tau=10)", byzantine_data="own")
    assert torch.equal(TaskLoader(silent, shares).task(4).y, 9 - mine.y)


@pytest.mark.parametrize("byzantine_data", ["none", "own"])
def test_colluders_send_the_honest_mean_gradient_on_flipped_labels(small, byzantine_data):
    experiment = small(attack="label_flip", f=2, byzantine_data=byzantine_data, partition="extreme")
    loader = TaskLoader(experiment, split_rows(experiment))
    objective = open_objective(experiment)
    params, buffers = objective.split(objective.initial())

    def gradient(task, round_, flip):
        _, batch = task.draw(round_, (8,))
        batch = batch._replace(y=9 - batch.y) if flip else batch
        return objective.gradient(params, buffers, batch)[0]

    for colluder in (3, 4):
        task = loader.task(colluder)
        assert task.algorithm == Gradient()
        for round_ in (1, 2):
            honest = [gradient(loader.task(i), round_, flip=True) for i in range(3)]
            found = gradient(task, round_, flip=False)
            for name, value in found.items():
                mean = torch.stack([each[name] for each in honest]).mean(dim=0)
                torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-7)


def test_only_one_colluder_computes_what_all_send(small, monkeypatch):
    drawn = []
    draw = JointTask.draw
    monkeypatch.setattr(
        JointTask, "draw", lambda self, *args: drawn.append(self.partition_id) or draw(self, *args)
    )
    rounds, _ = run(small(attack="label_flip", n=7, f=3))
    assert drawn == [4, 4, 4]
    assert [done.notes.get("rejected") for done in rounds] == [None, 0, 0, 0]


def test_saga_refuses_batch_normalisation(small, monkeypatch):
    monkeypatch.setitem(registry._REGISTRIES, "model", registry.registered("model"))

    @registry.register("model")
    @dataclasses.dataclass(frozen=True)
    class Normed(ModelFamily):
        name = "normed"

        def build(self, shape, num_classes):
            return torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, num_classes)
            )

    with pytest.raises(ExperimentError, match="`client` saga needs a model without batch norm"):
        run(small(model="normed", client="saga"))
    rounds, _ = run(small(model="normed"))
    assert len(rounds) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_default_experiment_shows_what_the_pipeline_is_for(seed):
    from byzflower.simulations.experiment import Experiment

    accuracy = {
        rule: run(Experiment(rule=rule, seed=seed, evaluate_every=200))[0][-1].accuracy
        for rule in ("mean", "trimmed_mean", "arc > nnm > trimmed_mean")
    }
    assert accuracy["mean"] < 0.3
    assert accuracy["mean"] < accuracy["trimmed_mean"] < accuracy["arc > nnm > trimmed_mean"]
    assert accuracy["arc > nnm > trimmed_mean"] > 0.85
