"""The papers' coefficients as curves, in PNGs: RESAM Table 1, ARC's κ, RS-Byrd-SAGA Figure 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byzflower.certify import Certificate
from byzflower.theory import arc, byrd_saga, resam

from .figures import COLOURS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_coefficients", "plot_learning_error"]

_MARKERS = ("o", "s", "^", "v", "D", "P")


def plot_coefficients(
    n: int, path: str | Path, *, d: int | None = None, found: Sequence[Certificate] = ()
) -> None:
    """Draw the proved λ (left) and κ (right) against f/n for n rows, f = 1 … (n−1)/2.

    Parameters
    ----------
    n
        Number of rows, at least 3.
    path
        PNG file to write.
    d
        Dimension in Δ; ``None`` for the bound that holds in every dimension.
    found
        Certificates for n rows; what their searches found is drawn as crosses.
    """
    faults = range(1, (n - 1) // 2 + 1)
    figure = new_figure(11.0, 5.6)
    left, right = figure.subplots(1, 2)
    lambdas = {
        rule: [resam.resilience_coefficient(rule, n, f, d) for f in faults]
        for rule in resam.RESILIENT_RULES
    }
    mixed = [arc.after_nnm(n, f) for f in faults]
    kappas = {
        "geometric_median": [byrd_saga.amplification(n, f) ** 2 for f in faults],
        "nnm > rule": mixed,
        "arc > nnm > rule": [
            arc.after_arc(kappa, n, f) for kappa, f in zip(mixed, faults, strict=True)
        ],
    }
    shares = [f / n for f in faults]
    _curves(left, shares, lambdas)
    _curves(right, shares, kappas)
    floors = [resam.lower_bound(n, f) for f in faults], [arc.lower_bound(n, f) for f in faults]
    for axes, floor in zip((left, right), floors, strict=True):
        axes.plot(shares, floor, color="black", linestyle=":", label="lower bound of any rule")
    for certificate in found:
        _mark(left, certificate, certificate.lambda_found)
        _mark(right, certificate, certificate.kappa_found)
    dimension = "any dimension" if d is None else f"d = {d}"
    _decorate(left, f"RESAM Table 1: λ, n = {n}, {dimension}", "λ")
    _decorate(right, f"κ with NNM and ARC (rule: one of ARC's four), n = {n}", "κ")
    figure.savefig(path)


def plot_learning_error(n: int, path: str | Path, *, factors: Sequence[int] = (2, 3, 4)) -> None:
    """Draw RS-Byrd-SAGA's Figure 2: learning error (δ² = 1) against α = B/W, for W = n workers.

    Parameters
    ----------
    n
        Number of workers; the paper's figure has 30.
    path
        PNG file to write.
    factors
        Resampling factors s, drawn beside Byrd-SAGA (no resampling).
    """
    figure = new_figure(6.4, 5.0)
    axes = figure.subplots()
    curves = {"Byrd-SAGA: $C_α^2$": byrd_saga.error_curve(n)}
    for s in factors:
        curves[f"RS-Byrd-SAGA, s = {s}: $d\\,C_{{sα}}^2$"] = byrd_saga.error_curve(n, s)
    for (label, points), colour, marker in zip(curves.items(), COLOURS, _MARKERS, strict=False):
        shares, errors = zip(*points, strict=True)
        axes.plot(shares, errors, color=colour, marker=marker, markersize=4, label=label)
    _decorate(axes, f"RS-Byrd-SAGA Figure 2: learning error, W = {n}", "learning error / δ²")
    axes.set_xlabel("α = B/W")
    figure.savefig(path)


def _curves(axes: Axes, shares: Sequence[float], curves: dict[str, list[float]]) -> None:
    for (label, values), colour, marker in zip(curves.items(), COLOURS, _MARKERS, strict=False):
        axes.plot(shares, values, color=colour, marker=marker, markersize=4, label=label)


def _mark(axes: Axes, certificate: Certificate, value: float) -> None:
    if math.isfinite(value) and value > 0:
        label = f"found: {certificate.rule}, f = {certificate.f}"
        axes.plot(
            certificate.f / certificate.n, value, "x", color="black", markersize=9, label=label
        )


def _decorate(axes: Axes, title: str, ylabel: str) -> None:
    axes.set_yscale("log")
    axes.set_title(title, fontsize=11, loc="left")
    axes.set(xlabel="f/n", ylabel=ylabel)
    plain(axes)
    # below the axes the legend never hides a curve
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
