"""Pre-aggregators, one a module."""

from __future__ import annotations

from byzflower.preaggregator.arc import ARC
from byzflower.preaggregator.bucketing import Bucketing
from byzflower.preaggregator.clip import Clip
from byzflower.preaggregator.nnm import NNM
from byzflower.preaggregator.resampling import Resampling

__all__ = ["ARC", "NNM", "Bucketing", "Clip", "Resampling"]
