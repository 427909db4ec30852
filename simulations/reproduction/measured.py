"""Items that are no training runs: what theory says, measured where it can be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

import byzflower as bf
from byzflower.certify import certify
from byzflower.theory import aggregathor, byrd_saga, resam

from ..experiment import Experiment
from ..figures import COLOURS
from ..report.labels import labels
from ..report.panels import Panel, drawn_axes, grid_of_axes

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["KINDS"]

_MARKS = ("o-", "s--", "^-.", "v:", "D-", "x--", "P-.")
Options = Mapping[str, Any]


def resilience(options: Options) -> list[Panel]:
    """RESAM Tables 1 and 2: λ and the rate's κ of each rule, and the λ that a search finds."""
    rows = []
    for n, f in options["systems"]:
        lowest = resam.lower_bound(n, f)
        for name in options["rules"]:
            lam = resam.resilience_coefficient(name, n, f)
            rows.append(
                {
                    **{"n": n, "f": f, "rule": name},
                    "λ proved (Table 1)": lam,
                    "λ found": certify(name, n, f, evaluations=options["evaluations"]).lambda_found,
                    "lower bound f/(n−f)": lowest,
                    "κ of the rate, λ²(n−f) (Table 2)": lam**2 * (n - f),
                }
            )
    return [
        Panel(
            "resilience",
            "Resilience coefficients",
            "λ as proved, with Δ = 2√(n−f); the largest ratio that an adversarial search finds, in "
            "up to 30 dimensions; and the term by which the rates of Table 2 differ.",
            None,
            _table(rows),
        )
    ]


def slowdown(options: Options) -> list[Panel]:
    """AggregaThor Theorems: the slowdown √(m/n) on rows without faults."""
    rows = []
    for n, f in options["systems"]:
        for mode, strong in (("weak", False), ("strong", True)):
            if mode not in options["modes"]:
                continue
            rule = bf.parse(options["rules"][mode])
            rng = torch.Generator().manual_seed(1)
            error = mean = 0.0
            for _ in range(options["draws"]):
                batch = torch.randn(n, options["d"], generator=rng, dtype=torch.float64)
                error += float(rule(batch, f).square().sum())
                mean += float(batch.mean(0).square().sum())
            rows.append(
                {
                    **{"n": n, "f": f, "mode": mode, "rule": rule.spec},
                    "m": aggregathor.selected_rows(n, f, strong=strong),
                    "slowdown √(m/n), theory": aggregathor.slowdown(n, f, strong=strong),
                    "slowdown, measured": math.sqrt(mean / error),
                    "variance × n, measured": n * error / options["draws"] / options["d"],
                }
            )
    table = _table(rows)
    figure, (axes,) = grid_of_axes(1)
    drawn_axes(axes)
    heights = range(len(table))[::-1]
    names = [f"{row['mode']}, n = {row['n']}, f = {row['f']}" for row in rows]
    theory, measured = "slowdown √(m/n), theory", "slowdown, measured"
    axes.scatter(table[theory], heights, marker="s", color="#D55E00", label="theory")
    axes.scatter(table[measured], heights, marker="o", color="#0072B2", label="measured")
    axes.set_yticks(heights, names, fontsize=8)
    axes.set_xlabel("slowdown: standard deviation of the mean / of the rule", fontsize=9)
    axes.set_xlim(0, 1.05)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=2)
    text = (
        "Independent Gaussian rows and no fault: the mean's standard deviation over the rule's, "
        "and the variance in units of the mean's."
    )
    panels = [Panel("slowdown", "Slowdown without faults", text, figure, table)]
    if "leeway" in options:
        panels.append(_leeway(options))
    return panels


