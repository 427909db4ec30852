"""``byzflower bench``: measure, on this machine, what the documentation claims."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Quiet

if TYPE_CHECKING:
    from ..bench.measure import Row
    from ..results import ResultsFile

__all__ = ["Suite", "command"]


class Suite(StrEnum):
    """What to measure."""

    rules = "rules"
    attacks = "attacks"
    engines = "engines"
    end_to_end = "end-to-end"
    strategies = "strategies"
    startup = "startup"
    sweep = "sweep"
    robustness = "robustness"


def command(
    suite: Annotated[Suite, typer.Argument(help="what to measure")],
    *,
    repeats: Annotated[int, typer.Option(min=1, help="counted repetitions")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    ray: Annotated[bool, typer.Option(help="include Ray workers")] = True,
    many: Annotated[
        bool,
        typer.Option("--many", help="of rules: growth over 250 … 2,000 rows, drawn"),
    ] = False,
    out: Annotated[
        Path, typer.Option(help="folder for results.jsonl; of robustness, one or an .md file")
    ] = Path("runs/bench"),
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object a figure, not tables")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Measure medians and ratios against installed peers and against the limits.

    Subjects run in turn, and a ratio is the median over repetitions of the pairwise ratios; where
    results disagree no ratio is printed. Peers are measured where they are installed (ByzFL by the
    `bench` extra); of what Flower ships, its own strategies. `robustness` sets a corpus of hostile
    replies against Flower's strategies and `Robust`, and writes a page. `sweep` runs a grid on all
    cores, at most three times, and one of 54 cells in ByzFL's own benchmark, once.
    """
    if suite is Suite.robustness:
        page = out if out.suffix == ".md" else out / "robustness.md"
        _robustness(page, quiet=quiet, as_json=as_json)
        return
    from ..bench import training  # Flower sets its level when imported
    from ..experiment import check_device
    from ..results import ResultsFile

    if many and suite is not Suite.rules:
        raise typer.BadParameter("`--many` needs the suite rules", param_hint="--many")
    check_device(device)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with ResultsFile(out) as results:
        if many:
            _many(results, out, as_json=as_json)
            return
        if suite is Suite.rules and device == "cpu":
            _memory(
                results, to_stderr=as_json
            )  # first: what a process has freed, it uses again unseen
        for rows in _suite(suite, training, repeats, device, ray):
            show(rows, as_json=as_json)
            for row in rows:
                results.write("bench", suite.value, **dataclasses.asdict(row))


def _suite(
    suite: Suite, training: ModuleType, repeats: int, device: str, ray: bool
) -> Iterable[list[Row]]:
    from ..bench import attacks, rules, startup, strategies

    if suite is Suite.strategies:
        yield from strategies.bench_strategies(strategies.CASES, repeats=repeats)
        return
    if suite is Suite.startup:
        yield from startup.bench_startup(repeats=repeats)
        return
    if suite is Suite.sweep:
        from ..bench import sweep

        yield sweep.bench_sweep(repeats=min(repeats, 3))
        if (beside := sweep.bench_peer()) is not None:
            yield beside
        return
    if suite is Suite.rules:
        yield from rules.bench_rules(rules.CASES, device=device, repeats=repeats)
        return
    if suite is Suite.attacks:
        yield from attacks.bench_attacks(attacks.CASES, device=device, repeats=repeats)
        return
    engines = ["batched", "inprocess", *(["ray"] if ray else [])]
    repeats = min(repeats, 3)
    experiments = [
        dataclasses.replace(training.DIGITS, device=device),
        dataclasses.replace(training.ARC_MNIST(), device=device),
    ]
    if suite is Suite.engines:
        for experiment in experiments:
            yield from training.bench_engines(experiment, engines, repeats=repeats)
        yield from training.bench_growth(repeats=repeats)
        return
    for attack, rounds in (("foe(tau=10)", 30), ("foe(tau=adaptive)", 6)):
        experiment = dataclasses.replace(training.ARC_MNIST(attack), device=device, rounds=rounds)
        yield from training.bench_end_to_end(experiment, repeats=repeats)


def _robustness(out: Path, *, quiet: bool, as_json: bool) -> None:
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from byzflower.testing.hostile import HOSTILE

    from ..bench.robustness import FINE, STRATEGIES, page, table
    from .terminal import progress_console

    out.parent.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress_console(quiet=quiet)) as progress:
        bars = {name: progress.add_task(name, total=len(HOSTILE)) for name in STRATEGIES}
        cells = table(done=lambda strategy, kind: progress.advance(bars[strategy]))
    for name, column in cells.items():
        if as_json:
            for kind, found in column.items():
                row = {"strategy": name, "reply": kind, "found": found}
                typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            fine = sum(found == FINE for found in column.values())
            typer.echo(f"{name}: fine in {fine} of {len(column)}")
    out.write_text(page(cells), encoding="utf-8")
    typer.echo(f"written to {out}", err=as_json)


def _many(results: ResultsFile, out: Path, *, as_json: bool) -> None:
    from ..bench.many import bench_many, draw_growth

    found: list[Row] = []
    for rows in bench_many():
        show(rows, as_json=as_json)
        for row in rows:
            results.write("bench", "many", **dataclasses.asdict(row))
        found += rows
    draw_growth(found, out / "growth.png")
    typer.echo(f"drawn: {out / 'growth.png'}", err=as_json)


def _memory(results: ResultsFile, *, to_stderr: bool) -> None:
    from ..bench.rules import CASES, PIPELINE, memory_of

    for n, d, f in CASES:
        extra = memory_of(n, d, f)
        if extra is not None:
            told = f"memory beyond the inputs: {PIPELINE} at n={n} d={d:,}: {extra:.0f} MB"
            typer.echo(told, err=to_stderr)
            results.write("bench", "memory", case=f"n={n} d={d}", subject=PIPELINE, extra_mb=extra)


def show(rows: list[Row], *, as_json: bool = False) -> None:
    """Print one case as a table, or as an object a row."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(dataclasses.asdict(row), ensure_ascii=False))
        return
    from rich.table import Table

    from .terminal import console

    table = Table(title=f"{rows[0].suite}: {rows[0].case}", title_justify="left")
    headings = ["subject", "median", "min", "max", f"× {rows[0].reference}"]
    memory = all(row.peak_mb is not None for row in rows)
    parts = any(row.of_parts is not None for row in rows)
    headings += [*(["× its parts"] if parts else []), *(["peak memory"] if memory else [])]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "subject" else "right")
    for row in rows:
        ratio = "results disagree" if row.ratio is None else f"{row.ratio:.2f}"
        times = (f"{1e3 * t:.2f} ms" for t in (row.seconds, row.fastest, row.slowest))
        of_parts = "" if row.of_parts is None else f"{row.of_parts:.2f}"
        more = [of_parts] if parts else []
        more += [f"{row.peak_mb:.0f} MB"] if memory else []
        table.add_row(row.subject, *times, ratio, *more)
    console().print(table)
