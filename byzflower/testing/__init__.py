"""Checks of what rules, attacks, clients and strategies must do, for those you write.

``check_rule``, ``check_preaggregator``, ``check_attack``, ``check_client`` and ``check_strategy``
take what you wrote and raise a ``ContractError`` with one line for each check that fails. This
package's own tests call the same functions. They need no test runner; only ``check_client``,
``check_strategy`` and ``fuzz_strategy`` (uploads with mutated bytes) import Flower. ``hostile`` is
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
    "CLIENT_CHECKS",
    "PREAGGREGATOR_CHECKS",
    "RULE_CHECKS",
    "ContractError",
    "check_attack",
    "check_client",
    "check_preaggregator",
    "check_rule",
    "check_strategy",
    "fuzz_strategy",
]

if TYPE_CHECKING:
    from byzflower.testing.clients import CLIENT_CHECKS, check_client
    from byzflower.testing.fuzzing import fuzz_strategy
    from byzflower.testing.strategies import check_strategy

_IMPORT_FLOWER = {
    "CLIENT_CHECKS": "clients",
    "check_client": "clients",
    "check_strategy": "strategies",
    "fuzz_strategy": "fuzzing",
}


def __getattr__(name: str) -> object:
    if name not in _IMPORT_FLOWER:
        raise AttributeError(f"module 'byzflower.testing' has no attribute {name!r}")
    return getattr(import_module(f"byzflower.testing.{_IMPORT_FLOWER[name]}"), name)
