"""Aggregation rules, one a module."""

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
