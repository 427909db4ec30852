"""``byzflower list``: every name that an option takes."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["command"]

KINDS = ("rules", "pre-aggregators", "attacks", "clients", "datasets", "models", "partitions")


def command(
    kind: Annotated[
        str | None, typer.Argument(help=f"only one of {', '.join(KINDS)}", show_default="all")
    ] = None,
) -> None:
    """List the names that options take.

    Rules, pre-aggregators, attacks, clients, data sets, models and partitions, with their source
    and the (n, f) they need.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from byzflower.simulations.errors import unknown

    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    console = Console()
    for chosen in KINDS if kind is None else (kind,):
        heads, rows = _table(chosen)
        table = Table(title=chosen, title_justify="left", box=None, pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        console.print()


def _table(kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    import byzflower as bf
    from byzflower.clients.algorithms import ALGORITHMS
    from byzflower.registry import pools
    from byzflower.simulations.datasets import DATASETS
    from byzflower.simulations.models import MODELS
    from byzflower.simulations.partitions import PARTITIONS

    steps = {
        "rules": {**bf.rules(), **pools()},
        "pre-aggregators": bf.preaggregators(),
        "attacks": bf.attacks(),
    }
    if kind in steps:
        found = sorted(steps[kind].items())
        if kind == "attacks":
            return ("name", "source"), [(name, step.source) for name, step in found]
        heads = ("name", "needs", "source")
        # A mixture needs what its members need.
        return heads, [
            (name, getattr(step, "needs", "as its pool"), step.source) for name, step in found
        ]
    if kind == "partitions":
        heads = ("name", "source", "what")
        return heads, [(n, p.source, _first_line(p)) for n, p in PARTITIONS.items()]
    if kind == "datasets":
        return ("name", "what"), list(DATASETS.items())
    described = ALGORITHMS if kind == "clients" else MODELS
    return ("name", "what"), [(name, _first_line(item)) for name, item in described.items()]


def _first_line(item: object) -> str:
    return (item.__doc__ or "").partition("\n")[0]
