"""Rounds that ask a sample of the clients."""

from __future__ import annotations

import pytest
import torch

from byzflower.errors import InfeasibleError
from byzflower.simulations import runner
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import RISK, Experiment
from byzflower.simulations.server import make_strategy
from byzflower.theory import excess_probability


@pytest.mark.parametrize("value", [0, -0.5, 1.01, float("nan")])
def test_it_is_a_share(value):
    with pytest.raises(ExperimentError, match="`fraction_train` needs 0 < fraction_train ≤ 1"):
        Experiment(fraction_train=value)


def test_f_of_a_round_holds_over_the_run():
    experiment = Experiment(n=1000, f=100, fraction_train=0.05, rounds=200)
    assert experiment.asked == 50
    assert 200 * excess_probability(1000, 100, 50, experiment.f_asked) <= RISK
    assert 200 * excess_probability(1000, 100, 50, experiment.f_asked - 1) > RISK
    assert experiment.f_asked < 25


def test_too_small_a_sample_is_refused():
    with pytest.raises(InfeasibleError, match="n = 6, f = 3"):
        Experiment(n=13, f=3, fraction_train=0.5)


@pytest.mark.parametrize("engine", ["batched", "inprocess"])
def test_each_round_asks_so_many_and_the_model_learns(engine, monkeypatch):
    strategies = []

    def remembered(experiment):
        strategies.append(make_strategy(experiment))
        return strategies[-1]

    monkeypatch.setattr(runner, "make_strategy", remembered)
    experiment = Experiment(
        n=20, f=2, fraction_train=0.5, partition="iid", rounds=60, evaluate_every=60, engine=engine
    )
    accuracies = []
    runner.run_experiment(experiment, lambda done: accuracies.append(done.accuracy))
    assert accuracies[-1] > 0.8
    assert {(r.asked, r.rows, r.f) for r in strategies[0].history} == {(10, 10, 2)}


def test_monna_trusts_its_node_by_name_where_rounds_ask_some_of_the_clients() -> None:
    # Row 15 of all clients is no row of the ten that a round asks.
    experiment = Experiment(
        n=20,
        f=2,
        fraction_train=0.5,
        rule="monna(trusted=15)",
        attack="sign_flip",
        model="softmax",
        partition="iid",
        rounds=20,
    )
    rounds = []
    runner.run_experiment(experiment, rounds.append)
    skipped = ["skipped" in done.notes for done in rounds[1:]]
    assert 3 <= sum(skipped) <= 17  # rounds that did not ask the trusted node
    for before, after, was_skipped in zip(rounds, rounds[1:], skipped, strict=False):
        same = all(torch.equal(before.model[key], after.model[key]) for key in after.model)
        assert same == was_skipped
    assert rounds[-1].accuracy > 0.4
