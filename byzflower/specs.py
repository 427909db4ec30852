"""Spec strings: ``"arc > nnm > krum(p=3)"`` to objects, parsed and never evaluated."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from byzflower.errors import SpecError, did_you_mean
from byzflower.registry import pools, preaggregators, registered, rules
from byzflower.steps import Aggregator, PreAggregator, Rule, compose

__all__ = ["expression", "parse", "parse_one"]

_T = TypeVar("_T")
_SHORT = {"lr": "learning_rate"}
"""Parameter → the name it stands for, in every spec."""
_RENAMED = {"attack": {"minmax": "against_pool"}}
"""By kind: former name → the name of today; specs of the former are read with a warning."""
_ALIASES = {
    "rule": {
        "trmean": "trimmed_mean",
        "cwtm": "trimmed_mean",
        "comed": "median",
        "cwmed": "median",
        "geomed": "geometric_median",
        "rfa": "geometric_median",
        "cclip": "centered_clipping",
    },
    "attack": {"empire": "foe", "little": "alie"},
}
"""By kind: a name in other papers and libraries → the name here."""
_EXAMPLES: dict[str, object] = {"tau": 1.5, "eps": 0.5, "alpha": 0.3, "initial": 0.1, "s": 2}
"""Parameter → a value to show where it is missing."""
_TEXT = {"preaggregator": "pre-aggregator", "dataset": "data set"}


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
    steps = [_build(node, preaggregators(), "preaggregator", spec) for node in before]
    rule = _build(last, {**rules(), **pools()}, "rule", spec)
    if not steps:
        return cast(Aggregator, rule)
    if not isinstance(rule, Rule):
        raise SpecError(f"a pool takes steps before its members, not before itself; found {spec!r}")
    try:
        return compose(*(cast(PreAggregator, step) for step in steps), rule)
    except ValueError as error:
        raise SpecError(str(error)) from None


def parse_one(spec: str | _T, kind: str, base: type[_T]) -> _T:
    """Build what a spec of one name describes: an attack, a client, a data set, ….

    Parameters
    ----------
    spec
        A name with optional parameters in parentheses; an object of ``base`` is returned as it is.
    kind
        One of :data:`byzflower.registry.KINDS`.
    base
        What everything of this kind derives from.

    Raises
    ------
    SpecError
        For an unknown name or parameter, a value out of range, or text that is no spec.

    Examples
    --------
    >>> parse_one("krum(p=3)", "rule", Rule)
    Krum(p=3)
    """
    if isinstance(spec, base):
        return spec
    text = cast(str, spec)
    needed = f"{_one(kind)} is a name with parameters, such as name(parameter=1)"
    built = _build(expression(text, needed), registered(kind), kind, text)
    if not isinstance(built, base):
        raise SpecError(
            f"{_one(kind)} needs to derive from `{base.__qualname__}`; "
            f"found {type(built).__qualname__}"
        )
    return built


def expression(text: str, needed: str) -> ast.expr:
    """Parse one expression, or say what is needed instead; nothing is evaluated."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, AttributeError, RecursionError, MemoryError):
        raise SpecError(f"{needed}; found {text!r}") from None


def _text(kind: str) -> str:
    return _TEXT.get(kind, kind)


def _one(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {_text(kind)}"


def _chain(spec: str) -> list[ast.expr]:
    node = expression(spec, 'a spec looks like "arc > nnm > krum(p=3)"')
    if isinstance(node, ast.Tuple | ast.List) and node.elts:
        written = " > ".join(map(ast.unparse, node.elts))
        raise SpecError(f'steps are joined by >, as in "{written}"; found {spec!r}')
    if isinstance(node, ast.Compare) and all(isinstance(op, ast.Gt) for op in node.ops):
        return [node.left, *node.comparators]
    return [node]


def _build(node: ast.expr, catalogue: Mapping[str, type[Any]], kind: str, spec: str) -> object:
    """Instantiate the class that one parsed step names, from literal parameters only."""
    call = node if isinstance(node, ast.Call) else None
    head = node if call is None else call.func
    if not isinstance(head, ast.Name):
        found = ast.unparse(node)
        hint = did_you_mean(found.replace(" - ", "_"), _suggested(kind, catalogue))
        raise SpecError(f"{_one(kind)} is a name with parameters; found {found!r}{hint}")
    known_as = {**_ALIASES.get(kind, {}), **_RENAMED.get(kind, {})}
    name = head.id if head.id in catalogue else known_as.get(head.id, head.id)
    if name not in catalogue:
        hint = _hint(name, kind, catalogue)
        raise SpecError(f"unknown {_text(kind)} `{name}` in {spec!r}{hint}")
    if name != head.id and head.id in _RENAMED.get(kind, {}):
        message = f"the {_text(kind)} `{head.id}` is now called `{name}`"
        warnings.warn(message, FutureWarning, stacklevel=2)
    elif name != head.id and call is not None and call.args:
        # Its parameter elsewhere may be another.
        raise SpecError(f"`{head.id}` is `{name}` here; name its parameters; found {spec!r}")
    cls = catalogue[name]
    values = {} if call is None else _parameters(call, name, cls)
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
        example = _example(name, missing)
        raise SpecError(f"`{name}` needs {_listing(missing)}{example}; found {spec!r}") from None
    except ValueError as error:
        raise SpecError(str(error)) from None


def _parameters(call: ast.Call, owner: str, cls: type[Any]) -> dict[str, object]:
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    values: dict[str, object] = {}
    for position, argument in enumerate(call.args):
        if position >= len(names):
            raise SpecError(f"`{owner}` takes {_listing(names)}; found {ast.unparse(call)!r}")
        values[names[position]] = _value(argument, owner)
    for keyword in call.keywords:
        name = keyword.arg if keyword.arg in names else _SHORT.get(keyword.arg or "", keyword.arg)
        if name not in names:
            raise SpecError(
                f"`{owner}` has no parameter `{keyword.arg}`; it takes {_listing(names)}"
            )
        if name in values:
            raise SpecError(f"`{owner}` takes `{name}` once; found {ast.unparse(call)!r}")
        values[name] = _value(keyword.value, owner)
    return values


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
        value = node
    numbers = isinstance(value, dict) and all(
        isinstance(item, int | float) for pair in value.items() for item in pair
    )
    if not numbers and not isinstance(value, int | float | str | None):
        raise SpecError(
            f"parameters of `{owner}` are numbers, names, lists or dictionaries of numbers; "
            f"found {ast.unparse(node)!r}"
        )
    return value


def _listing(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) if names else "no parameters"


def _hint(name: str, kind: str, catalogue: Mapping[str, object]) -> str:
    if kind == "rule" and name in preaggregators():
        return f"; `{name}` is a pre-aggregator and needs a rule after it"
    if kind == "preaggregator" and name in rules():
        return f"; `{name}` is a rule and comes last"
    return did_you_mean(name, _suggested(kind, catalogue)) or f"; known: {', '.join(catalogue)}"


def _suggested(kind: str, catalogue: Mapping[str, object]) -> list[str]:
    # Nobody is led from a rule's misspelt name to the one that is not robust.
    return [*(name for name in catalogue if name != "mean"), *_ALIASES.get(kind, {})]


def _example(name: str, missing: list[str]) -> str:
    if not set(missing) <= _EXAMPLES.keys():
        return ""
    return f", for instance {name}({', '.join(f'{key}={_EXAMPLES[key]}' for key in missing)})"
