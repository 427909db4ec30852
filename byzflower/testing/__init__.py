"""Checks of what rules, pre-aggregators, attacks and strategies must do, for those you write.

``check_rule``, ``check_preaggregator``, ``check_attack`` and ``check_strategy`` take what you wrote
and raise a ``ContractError`` with one line for each check that fails. This package's own tests call
the same functions. They need no test runner; only ``check_strategy`` imports Flower. ``hostile`` is
the corpus of hostile replies.

>>> from byzflower.testing import check_rule
>>> check_rule("nnm > trimmed_mean")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from byzflower.testing.attacks import ATTACK_CHECKS, check_attack
from byzflower.testing.contract import ContractError
from byzflower.testing.preaggregators import PREAGGREGATOR_CHECKS, check_preaggregator
from byzflower.testing.rules import RULE_CHECKS, check_rule

__all__ = [
    "ATTACK_CHECKS",
    "PREAGGREGATOR_CHECKS",
    "RULE_CHECKS",
    "ContractError",
    "check_attack",
    "check_preaggregator",
    "check_rule",
    "check_strategy",
]

if TYPE_CHECKING:
    from byzflower.testing.strategies import check_strategy


def __getattr__(name: str) -> object:
    if name != "check_strategy":
        raise AttributeError(f"module 'byzflower.testing' has no attribute {name!r}")
    return import_module("byzflower.testing.strategies").check_strategy  # imports Flower
