"""``byzflower list``: every name that an option takes."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

__all__ = ["command"]

KINDS = ("rules", "pre-aggregators", "attacks", "clients", "datasets", "models", "partitions")


def command(
    kind: Annotated[
        str | None, typer.Argument(help=f"only one of {', '.join(KINDS)}", show_default="all")
    ] = None,
) -> None:
    """List the names that options take.

    Rules, pre-aggregators, attacks, clients, data sets, models and partitions, with their
    parameters (those without a value are required), the (n, f) they need and their reference.
    """
    from rich.markup import escape
    from rich.table import Table

    from byzflower.simulations.cli.terminal import console
    from byzflower.simulations.errors import unknown

    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    screen = console()
    for chosen in KINDS if kind is None else (kind,):
        heads, rows = _table(chosen)
        table = Table(title=chosen, title_justify="left", box=None, pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        screen.print(table)
        screen.print()


def _table(kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    import byzflower as bf
    from byzflower.clients.algorithms import ALGORITHMS
    from byzflower.registry import pools
    from byzflower.simulations.datasets import DATASETS
    from byzflower.simulations.experiment import CLIENTS, SIGN_VOTES
    from byzflower.simulations.models import MODELS
    from byzflower.simulations.partitions import PARTITIONS

    if kind == "attacks":
        heads: tuple[str, ...] = ("name", "parameters", "reference")
        return heads, [(n, _parameters(a), _reference(a)) for n, a in bf.attacks().items()]
    if kind in ("rules", "pre-aggregators"):
        steps = {**bf.rules(), **pools()} if kind == "rules" else bf.preaggregators()
        heads = ("name", "needs", "parameters", "reference")
        # A mixture needs what its members need.
        rows = [
            (name, getattr(step, "needs", "as its pool"), _parameters(step), _reference(step))
            for name, step in steps.items()
        ]
        if kind == "rules":
            rows.append((SIGN_VOTES, "client rsa", "", "RS-Byrd-SAGA"))
        return heads, sorted(rows)
    if kind == "partitions":
        heads = ("name", "parameters", "reference", "what")
        return heads, [
            (n, _parameters(p), _reference(p), _first_line(p)) for n, p in PARTITIONS.items()
        ]
    if kind == "clients":
        heads = ("name", "options", "what")
        return heads, [
            (n, ", ".join(used), _first_line(ALGORITHMS[n])) for n, used in CLIENTS.items()
        ]
    if kind == "datasets":
        return ("name", "what"), list(DATASETS.items())
    return ("name", "what"), [(name, _first_line(model)) for name, model in MODELS.items()]


def _parameters(step: type[Any]) -> str:
    """Return what a step takes: ``name`` alone if required, ``name=default`` otherwise."""
    taken = []
    for name, parameter in inspect.signature(step).parameters.items():
        value = parameter.default
        taken.append(name if value is inspect.Parameter.empty else f"{name}={_brief(value)}")
    return ", ".join(taken)


def _brief(value: object) -> str:
    """Write a default, a long one by its ends."""
    if isinstance(value, tuple) and len(value) > 4:
        return f"({value[0]}, {value[1]}, …, {value[-1]})"
    return str(value)


def _reference(step: type[Any]) -> str:
    return getattr(step, "reference", "–")  # a user's own step need not have one


def _first_line(item: object) -> str:
    return (item.__doc__ or "").partition("\n")[0]
