"""What the papers found comes out on real data: who learns under which attack, and who does not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import byzflower as bf
from byzflower.clients.algorithms import Batch
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.runner import run_experiment
from byzflower.simulations.tasks import TaskLoader, open_objective, split_rows

pytestmark = pytest.mark.slow


def final_accuracy(experiment, **changes):
    accuracies = []
    experiment = dataclasses.replace(experiment, **changes)
    experiment = dataclasses.replace(experiment, evaluate_every=experiment.rounds)
    run_experiment(experiment, lambda done: accuracies.append(done.accuracy))
    return accuracies[-1]


@pytest.fixture
def mnist(data_dir):
    return Experiment(
        dataset="mnist10k", data_dir=str(data_dir), partition="iid", client="gradient"
    )


def test_resam_momentum_beats_a_little_is_enough(mnist):
    """RESAM Figure 1, second column: β = 0 fails, β = 0.99 learns."""
    setup = {"n": 15, "f": 5, "attack": "alie(tau=1)", "rounds": 400, "rule": "trimmed_mean"}
    without = final_accuracy(mnist, client="gradient(clip=2)", **setup)
    with_momentum = final_accuracy(mnist, client="momentum(beta=0.99, clip=2)", **setup)
    assert without < 0.5
    assert with_momentum > 0.85


def test_one_class_a_worker_leaves_saga_little_to_remove(data_dir):
    """RS-Byrd-SAGA Figure 8: what SAGA removes is not what the geometric median suffers from."""
    setup = Experiment(
        dataset="covtype",
        data_dir=str(data_dir),
        model="tanh_mlp",
        partition="classes(per=3)",
        byzantine_data="own",
        n=21,
        f=3,
        attack="duplicate",
        rule="geometric_median",
        client="gradient",
        learning_rate=0.1,
        batch_size=32,
        rounds=100,
        evaluate_every=100,
    )
    model = run_experiment(setup, lambda done: None)
    objective, loader = open_objective(setup), TaskLoader(setup, split_rows(setup))
    params, buffers = objective.split(model)
    within, means = [], []
    for task in map(loader.task, range(setup.honest)):
        grads, _ = objective.sample_gradients(
            params, buffers, Batch(task.x, task.y, torch.tensor(0))
        )
        rows = torch.cat([grad.flatten(1) for grad in grads.values()], dim=1).double()
        within.append(rows.var(0).sum() * (1 / 32 - 1 / len(rows)))  # drawn without repetition
        means.append(rows.mean(0))
    honest = torch.stack(means)
    between = honest.var(0, correction=0).sum()
    assert torch.stack(within).mean() < 0.1 * between
    duplicated = torch.cat([honest, honest[:1].expand(3, -1)])
    median, mean = bf.parse("geometric_median")(duplicated, 3), honest.mean(0)
    assert (median - mean).norm() > 0.7 * mean.norm()


def test_resampling_beats_sample_duplicating(mnist):
    """RS-Byrd-SAGA Figure 6: resampling is what helps on such data; 0.8 is the best possible."""
    setup = {
        "model": "softmax",
        "partition": "classes(per=3)",
        "byzantine_data": "own",
        "n": 30,
        "f": 6,
        "attack": "duplicate",
        "batch_size": 32,
        "rounds": 300,
    }
    byrd_sgd = final_accuracy(mnist, rule="geometric_median", **setup)
    krum = final_accuracy(mnist, rule="krum", **setup)
    resampled = "resampling(s=2) > geometric_median"
    rs_byrd_sgd = final_accuracy(mnist, rule=resampled, **setup)
    rs_byrd_saga = final_accuracy(mnist, rule=resampled, client="saga", **setup)
    assert krum < 0.3 < byrd_sgd
    assert rs_byrd_sgd > byrd_sgd + 0.05
    assert rs_byrd_saga > byrd_sgd + 0.05


def test_mixtailor_stays_near_the_omniscient_mean_where_krum_falls(mnist):
    """MixTailor Figure 2 (ε = 0.2), with a pool of one rule a class."""
    setup = {"batch_size": 50, "rounds": 300, "learning_rate": 0.05, "server_momentum": 0.9}
    attacked = {"n": 12, "f": 2, "attack": "tailored(eps=0.2)"}
    pool = "mixtailor(pool=[krum, median, geometric_median, 'bulyan'])"
    omniscient = final_accuracy(mnist, n=10, f=0, attack="none", rule="mean", **setup)
    mixed = final_accuracy(mnist, rule=pool, **attacked, **setup)
    krum = final_accuracy(mnist, rule="krum", **attacked, **setup)
    assert mixed > omniscient - 0.03
    assert krum < omniscient - 0.05
