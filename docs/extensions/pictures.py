"""Pictures for the catalogue: what a rule, an attack or a partition does, drawn by itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import byzflower as bf
from byzflower.simulations.partitions import parse_partition
from byzflower.strategies.schedules import parse_schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HONEST, _FAULTY, _RESULT, _MEAN = "#0072B2", "#D55E00", "#000000", "#7F7F7F"
_F = 3
_DRAWS = 40
"""How often a random aggregation is drawn."""


def picture(kind: str, name: str, spec: str, path: Path) -> str | None:
    """Draw an entry into an SVG file; return what the picture shows, or None if there is none."""
    draw = {
        "rule": _rule,
        "pool": _rule,
        "preaggregator": _preaggregator,
        "attack": _attack,
        "schedule": _schedule,
        "partition": _partition,
    }.get(kind)
    if draw is None:
        return None
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    FigureCanvasSVG(figure)
    text = draw(figure.add_subplot(), spec)
    if text is not None:
        figure.savefig(path)
    return text


def _rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Thirteen honest rows around (1, 1), and three colluders' far away."""
    honest = torch.randn(13, 2, generator=torch.Generator().manual_seed(4)) + 1
    faulty = torch.tensor([[4.6, -2.6], [4.9, -2.9], [5.2, -2.4]])
    return honest, faulty


def _rule(axes: Axes, spec: str) -> str:
    honest, faulty = _rows()
    everything = torch.cat([honest, faulty])
    rule = bf.parse(spec)
    results = torch.stack([rule(everything, f=_F, rng=_rng(i)) for i in range(_DRAWS)])
    distinct = torch.unique(results, dim=0)
    _scatter(axes, honest, faulty)
    axes.scatter(*distinct.T, marker="*", s=150, color=_RESULT, label=spec, zorder=3)
    axes.scatter(*everything.mean(0), marker="x", s=60, color=_MEAN, label="mean of all")
    _finish(axes)
    often = "" if len(distinct) == 1 else f" in {_DRAWS} draws"
    return f"What {spec} returns{often} for 13 honest rows and 3 far ones, f = 3."


def _preaggregator(axes: Axes, spec: str) -> str:
    honest, faulty = _rows()
    everything = torch.cat([honest, faulty])
    step = bf.parse(f"{spec} > mean").before[0]
    random = {"rng": _rng(0)} if step.name in {"bucketing", "resampling"} else {}
    mixed = getattr(bf.functional, step.name)(everything, _F, **dataclasses.asdict(step), **random)
    _scatter(axes, honest, faulty)
    axes.scatter(*mixed.T, marker="s", s=22, color=_RESULT, label=f"rows after {spec}", zorder=3)
    _finish(axes)
    return f"The rows that {spec} hands to the rule, for 13 honest rows and 3 far ones, f = 3."


def _attack(axes: Axes, spec: str) -> str | None:
    honest, _ = _rows()
    rule = bf.parse("trimmed_mean")
    attack = bf.parse_attack(spec)
    try:
        forged = attack(honest, _F, rule=rule, rng=_rng(0))
    except TypeError:  # it acts on the colluders' data
        return None
    if not bool(torch.isfinite(forged).all()):
        return None
    _scatter(axes, honest, forged)
    axes.scatter(*honest.mean(0), marker="x", s=70, color=_HONEST, label="honest mean")
    attacked = rule(torch.cat([honest, forged]), f=_F)
    axes.scatter(*attacked, marker="*", s=150, color=_RESULT, label="trimmed mean", zorder=3)
    _finish(axes)
    return f"What 3 colluders send under {spec} to 13 honest rows, and where it takes the rule."


def _schedule(axes: Axes, spec: str) -> str:
    rounds = range(1, 201)
    schedule = parse_schedule(spec)
    axes.step(rounds, [schedule(t) for t in rounds], where="post", color=_HONEST)
    axes.set(xlabel="round", ylabel="learning rate", ylim=(0, None))
    return f"{spec} over 200 rounds."


def _partition(axes: Axes, spec: str) -> str:
    labels = np.repeat(np.arange(10), 120)
    shares = parse_partition(spec).split(labels, 30, seed=0)
    counts = np.stack([np.bincount(labels[share], minlength=10) for share in shares])
    image = axes.imshow(counts.T, cmap="cividis", aspect="auto", origin="lower")
    axes.set(xlabel="client", ylabel="class", yticks=range(0, 10, 3))
    axes.figure.colorbar(image, ax=axes, label="rows")
    return f"Rows of each class that thirty clients hold under {spec}, of 120 a class."


def _scatter(axes: Axes, honest: torch.Tensor, faulty: torch.Tensor) -> None:
    axes.scatter(*honest.T, s=28, color=_HONEST, label="honest rows")
    axes.scatter(*faulty.T, s=34, marker="v", color=_FAULTY, label="faulty rows")


def _finish(axes: Axes) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False, loc="best")


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
