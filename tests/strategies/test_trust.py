"""MoNNA inside `Robust`: the node that is trusted has a name, and no attacker takes its place."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust
from replies import MODEL, shifted


@pytest.mark.parametrize("rule", ["monna", "nnm > monna(trusted=2)"])
def test_a_rule_that_trusts_a_row_needs_a_named_node(rule: str) -> None:
    with pytest.raises(ValueError, match="`monna` needs `trusted_node`"):
        Robust(FedAvg(), rule, 1)


def test_a_pool_with_such_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="members that trust no single node"):
        Robust(FedAvg(), "mixtailor(pool=[monna, median])", 1, trusted_node=101)


@pytest.mark.parametrize("silent", [None, 0, 4])
def test_the_trusted_node_is_found_whoever_else_replies(
    silent: int | None, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "monna", 1, trusted_node=103)
    replies: list[Any] = shifted(make_content, [90.0, 90.1, 0.3, 0.2, 0.4])
    if silent is not None:
        replies[silent] = None
    arrays, _ = make_round(strategy, MODEL, 5).run(replies)
    assert not strategy.history[-1].skipped
    if silent != 4:
        near = [0.2, 0.3, 0.4] if silent == 0 else [0.2, 0.3, 0.4, 90.0]
        assert arrays["b"].numpy() == pytest.approx([5 + sum(near) / len(near)], rel=1e-6)


def test_a_round_without_the_trusted_node_is_skipped(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "monna", 1, trusted_node=103)
    replies: list[Any] = shifted(make_content)
    replies[2] = None
    arrays, _ = make_round(strategy, MODEL, 5).run(replies)
    assert "needs its trusted row" in strategy.history[-1].skipped
    assert arrays["b"].numpy() == pytest.approx(MODEL["b"])
