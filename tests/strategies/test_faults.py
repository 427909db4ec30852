"""How many faults a round assumes: of the nodes asked, and of a federation that is sampled."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust
from byzflower.strategies.faults import FaultBound
from byzflower.theory import excess_probability, faults_per_round
from replies import MODEL, shifted


@pytest.mark.parametrize(
    ("bound", "nodes", "f"), [(2, 9, 2), (0.25, 9, 2), (0.3, 10, 3), (0.0, 5, 0), (0.29, 100, 29)]
)
def test_faults_are_a_count_or_a_fraction_of_the_nodes_asked(
    bound: float, nodes: int, f: int, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", bound)
    make_round(strategy, MODEL, nodes).run(shifted(make_content, [0.1] * nodes))
    assert strategy.history[-1].f == f


@pytest.mark.parametrize(("nodes", "fraction"), [(10, 0.2), (20, 0.2), (10, 0.3), (12, 0.25)])
def test_an_honest_failure_does_not_lower_a_fraction(
    nodes: int, fraction: float, make_content: Any, make_round: Any
) -> None:
    """One silent honest node among as many colluders as the fraction allows: no capture."""
    colluders = int(fraction * nodes)
    contents: list[Any] = shifted(make_content, [0.1] * nodes)
    contents[0] = None
    contents[-colluders:] = shifted(make_content, [1e6] * colluders)
    strategy = Robust(FedAvg(), "trimmed_mean", fraction)
    arrays, _ = make_round(strategy, MODEL, nodes).run(contents)
    assert strategy.history[-1].f == colluders
    assert arrays["b"].numpy() == pytest.approx([5.1], rel=1e-6)


def test_a_sample_s_faults_keep_the_stated_risk_over_the_run() -> None:
    bound = FaultBound(0.2, risk=0.01)
    f = bound.within(asked=10, federation=40, rounds=50)
    assert f == faults_per_round(40, 8, 10, 0.01 / 50)
    assert 50 * excess_probability(40, 8, 10, f) < 0.01 <= 50 * excess_probability(40, 8, 10, f - 1)
    assert FaultBound(8, risk=0.0).within(asked=10, federation=40) == 8
    assert FaultBound(8, risk=0.0).within(asked=5, federation=40) == 5
    assert FaultBound(8, risk=0.01).within(asked=40, federation=40) == 8
    assert FaultBound(50, risk=0.01).within(asked=5, federation=40) == 5
    assert FaultBound(0.2, risk=0.01).within(asked=0, federation=40) == 0


def test_a_run_that_samples_says_n_f_and_risk(
    make_content: Any, fake_grid: Any, caplog: pytest.LogCaptureFixture
) -> None:
    grid = fake_grid({node: lambda _: shifted(make_content, [0.1])[0] for node in range(40)})
    strategy = Robust(FedAvg(fraction_train=0.5, fraction_evaluate=0.0), "median", 4, risk=0.01)
    initial = shifted(make_content, [0.0])[0]["arrays"]
    with caplog.at_level(logging.INFO, "flwr"):
        strategy.start(grid, initial, num_rounds=3)
    f = faults_per_round(40, 4, 20, 0.01 / 3)
    line = f"20 of 40 nodes asked, 4 of all malicious: f = {f} (more with probability 0.01 over 3"
    assert caplog.text.count(line) == 1
    assert [record.f for record in strategy.history] == [f] * 3


def test_a_fallback_aggregates_what_is_too_little_for_the_rule(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = Robust(FedAvg(), "krum", 1, fallback="median")
    replies: list[Any] = shifted(make_content)
    replies[0] = None
    arrays, _ = make_round(strategy, MODEL, 5).run(replies)
    assert arrays["b"].numpy() == pytest.approx([5.35], rel=1e-6)
    assert "`median` takes the place of `krum`" in caplog.text
    assert "would leave the model unchanged" not in caplog.text


@pytest.mark.parametrize(
    ("nodes", "risk", "error"),
    [(True, 0.1, TypeError), ("2", 0.1, TypeError), (-1, 0.1, ValueError), (0.5, 0.1, ValueError)]
    + [(1, risk, ValueError) for risk in (-0.1, 1.0, float("nan"), "0.1")],
)
def test_bounds_out_of_range_are_refused(nodes: Any, risk: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        FaultBound(nodes, risk)
