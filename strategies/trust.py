"""Rules that trust one update: which node's it is has to be said, for rows have no names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from byzflower.aggregator import Aggregator
from byzflower.steps import Pipeline, Rule

__all__ = ["check_trust", "trusted_row", "trusting"]


def check_trust(rule: Aggregator, trusted_node: int | None) -> None:
    """Refuse a rule that trusts a row where nobody says which node that is.

    Raises
    ------
    ValueError
        If the rule trusts a row and there is no trusted node, or the other way about.
    """
    named = _naming(rule)
    if named is not None and trusted_node is None:
        raise ValueError(
            f"`{named.name}` needs `trusted_node`, the id of the node whose update it trusts: "
            "which row that is depends on who replies, and an attacker could take its place"
        )
    members = getattr(rule, "members", ())
    if any(_naming(member) is not None for member in members):
        raise ValueError(f"a pool needs members that trust no single node; found {rule.spec!r}")


def trusted_row(rule: Aggregator) -> int | None:
    """Return the row that a rule trusts, as it was written; None if it trusts none.

    >>> import byzflower as bf
    >>> trusted_row(bf.parse("nnm > monna(trusted=2)")), trusted_row(bf.parse("median"))
    (2, None)
    """
    named = _naming(rule)
    return None if named is None else int(vars(named)["trusted"])


def trusting(rule: Aggregator, trusted_node: int | None, nodes: Sequence[int]) -> Aggregator:
    """Return the rule with the trusted node's row, among rows in the order of ``nodes``.

    Where the node sent nothing usable its row lies beyond the others, and the rule is not defined.
    """
    named = _naming(rule)
    if named is None or trusted_node is None:
        return rule
    row = nodes.index(trusted_node) if trusted_node in nodes else len(nodes)
    own = cast(Rule, replace(cast(Any, named), trusted=row))
    return Pipeline(rule.before, own) if isinstance(rule, Pipeline) else own


def _naming(rule: Aggregator) -> Rule | None:
    last = rule.rule if isinstance(rule, Pipeline) else rule
    return last if isinstance(last, Rule) and last.names_a_row else None
