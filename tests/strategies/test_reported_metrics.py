"""Metrics of clients and of the rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Robust,
)
from replies import MODEL, shifted


def test_metrics_are_averaged_without_the_extremes_of_what_most_report(
    make_content: Any, make_round: Any
) -> None:
    contents = shifted(make_content)
    for content, loss in zip(contents, [1.0, 2.0, 3.0, np.inf, 1e30], strict=True):
        content["metrics"]["loss"] = loss
        content["metrics"]["per-class"] = [loss, 2 * loss]
    contents[0]["metrics"]["alone"] = 1.0
    contents[4]["metrics"]["per-class"] = [0.0] * 1000
    _, metrics = make_round(Robust(FedAvg(), "median", 1), MODEL, 5).run(contents)
    # Of 1, 2, 3, 1e30 the extremes become 2 and 3; who claims no number gets the median, 2.5.
    assert metrics["loss"] == pytest.approx((2 + 2 + 3 + 2.5 + 3) / 5)
    assert metrics["per-class"] == pytest.approx([2.0, 4.0])
    assert "alone" not in metrics
    assert "num-examples" not in metrics


def test_clipping_is_reported(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "arc > mean", 1)
    _, metrics = make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert metrics["robust-clipping-threshold"] == pytest.approx(0.4 * 5**0.5, rel=1e-5)
    assert metrics["robust-clipped-rows"] == 1
    assert [step.name for step in strategy.history[-1].steps] == ["arc", "mean"]
