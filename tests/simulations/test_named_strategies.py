"""Each named strategy runs its paper's algorithm end to end, on real digits and on both engines."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAvg

from byzflower.clients import RSA, Adversary, Gradient, Momentum, Saga, make_client_app
from byzflower.simulations.engines import BatchedGrid, run_in_process, run_on_ray
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.tasks import TaskLoader, open_dataset, open_objective, split_rows
from byzflower.strategies import (
    AggregaThor,
    ByrdSaga,
    MixTailor,
    Resam,
    RobustDSGD,
    Rsa,
    ServerSGD,
    to_record,
    to_tensor,
)

N, F = 13, 3


def sampling(n=N):
    return {"fraction_evaluate": 0.0, "min_train_nodes": n, "min_available_nodes": n}


# Strategy, the clients its paper pairs it with, an attack and a partition that its paper uses.
CASES = {
    "resam": (
        lambda: Resam(F, server=ServerSGD(0.5, **sampling())),
        Momentum(beta=0.9, clip=2.0),
        "alie(tau=1)",
        "iid",
    ),
    "aggregathor, weak": (
        lambda: AggregaThor(F, server=ServerSGD(0.5, **sampling())),
        Gradient(),
        "sign_flip(scale=5)",
        "iid",
    ),
    "byrd_saga": (
        lambda: ByrdSaga(F, seed=1, server=ServerSGD(0.5, **sampling())),
        Saga(),
        "duplicate",
        "dirichlet(alpha=1.0)",
    ),
    "mixtailor": (
        lambda: MixTailor(
            F,
            pool=["krum", "median", "geometric_median"],
            seed=1,
            server=ServerSGD(0.05, momentum=0.9, **sampling()),
        ),
        Gradient(),
        "tailored(eps=0.1)",
        "iid",
    ),
    "robust_dsgd": (
        lambda: RobustDSGD(F, server=ServerSGD(0.5, **sampling())),
        Momentum(beta=0.9),
        "foe(tau=10)",
        "dirichlet(alpha=0.3)",
    ),
}


def accuracy(experiment, model):
    data, objective = open_dataset(experiment), open_objective(experiment)
    logits = objective.outputs(*objective.split(model), data.x_test)
    return float((logits.argmax(1) == data.y_test).float().mean())


def client_app(experiment, algorithm, state_dir=None):
    return make_client_app(TaskLoader(experiment, split_rows(experiment), state_dir), algorithm)


def serve(grid, strategy, experiment, rounds, train_config=None):
    adversary = Adversary(
        grid,
        experiment.attack,
        range(experiment.honest + 1, experiment.n + 1),
        rule=strategy.rule,
        payload=strategy.payload,
        seed=experiment.seed,
    )
    start = to_record(open_objective(experiment).initial())
    result = strategy.start(adversary, start, num_rounds=rounds, train_config=train_config)
    return {name: to_tensor(array) for name, array in result.arrays.items()}


def train(make, algorithm, experiment, rounds):
    return run_in_process(
        lambda grid, context: serve(grid, make(), experiment, rounds),
        client_app(experiment, algorithm),
        experiment.n,
        grid_type=BatchedGrid,
    )


@pytest.mark.parametrize("name", CASES)
def test_learns_digits_under_its_papers_attack(name):
    make, algorithm, attack, partition = CASES[name]
    experiment = Experiment(attack=attack, partition=partition)
    model = train(make, algorithm, experiment, rounds=120)
    assert accuracy(experiment, model) > 0.8


def test_aggregathor_is_strong_with_bulyan():
    experiment = Experiment(n=15, attack="foe(tau=10)", partition="iid")
    model = train(
        lambda: AggregaThor(F, resilience="strong", server=ServerSGD(0.5, **sampling(15))),
        Gradient(),
        experiment,
        rounds=120,
    )
    assert accuracy(experiment, model) > 0.8
    with pytest.raises(ValueError, match="`resilience` needs to be weak or strong; found 'both'"):
        AggregaThor(F, resilience="both")


def test_rsa_moves_by_sign_votes_and_learns():
    experiment = Experiment(n=13, f=3, attack="sign_flip(scale=5)", partition="iid")
    step = {"learning_rate": 0.1, "lam": 0.02}
    model = train(
        lambda: Rsa(F, server=FedAvg(**sampling()), **step), RSA(**step), experiment, rounds=150
    )
    assert accuracy(experiment, model) > 0.6


def test_mixtailor_says_what_it_drew():
    drawn = []

    def server(grid, context):
        strategy = CASES["mixtailor"][0]()
        serve(grid, strategy, experiment, 12)
        drawn.extend(record.steps[0].note["drawn"] for record in strategy.history)

    experiment = Experiment(attack="tailored(eps=0.1)", partition="iid")
    run_in_process(server, client_app(experiment, Gradient()), N, grid_type=BatchedGrid)
    assert len(drawn) == 12
    assert set(drawn) <= {"krum", "median", "geometric_median"}
    assert len(set(drawn)) > 1


@pytest.mark.slow
@pytest.mark.ray
def test_same_models_on_flowers_ray_simulation(tmp_path, tolerating_ray):
    """One start of Ray runs all five, one after another: the messages say which client to be."""
    pytest.importorskip("ray")
    experiments = {
        name: dataclasses.replace(Experiment(), attack=attack, partition=partition)
        for name, (_, _, attack, partition) in CASES.items()
    }
    apps = {
        name: client_app(experiments[name], CASES[name][1], tmp_path / name.replace(",", ""))
        for name in CASES
    }

    def client(message, context):
        if message.metadata.message_type != "train":
            return apps["resam"](message, context)
        config = message.content["config"]
        if config["server-round"] == 1:  # a node's momentum belongs to one training
            context.state.clear()
        return apps[config["case"]](message, context)

    def server(grid, context):
        return {
            name: serve(grid, make(), experiments[name], 3, ConfigRecord({"case": name}))
            for name, (make, *_) in CASES.items()
        }

    with tolerating_ray():
        on_ray = run_on_ray(server, client, N)
    for name, (make, algorithm, *_) in CASES.items():
        here = train(make, algorithm, experiments[name], rounds=3)
        torch.testing.assert_close(on_ray[name], here, rtol=0, atol=1e-5)
