"""The rules and pre-aggregators as functions: one call where an object is not worth naming.

Each is its class, built and called: ``krum(x, f, p=3)`` is ``Krum(p=3)(x, f)``, and what the class
says of the parameters, of (n, f) and of errors holds. ``x`` holds n updates, an (n, d) tensor, n
tensors (d,) or `Updates`, f of them possibly faulty; it is not modified, and the result has its
dtype and device.

>>> import torch
>>> import byzflower as bf
>>> updates = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [90.0, -90.0]])
>>> bf.functional.geometric_median(updates, f=1)
tensor([1., 2.])
>>> bf.functional.nnm(updates, f=1)[3]
tensor([ 30.6667, -28.6667])
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from byzflower import preaggregator as _steps
from byzflower import rule as _rules
from byzflower.geometry import Geometry
from byzflower.steps import Pipeline, PreAggregator, entropy, remaining_faults
from byzflower.updates import Rows, Updates

__all__ = [
    "arc",
    "bucketing",
    "bulyan",
    "caf",
    "centered_clipping",
    "cge",
    "clip",
    "geometric_median",
    "krum",
    "krum_star",
    "mda",
    "meamed",
    "mean",
    "median",
    "monna",
    "multi_krum",
    "multi_krum_star",
    "nnm",
    "resampling",
    "sign_votes",
    "smea",
    "trimmed_mean",
]


def mean(x: Rows, f: int = 0) -> Tensor:
    """Average the rows: no robustness, the reference; see `Mean`."""
    return _rules.Mean()(x, f)


def median(x: Rows, f: int) -> Tensor:
    """Return each coordinate's median; see `Median`."""
    return _rules.Median()(x, f)


def trimmed_mean(x: Rows, f: int) -> Tensor:
    """Average each coordinate without its f smallest and f largest values; see `TrimmedMean`."""
    return _rules.TrimmedMean()(x, f)


def meamed(x: Rows, f: int) -> Tensor:
    """Average each coordinate's n − f values nearest the median; see `MeaMed`."""
    return _rules.MeaMed()(x, f)


def krum(x: Rows, f: int, *, p: float = 2.0) -> Tensor:
    """Return the row nearest its n − f − 2 neighbours; see `Krum`."""
    return _rules.Krum(p=p)(x, f)


def krum_star(x: Rows, f: int) -> Tensor:
    """Return the row nearest its n − f − 1 neighbours; see `KrumStar`."""
    return _rules.KrumStar()(x, f)


def multi_krum(x: Rows, f: int, *, m: int | None = None) -> Tensor:
    """Average the m rows of best Krum score; see `MultiKrum`."""
    return _rules.MultiKrum(m=m)(x, f)


def multi_krum_star(x: Rows, f: int, *, q: int | None = None) -> Tensor:
    """Average the q rows of best starred Krum score; see `MultiKrumStar`."""
    return _rules.MultiKrumStar(q=q)(x, f)


def mda(x: Rows, f: int) -> Tensor:
    """Average the n − f rows of least diameter; see `MDA`."""
    return _rules.MDA()(x, f)


def geometric_median(x: Rows, f: int, *, p: float = 2.0) -> Tensor:
    """Return the point of least summed distance to the rows; see `GeometricMedian`."""
    return _rules.GeometricMedian(p=p)(x, f)


def cge(x: Rows, f: int) -> Tensor:
    """Average the n − f rows of least norm; see `CGE`."""
    return _rules.CGE()(x, f)


def smea(x: Rows, f: int) -> Tensor:
    """Average the n − f rows whose covariance has the least top eigenvalue; see `SMEA`."""
    return _rules.SMEA()(x, f)


def caf(x: Rows, f: int) -> Tensor:
    """Average with weights from covariance-bound filtering; see `CAF`."""
    return _rules.CAF()(x, f)


def bulyan(
    x: Rows, f: int, *, inner: str = "krum", p: float = 2.0, outer: str = "around_median"
) -> Tensor:
    """Select n − 2f rows by ``inner``, then average values nearest the median; see `Bulyan`."""
    return _rules.Bulyan(inner=inner, p=p, outer=outer)(x, f)


def monna(x: Rows, f: int, *, trusted: int = 0) -> Tensor:
    """Average the n − f rows nearest the trusted one; see `MoNNA`."""
    return _rules.MoNNA(trusted=trusted)(x, f)


def sign_votes(x: Rows, f: int = 0, *, step: float = 1.0) -> Tensor:
    """Add up the rows' signs, times ``step``; see `SignVotes`."""
    return _rules.SignVotes(step=step)(x, f)


def centered_clipping(
    x: Rows, f: int, *, tau: float = 10.0, steps: int = 1, center: Tensor | None = None
) -> Tensor:
    """Move from ``center`` (0 by default) by rows clipped to τ; see `CenteredClipping`."""
    return _rules.CenteredClipping(tau=tau, steps=steps)(x, f, center=center)


def arc(x: Rows, f: int) -> Tensor:
    """Clip to the norm that ARC adapts to the rows, (n, d); see `ARC`."""
    return _mixed(_steps.ARC(), x, f)


def clip(x: Rows, f: int = 0, *, c: float) -> Tensor:
    """Clip every row to the norm c, (n, d); see `Clip`."""
    return _mixed(_steps.Clip(c=c), x, f)


def nnm(x: Rows, f: int) -> Tensor:
    """Replace every row by the mean of its n − f nearest, (n, d); see `NNM`."""
    return _mixed(_steps.NNM(), x, f)


def bucketing(x: Rows, f: int, *, s: int, rng: torch.Generator | None = None) -> Tensor:
    """Average random groups of s rows, (⌈n/s⌉, d); see `Bucketing`."""
    return _mixed(_steps.Bucketing(s=s), x, f, rng)


def resampling(
    x: Rows, f: int, *, s: int, faults: str = "worst", rng: torch.Generator | None = None
) -> Tensor:
    """Average s random rows n times, (n, d); see `Resampling`."""
    return _mixed(_steps.Resampling(s=s, faults=faults), x, f, rng)


def _mixed(step: PreAggregator, x: Rows, f: int, rng: torch.Generator | None = None) -> Tensor:
    """Return the rows that a pre-aggregator makes of those that are finite, (m, d)."""
    updates = Updates.of(x)
    geometry = Geometry.of(updates, gram=step.needs_gram).ordered()
    faults = remaining_faults(updates, geometry, f, Pipeline((step,), _rules.Mean()))
    matrix = step.mix(geometry, faults, entropy() if rng is None else rng).matrix
    weights = np.zeros((len(matrix), updates.n))
    weights[:, geometry.kept] = matrix[np.argsort(geometry.kept)] if step.keeps_rows else matrix
    return torch.stack([updates.combine(row) for row in weights])
