"""From rounds to outcomes: one row for each experiment, its repetitions over seeds summed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..frame import OPTIONS

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["SEEDS", "chosen_only", "name_of", "outcomes", "varying", "worst_case"]

SEEDS = ["seed", "data_seed"]
"""Options in which repetitions of an experiment differ."""
_NOT_SHOWN = {*SEEDS, "data_dir", "download", "threads", "device", "engine", "evaluate_every"}


def varying(frame: DataFrame) -> list[str]:
    """Return the options in which the experiments differ; n is left out where it follows f."""
    names = [
        name for name in OPTIONS if name not in _NOT_SHOWN and frame[name].map(repr).nunique() > 1
    ]
    if "n" in names and "f" in names and (frame["n"] - frame["f"]).nunique() == 1:
        names.remove("n")
    return names


def outcomes(rounds: DataFrame) -> DataFrame:
    """Return one row a run that has a round: its options, ``final`` and ``maximal`` accuracy.

    ``validation_accuracy`` is the best on the rows held out, NaN without any.
    """
    by_run = rounds.sort_values("round").groupby("run", sort=False)
    runs = by_run[["run", *OPTIONS, "finished", "seconds", "selection"]].tail(1)
    runs = runs.set_index("run")
    runs["final"] = by_run["accuracy"].last()
    runs["maximal"] = by_run["accuracy"].max()
    runs["validation_accuracy"] = by_run["validation_accuracy"].max()
    runs["rounds_done"] = by_run["round"].last()
    return runs.reset_index()


def chosen_only(runs: DataFrame, choose: Sequence[str]) -> DataFrame:
    """Keep, of runs that differ in the options to choose, those of the best choice.

    The choice is made on the rows held out, before any attack is known: of each value the worst
    over attacks of the mean over seeds of the best accuracy counts, as ByzFL does.
    """
    if not choose:
        return runs
    others = [name for name in varying(runs) if name not in (*choose, "attack")]
    kept = []
    groups = runs.groupby(others, sort=False, dropna=False) if others else [((), runs)]
    for _, group in groups:
        means = group.groupby([*choose, "attack"], dropna=False)["validation_accuracy"].mean()
        worst = means.groupby(level=list(choose), dropna=False).min()
        best = worst.idxmax()
        wanted = dict(zip(choose, best if isinstance(best, tuple) else (best,), strict=True))
        rows = group
        for name, value in wanted.items():
            rows = rows[rows[name] == value]
        kept.append(rows)
    import pandas as pd  # noqa: PLC0415

    return pd.concat(kept)


def worst_case(runs: DataFrame, by: Sequence[str], measure: str) -> Series[float]:
    """Return, for each choice of ``by``, the least over attacks of the mean over seeds.

    Parameters
    ----------
    runs
        As :func:`outcomes` returns them.
    by
        Options to tell apart.
    measure
        ``"final"`` or ``"maximal"``.
    """
    others = [name for name in varying(runs) if name not in by]
    keys = [*by, *others] or ["rule"]
    means = runs.groupby(keys, dropna=False, sort=False)[measure].mean()
    if not by:
        return means.groupby(lambda _: "all").min()
    return means.groupby(level=list(by), dropna=False, sort=False).min()


def name_of(row: Series[float], options: Sequence[str]) -> str:
    """Return the options' values as text; the rule and the attack go without their names."""
    bare = ("rule", "attack", "client", "partition", "dataset", "model")
    told = [
        str(row[o]) if o in bare else f"{o} = {row[o]:g}" if _number(row[o]) else f"{o} = {row[o]}"
        for o in options
    ]
    return ", ".join(told) or str(row["rule"])


def _number(value: object) -> bool:
    return isinstance(value, int | float)
