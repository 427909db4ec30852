"""Settings, and models, that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
)

import byzflower as bf
from byzflower.strategies import (
    AggregaThor,
    Robust,
    ServerSGD,
)
from replies import MODEL


def test_nobody_asked_means_nothing_done(make_round: Any) -> None:
    strategy = Robust(FedAvg(fraction_train=0.0), "mean", 0, max_skipped_rounds=1)
    assert make_round(strategy, MODEL, 5).run([]) == (None, None)
    assert strategy.history == []


def test_aggregating_before_configuring_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="`aggregate_train` needs a call of `configure_train`"):
        Robust(FedAvg(), "mean", 0).aggregate_train(1, [])


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ({"w": np.zeros(2, np.complex64)}, TypeError, "real arrays; found torch.complex64 in 'w'"),
        ({"n": np.array(3)}, ValueError, "needs a finite floating-point array that is no buffer"),
        ({"w": np.array([np.nan])}, ValueError, "found NaN in 'w'"),
        ({"w": np.array([np.inf])}, ValueError, "needs a finite floating-point array"),
    ],
)
def test_models_that_no_rule_can_aggregate_are_refused_at_once(
    model: dict[str, np.ndarray], error: type[Exception], text: str, make_round: Any
) -> None:
    with pytest.raises(error, match=text):
        make_round(Robust(FedAvg(), "mean", 0), model, 5).ask()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_malicious_nodes": -1}, ValueError, "`num_malicious_nodes` needs a count ≥ 0"),
        ({"num_malicious_nodes": 0.5}, ValueError, r"fraction in \[0, 0.5\); found 0.5"),
        ({"num_malicious_nodes": float("nan")}, ValueError, "found nan"),
        ({"num_malicious_nodes": True}, TypeError, "found True"),
        ({"payload": "models"}, ValueError, "`payload` needs to be 'model' or 'gradient'"),
        ({"payload": "gradient"}, ValueError, "`FedAvg` needs payload='model'"),
        ({"inner": ServerSGD()}, ValueError, "`ServerSGD` needs payload='gradient'"),
        ({"rule": "krumm"}, bf.SpecError, "did you mean `krum`"),
        *(
            ({name: value}, ValueError, f"`Robust` needs an integer {name} ≥ 1; found {value!r}")
            for name in ("max_skipped_rounds", "quarantine_after")
            for value in (0, 2.5, "3", True)
        ),
        ({"seed": -1}, ValueError, "`seed` needs an integer ≥ 0; found -1"),
        ({"seed": 1.0}, ValueError, "`seed` needs an integer ≥ 0; found 1.0"),
        ({"inner": "fedavg"}, TypeError, "`inner` needs a Flower strategy; found 'fedavg'"),
        (
            {"inner": FedAvg},
            TypeError,
            "`inner` needs a Flower strategy; found the class `FedAvg`",
        ),
        (
            {"inner": Robust(FedAvg(), "mean", 0)},
            TypeError,
            r"`inner` needs a strategy other than `Robust`; found Robust\(",
        ),
        (
            {"inner": DifferentialPrivacyServerSideFixedClipping(FedAvg(), 1.0, 1.0, 5)},
            TypeError,
            "`inner` needs a strategy without differential privacy; found "
            "`DifferentialPrivacyServerSideFixedClipping`, whose guarantee is void here",
        ),
        (
            {"inner": ServerSGD(), "payload": "gradient", "buffers": {"b"}},
            ValueError,
            "`buffers` needs to be set on the inner `ServerSGD`",
        ),
    ],
)
def test_options_out_of_range(options: dict[str, Any], error: type[Exception], text: str) -> None:
    defaults: dict[str, Any] = {"inner": FedAvg(), "rule": "mean", "num_malicious_nodes": 0}
    with pytest.raises(error, match=text):
        Robust(**(defaults | options))


def test_summary_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    Robust(FedAvg(), "arc > median", 0.2).summary()
    assert "Rule: arc > median" in caplog.text
    assert "Malicious nodes: 0.2" in caplog.text
    assert "Weighted by" in caplog.text


def test_a_strategy_shows_what_it_does() -> None:
    assert repr(Robust(FedAdam(), "arc > median", 0.2)) == (
        "Robust(FedAdam, 'arc > median', num_malicious_nodes=0.2, payload='model')"
    )
    assert repr(AggregaThor(2)) == (
        "AggregaThor(ServerSGD, 'multi_krum', num_malicious_nodes=2, payload='gradient')"
    )
