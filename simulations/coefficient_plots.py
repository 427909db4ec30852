"""The papers' coefficients as curves, in PNGs: RESAM Table 1, ARC's κ, RS-Byrd-SAGA Figure 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byzflower.certify import Certificate
from byzflower.errors import InfeasibleError
from byzflower.theory import arc, bounds, byrd_saga, resam

from .figures import COLOURS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_coefficients", "plot_learning_error"]

_PROVED = (*resam.RESILIENT_RULES, "nnm > median", "arc > nnm > median")
_COLOURS = (*COLOURS, "#999999")
_MARKERS = ("o", "s", "^", "v", "D", "P", "*", "p")
_LAMBDA = "$‖R(x) − \\bar{x}_S‖ \\; ≤ \\; λ \\; \\max_{i,j ∈ S} \\; ‖x_i − x_j‖$"
_KAPPA = "$‖R(x) − \\bar{x}_S‖^2 \\; ≤ \\; κ \\; mean_{i ∈ S} \\; ‖x_i − \\bar{x}_S‖^2$"


def plot_coefficients(
    n: int, path: str | Path, *, d: int | None = None, found: Sequence[Certificate] = ()
) -> None:
    """Draw the proved λ (left) and κ (right) of n rows, f = 1 … (n−1)/2 of them faulty.

    Parameters
    ----------
    n
        Number of rows, at least 3.
    path
        PNG file to write.
    d
        Dimension in Δ; ``None`` for the bound that holds in every dimension.
    found
        Certificates for n rows: their rules alone are drawn, what their searches found as crosses.
    """
    figure = new_figure(11.0, 5.8)
    left, right = figure.subplots(1, 2)
    rules = list(dict.fromkeys(certificate.rule for certificate in found)) or list(_PROVED)
    faults = range(1, (n - 1) // 2 + 1)
    colours = {rule: _COLOURS[i % len(_COLOURS)] for i, rule in enumerate(rules)}
    for i, rule in enumerate(rules):
        lam, kappa = zip(*(_proved(rule, n, f, d) for f in faults), strict=True)
        label = rule if found else rule.replace("> median", f"> {', '.join(arc.NNM_RULES)}")
        for axes, values in ((left, lam), (right, kappa)):
            axes.plot(
                faults,
                values,
                color=colours[rule],
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=4,
                label=label if axes is left else None,
            )
            if found and all(map(math.isnan, values)):
                _say(axes, f"{rule}: no theorem gives one")
    left.plot(faults, [resam.lower_bound(n, f) for f in faults], "k:", label="no rule is below")
    right.plot(faults, [arc.lower_bound(n, f) for f in faults], "k:")
    for certificate in found:
        _mark(left, certificate, certificate.lambda_found, colours[certificate.rule])
        _mark(right, certificate, certificate.kappa_found, colours[certificate.rule])
    _decorate(left, f"{_LAMBDA}, {'any dimension' if d is None else f'dimension {d}'}")
    _decorate(right, _KAPPA)
    for axes, symbol in ((left, "λ"), (right, "κ")):
        axes.set(xlabel=f"f faulty rows of n = {n}", ylabel=f"{symbol} (lower is better)")
    told = "what is proved, and the worst input found (×)" if found else "what is proved"
    figure.suptitle(f"Error of a rule R, S any n − f honest rows: {told}", fontsize=11)
    _add_legend(figure)
    figure.savefig(path)


def plot_learning_error(n: int, path: str | Path, *, factors: Sequence[int] = (2, 3, 4)) -> None:
    """Draw RS-Byrd-SAGA's Figure 2, learning error (δ² = 1), against the f malicious of n clients.

    Parameters
    ----------
    n
        Number of clients; the paper's figure has 30, and calls it W and f B.
    path
        PNG file to write.
    factors
        Resampling factors s, drawn beside Byrd-SAGA (no resampling).
    """
    figure = new_figure(6.4, 5.0)
    axes = figure.subplots()
    curves = {"no resampling (Byrd-SAGA)": byrd_saga.error_curve(n)}
    curves |= {f"resampling, s = {s} (RS-Byrd-SAGA)": byrd_saga.error_curve(n, s) for s in factors}
    for (label, points), colour, marker in zip(curves.items(), COLOURS, _MARKERS, strict=False):
        shares, errors = zip(*points, strict=True)
        faults = [round(share * n) for share in shares]
        axes.plot(faults, errors, color=colour, marker=marker, markersize=4, label=label)
    _decorate(axes, "Bound on the learning error of geometric medians (RS-Byrd-SAGA, Figure 2)")
    axes.set(
        xlabel=f"f malicious clients of n = {n}",
        ylabel="error / δ², how far clients differ (lower is better)",
    )
    _add_legend(figure)
    figure.savefig(path)


def _proved(rule: str, n: int, f: int, d: int | None) -> tuple[float, float]:
    """Return the λ and κ that are proved, NaN where none is."""
    try:
        known = bounds(rule, n, f, d)
    except InfeasibleError:  # too many for this rule
        return math.nan, math.nan
    lam, kappa = known.lambda_bound, known.kappa_bound
    return math.nan if lam is None else lam, math.nan if kappa is None else kappa


def _mark(axes: Axes, certificate: Certificate, value: float, colour: str) -> None:
    if not math.isfinite(value):
        _say(axes, f"{certificate.rule}, f = {certificate.f}: found unbounded")
    elif value > 0:
        axes.plot(certificate.f, value, "x", color=colour, markersize=10, markeredgewidth=2)
        axes.annotate(
            f"found: {value:.3g}",
            (certificate.f, value),
            (9, -12),
            textcoords="offset points",
            fontsize=8,
        )


def _say(axes: Axes, text: str) -> None:
    """Write a line into the axes, below those that are there."""
    axes.text(0.02, 0.96 - 0.05 * len(axes.texts), text, transform=axes.transAxes, fontsize=8)


def _decorate(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=10, loc="left", pad=10)
    plain(axes)


def _add_legend(figure: Figure) -> None:
    # Below the axes the legend never hides a curve.
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
