"""``byzflower list``: every name that an option takes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from .completion import any_name

__all__ = ["command"]

KINDS = {
    "rules": ("rule", "pool"),
    "pre-aggregators": ("preaggregator",),
    "attacks": ("attack",),
    "clients": ("client",),
    "schedules": ("schedule",),
    "datasets": ("dataset",),
    "models": ("model",),
    "partitions": ("partition",),
}
"""As asked for → as registered."""
COLUMNS = ("name", "needs", "parameters", "reference", "what")


def command(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"only one of {', '.join(KINDS)}; or a name, to see it whole",
            show_default="all",
            autocompletion=lambda incomplete: [*KINDS, *any_name(incomplete)],
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a name")] = False,
) -> None:
    """List the names that options take.

    Rules, pre-aggregators, attacks, clients, schedules, data sets, models and partitions, those of
    --import included, with their parameters (those without a value are required), the (n, f) they
    need, their reference and what they are.
    """
    from rich.markup import escape
    from rich.table import Table

    from byzflower.registry import registered

    from ..errors import unknown
    from .terminal import console

    if kind is not None and kind not in KINDS:
        entries = [
            (of, named[kind])
            for kinds in KINDS.values()
            for of in kinds
            if kind in (named := registered(of))
        ]
        if not entries:
            raise unknown("list", kind, KINDS)
        if as_json:
            _print_objects((of, kind, cls) for of, cls in entries)
        else:
            typer.echo("\n\n".join(_whole(of, kind, cls) for of, cls in entries))
        return
    if as_json:
        for chosen in KINDS if kind is None else (kind,):
            for of in KINDS[chosen]:
                _print_objects((of, *named) for named in registered(of).items())
        return
    screen = console()
    for chosen in KINDS if kind is None else (kind,):
        rows = sorted(_row(of, *named) for of in KINDS[chosen] for named in registered(of).items())
        # A column that is empty for all of a kind is none of its.
        filled = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows)]
        table = Table(title=chosen, title_justify="left", box=None, pad_edge=False)
        for i in filled:
            table.add_column(COLUMNS[i], overflow="fold")
        for row in rows:
            table.add_row(*(escape(row[i]) for i in filled))
        screen.print(table)
        screen.print()


def _print_objects(entries: Iterable[tuple[str, str, type[Any]]]) -> None:
    for kind, name, cls in entries:
        columns = dict(zip(COLUMNS, _row(kind, name, cls), strict=True))
        typer.echo(json.dumps({"kind": kind, **columns}, ensure_ascii=False))


def _row(kind: str, name: str, cls: type[Any]) -> tuple[str, ...]:
    needs = "as its pool" if kind == "pool" else getattr(cls, "needs", "")
    reference = getattr(cls, "reference", "")
    return name, needs, _parameters(cls), reference, _first_line(cls)


def _whole(kind: str, name: str, cls: type[Any]) -> str:
    """Return an entry with all that its docstring says."""
    named = dict(zip(COLUMNS, _row(kind, name, cls), strict=True))
    facts = [f"{column}: {named[column]}" for column in COLUMNS[1:-1] if named[column]]
    text = inspect.cleandoc(cls.__doc__ or "") if named["what"] else ""
    return "\n".join([f"{name} ({kind})", *facts, *(["", text] if text else [])])


def _parameters(cls: type[Any]) -> str:
    """Return what a class takes: ``name`` alone if required, ``name=default`` otherwise."""
    taken = []
    for name, parameter in inspect.signature(cls).parameters.items():
        value = parameter.default
        taken.append(name if value is inspect.Parameter.empty else f"{name}={_brief(value)}")
    return ", ".join(taken)


def _brief(value: object) -> str:
    """Write a default, a long one by its ends."""
    if isinstance(value, tuple) and len(value) > 4:
        return f"({value[0]}, {value[1]}, …, {value[-1]})"
    return str(value)


def _first_line(cls: type[Any]) -> str:
    # A dataclass without a docstring has its signature for one.
    text = (cls.__doc__ or "").partition("\n")[0]
    return "" if text.startswith(f"{cls.__name__}(") else text
