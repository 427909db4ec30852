"""Options that tell the rule's assumptions from the truth, and what rounds record beside them."""

from __future__ import annotations

import numpy as np
import pytest

from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.runner import run_experiment
from byzflower.simulations.server import make_strategy
from byzflower.simulations.tasks import open_dataset, split_rows, validation_rows


def rounds_of(experiment):
    rounds = []
    run_experiment(experiment, rounds.append)
    return rounds


def test_the_rule_may_assume_another_f_than_there_is(small):
    experiment = small(n=7, f=3, rule="trimmed_mean", assumed_f=1)
    assert make_strategy(experiment).num_malicious_nodes == 1
    assert experiment.honest == 4
    with pytest.raises(ExperimentError, match="`assumed_f` needs 0 ≤ assumed_f < n = 7; found 9"):
        small(n=7, f=3, assumed_f=9)


def test_data_have_a_seed_of_their_own(small):
    def shares(**seeds):
        return [share.tolist() for share in split_rows(small(**seeds))]

    assert shares(seed=1, data_seed=5) == shares(seed=2, data_seed=5) == shares(seed=5)
    assert shares(seed=1, data_seed=5) != shares(seed=1)


def test_rows_held_out_are_nobodys(small):
    experiment = small(validation=0.2)
    held = validation_rows(experiment)
    rows = len(open_dataset(experiment).y_train)
    assert len(held) == round(0.2 * rows)
    shared = np.concatenate(split_rows(experiment))
    assert sorted([*held.tolist(), *shared.tolist()]) == list(range(rows))
    assert not np.array_equal(held, validation_rows(small(validation=0.2, data_seed=9)))


def test_the_accuracy_on_held_out_rows_is_recorded_only_where_there_are_some(small):
    assert all(0 < done.validation < 1 for done in rounds_of(small(validation=0.2)))
    assert [done.validation for done in rounds_of(small())] == [None] * 4


@pytest.mark.parametrize("client", ["momentum", "local_sgd(steps=2, lr=0.1)"])
def test_the_threshold_of_arc_is_one_of_the_honest_norms(small, client):
    experiment = small(rule="arc > trimmed_mean", attack="none", f=2, client=client)
    for done in rounds_of(experiment)[1:]:
        norms = sorted(done.notes["honest_norms"], reverse=True)
        assert len(norms) == 5
        clipped = int(2 * 2 / 5 * (5 - 2))
        assert done.notes["threshold"] == pytest.approx(norms[clipped], rel=1e-6)
        assert 0 < done.notes["honest_mean_norm"] <= max(norms)


def test_colluders_are_not_among_the_honest_norms(small):
    for attack in ("sign_flip", "label_flip"):
        *_, last = rounds_of(small(rule="arc > trimmed_mean", attack=attack))
        assert len(last.notes["honest_norms"]) == 4


def test_the_last_round_says_how_often_each_node_was_selected(small):
    *earlier, last = rounds_of(small(rule="krum"))
    assert sum(last.selection) == pytest.approx(1)
    assert len(last.selection) == 5
    assert {done.selection for done in earlier} == {None}
    assert rounds_of(small(rule="median"))[-1].selection == [None] * 5
