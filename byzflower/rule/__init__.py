"""Aggregation rules, one a module: what turns n updates into one vector.

A rule is a frozen dataclass derived from :class:`byzflower.Rule`. It decides from the Gram matrix
of the updates and returns a plan: weights, or a coordinate-wise reduction.

Weights: ``mean``, ``krum`` (with ``krum_star``), ``multi_krum`` (with ``multi_krum_star``),
``geometric_median``, ``mda``, ``smea``, ``caf``, ``cge``, ``centered_clipping``, ``monna``.
Coordinate by coordinate: ``median``, ``trimmed_mean``, ``meamed``, ``bulyan``, ``sign_votes``;
``coordinatewise`` is the base class of three. ``weiszfeld``, with ``coordinates``, ``descent``,
``many_points`` and ``spread_points``, finds geometric medians, ``median_of_rest`` one after another
while rows are taken away; ``vertex_cover`` does the search of ``mda``.
"""

from __future__ import annotations

from byzflower.rule.bulyan import Bulyan
from byzflower.rule.caf import CAF
from byzflower.rule.centered_clipping import CenteredClipping
from byzflower.rule.cge import CGE
from byzflower.rule.geometric_median import GeometricMedian
from byzflower.rule.krum import Krum, KrumStar
from byzflower.rule.mda import MDA
from byzflower.rule.meamed import MeaMed
from byzflower.rule.mean import Mean
from byzflower.rule.median import Median
from byzflower.rule.monna import MoNNA
from byzflower.rule.multi_krum import MultiKrum, MultiKrumStar
from byzflower.rule.sign_votes import SignVotes
from byzflower.rule.smea import SMEA
from byzflower.rule.trimmed_mean import TrimmedMean

__all__ = [
    "CAF",
    "CGE",
    "MDA",
    "SMEA",
    "Bulyan",
    "CenteredClipping",
    "GeometricMedian",
    "Krum",
    "KrumStar",
    "MeaMed",
    "Mean",
    "Median",
    "MoNNA",
    "MultiKrum",
    "MultiKrumStar",
    "SignVotes",
    "TrimmedMean",
]
