"""Spec strings: ``"arc > nnm > krum(p=3)"`` to objects, parsed and never evaluated."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

from byzflower.attack import Attack
from byzflower.errors import SpecError
from byzflower.registry import attacks, pools, preaggregators, rules
from byzflower.steps import Aggregator, PreAggregator, Rule, compose

__all__ = ["build", "expression", "parse", "parse_attack"]


def parse(spec: str | Aggregator) -> Aggregator:
    """Build the aggregation that a spec string describes.

    Parameters
    ----------
    spec
        Steps joined by ``>``: pre-aggregators, then a rule, each a name with optional parameters
        in parentheses. An aggregator is returned as it is.

    Raises
    ------
    SpecError
        For an unknown name or parameter, a value out of range, or text that is no spec.

    Examples
    --------
    >>> parse("arc > nnm > trimmed_mean").spec
    'arc > nnm > trimmed_mean'
    >>> parse("multi_krum(m=5)")
    MultiKrum(m=5)
    >>> parse("mixtailor(pool=[krum(p=3), arc > median])").spec
    "mixtailor(pool=('krum(p=3)', 'arc > median'))"
    """
    if isinstance(spec, Aggregator):
        return spec
    *before, last = _chain(spec)
    steps = [build(node, preaggregators(), "pre-aggregator", spec) for node in before]
    rule = build(last, {**rules(), **pools()}, "rule", spec)
    if not steps:
        return cast(Aggregator, rule)
    if not isinstance(rule, Rule):
        raise SpecError(f"a pool takes steps before its members, not before itself; found {spec!r}")
    try:
        return compose(*(cast(PreAggregator, step) for step in steps), rule)
    except ValueError as error:
        raise SpecError(str(error)) from None


def parse_attack(spec: str | Attack) -> Attack:
    """Build the attack that a spec string describes.

    >>> parse_attack("alie(tau=1.5)").spec
    'alie(tau=1.5)'
    """
    if isinstance(spec, Attack):
        return spec
    nodes = _chain(spec)
    if len(nodes) != 1:
        raise SpecError(f"an attack is one name with parameters; found {spec!r}")
    return cast(Attack, build(nodes[0], attacks(), "attack", spec))


def expression(text: str, needed: str) -> ast.expr:
    """Parse one expression, or say what is needed instead; nothing is evaluated."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, AttributeError, RecursionError, MemoryError):
        raise SpecError(f"{needed}; found {text!r}") from None


def _chain(spec: str) -> list[ast.expr]:
    node = expression(spec, 'a spec looks like "arc > nnm > krum(p=3)"')
    if isinstance(node, ast.Compare) and all(isinstance(op, ast.Gt) for op in node.ops):
        return [node.left, *node.comparators]
    return [node]


def build(node: ast.expr, catalogue: Mapping[str, type[Any]], kind: str, spec: str) -> object:
    """Instantiate the class that one parsed step names, from literal parameters only."""
    call = node if isinstance(node, ast.Call) else None
    head = node if call is None else call.func
    if not isinstance(head, ast.Name):
        found = ast.unparse(node)
        hint = _nearest(found.replace(" - ", "_"), catalogue)
        raise SpecError(f"a {kind} is a name with parameters; found {found!r}{hint}")
    if head.id not in catalogue:
        raise SpecError(f"unknown {kind} `{head.id}` in {spec!r}{_hint(head.id, kind, catalogue)}")
    cls = catalogue[head.id]
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    values: dict[str, object] = {}
    for position, argument in enumerate(call.args if call else ()):
        if position >= len(names):
            raise SpecError(f"`{head.id}` takes {_listing(names)}; found {ast.unparse(node)!r}")
        values[names[position]] = _value(argument, head.id)
    for keyword in call.keywords if call else ():
        if keyword.arg not in names:
            raise SpecError(
                f"`{head.id}` has no parameter `{keyword.arg}`; it takes {_listing(names)}"
            )
        if keyword.arg in values:
            raise SpecError(f"`{head.id}` takes `{keyword.arg}` once; found {ast.unparse(node)!r}")
        values[keyword.arg] = _value(keyword.value, head.id)
    try:
        return cls(**values)
    except TypeError:
        missing = [
            f.name
            for f in dataclasses.fields(cls)
            if f.init
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
            and f.name not in values
        ]
        if not missing:
            raise
        raise SpecError(f"`{head.id}` needs {_listing(missing)}; found {spec!r}") from None
    except ValueError as error:
        raise SpecError(str(error)) from None


def _value(node: ast.expr, owner: str) -> object:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call | ast.Compare):
        return ast.unparse(node)  # a spec within a spec; its owner parses it
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_value(item, owner) for item in node.elts)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        raise SpecError(
            f"parameters of `{owner}` are numbers, names or lists; found {ast.unparse(node)!r}"
        ) from None
    if not isinstance(value, int | float | str | None):
        raise SpecError(f"parameters of `{owner}` are numbers, names or lists; found {value!r}")
    return value


def _listing(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) if names else "no parameters"


def _hint(name: str, kind: str, catalogue: Mapping[str, object]) -> str:
    if kind == "rule" and name in preaggregators():
        return f"; `{name}` is a pre-aggregator and needs a rule after it"
    if kind == "pre-aggregator" and name in rules():
        return f"; `{name}` is a rule and comes last"
    return _nearest(name, catalogue) or f"; known: {', '.join(sorted(catalogue))}"


def _nearest(name: str, catalogue: Mapping[str, object]) -> str:
    close = get_close_matches(name.lower(), catalogue, n=1, cutoff=0.7)
    return f"; did you mean `{close[0]}`?" if close else ""
