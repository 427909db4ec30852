"""Quarantine."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Robust,
)
from replies import MODEL, shifted


def test_repeat_offenders_are_quarantined_on_request(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1, quarantine_after=2)
    rounds = make_round(strategy, MODEL, 5)
    bad = shifted(make_content)
    del bad[0]["arrays"]["b"]
    rounds.run(bad)
    _, metrics = rounds.run(shifted(make_content))
    assert metrics["robust-rejected"] == 0  # one offence is not two
    rounds.run(bad)
    arrays, metrics = rounds.run(shifted(make_content, [90.0, 0.1, 0.2, 0.3, 0.4]))
    assert metrics["robust-rejected-quarantined"] == 1
    assert (metrics["robust-rows"], metrics["robust-f"]) == (4, 0)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.25], rtol=1e-6)
    rejection = strategy.history[-1].rejections[0]
    assert (rejection.node_id, rejection.detail) == (101, "2 malformed replies before")