def _leeway(options: Options) -> Panel:
    """How far colluders move one coordinate while they hide in the others' noise."""
    n, f = options["systems"][0]
    rows = []
    for d in options["leeway"]:
        row: dict[str, Any] = {"d": d, "√d": math.sqrt(d)}
        for mode, spec in options["rules"].items():
            rule, most = bf.parse(spec), 0.0
            rng = torch.Generator().manual_seed(1)
            honest = torch.randn(n - f, d, generator=rng, dtype=torch.float64)
            for size in torch.logspace(-1, 1, 25).tolist():
                forged = honest.mean(0).repeat(f, 1)
                forged[:, 0] += size * math.sqrt(d)
                moved = rule(torch.cat([honest, forged]), f)[0] - honest[:, 0].mean()
                most = max(most, float(moved))
            row[f"{mode}: {spec}"] = most
        rows.append(row)
    table = _table(rows)
    figure, (axes,) = grid_of_axes(1)
    drawn_axes(axes)
    for name, mark, colour in zip(table.columns[1:], _MARKS, COLOURS, strict=False):
        axes.plot(table["d"], table[name], mark, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("dimension d", fontsize=9)
    axes.set_ylabel("largest shift of the attacked coordinate", fontsize=9)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=3)
    text = (
        f"n = {n}, f = {f}: the colluders send the honest mean, moved in one coordinate alone; the "
        "largest shift of the aggregate there, over 25 sizes, in standard deviations."
    )
    return Panel("leeway", "Leeway in one coordinate", text, figure, table)


def learning_error(options: Options) -> list[Panel]:
    """RS-Byrd-SAGA Figure 2: the learning error against α, with and without resampling."""
    rows = []
    figure, (axes,) = grid_of_axes(1)
    drawn_axes(axes)
    for s, mark, colour in zip(options["s"], _MARKS, COLOURS, strict=False):
        curve = byrd_saga.error_curve(options["W"], s)
        name = "Byrd-SAGA" if s == 1 else f"RS-Byrd-SAGA, s = {s}"
        axes.plot(*zip(*curve, strict=True), mark, color=colour, label=name, markersize=4)
        rows += [{"method": name, "α": alpha, "d C²": error} for alpha, error in curve]
    axes.set_yscale("log")
    axes.set_xlabel("α, share of Byzantine workers", fontsize=9)
    axes.set_ylabel("learning error / δ²", fontsize=9)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=2)
    text = f"C_α² of Byrd-SAGA and d·C_sα² with resampling, W = {options['W']} workers."
    return [Panel("learning-error", "Learning error", text, figure, _table(rows))]


def label_counts(options: Options) -> list[Panel]:
    """ARC Figure 7: the labels that each honest client holds."""
    import pandas as pd  # noqa: PLC0415

    given = {key: value for key, value in options.items() if key != "partition"}
    configs = [
        Experiment.from_options({**given, "partition": partition}).config()
        for partition in options["partition"]
    ]
    return list(labels(pd.DataFrame(configs)))


def runtime(options: Options) -> list[Panel]:
    """ARC Figure 24: seconds of each step against the model's size and the number of workers."""
    rows = []
    for n, d in [
        *((options["n"], d) for d in options["sizes"]),
        *((n, options["d"]) for n in options["workers"]),
    ]:
        updates = torch.randn(n, d, generator=torch.Generator().manual_seed(1))
        row: dict[str, Any] = {"n": n, "f": options["f"], "d": d}
        for spec in options["rules"]:
            rule = bf.parse(spec)
            taken = []
            for _ in range(options["repeats"]):
                began = time.perf_counter()
                rule(updates, options["f"])
                taken.append(time.perf_counter() - began)
            row[f"{spec}, ms"] = 1e3 * min(taken)
        rows.append(row)
    table = _table(rows)
    figure, axes = grid_of_axes(2)
    split = len(options["sizes"])
    for place, part, x in zip(axes, (table[:split], table[split:]), ("d", "n"), strict=True):
        drawn_axes(place, "n fixed" if x == "d" else "d fixed")
        for spec, mark, colour in zip(options["rules"], _MARKS, COLOURS, strict=False):
            place.plot(part[x], part[f"{spec}, ms"], mark, color=colour, label=spec, markersize=4)
        place.set_xlabel(x, fontsize=9)
        place.set_ylabel("ms", fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", fontsize=8, frameon=False, ncols=3)
    text = f"The fastest of {options['repeats']}, on this machine's CPU."
    return [Panel("runtime", "Time of an aggregation", text, figure, table)]


def _table(rows: list[dict[str, Any]]) -> DataFrame:
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(rows)


KINDS: dict[str, Callable[[Options], list[Panel]]] = {
    "resilience": resilience,
    "slowdown": slowdown,
    "learning_error": learning_error,
    "labels": label_counts,
    "runtime": runtime,
}
"""Kind of an item → what measures it."""
