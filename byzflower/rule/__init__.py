"""Aggregation rules, one a module."""

from __future__ import annotations

from byzflower.rule.geometric_median import GeometricMedian
from byzflower.rule.krum import Krum, KrumStar
from byzflower.rule.mean import Mean
from byzflower.rule.median import Median
from byzflower.rule.multi_krum import MultiKrum, MultiKrumStar
from byzflower.rule.trimmed_mean import TrimmedMean

__all__ = [
    "GeometricMedian",
    "Krum",
    "KrumStar",
    "Mean",
    "Median",
    "MultiKrum",
    "MultiKrumStar",
    "TrimmedMean",
]
