"""Pre-aggregators, one a module."""

from __future__ import annotations

from byzflower.preaggregator.arc import ARC
from byzflower.preaggregator.clip import Clip
from byzflower.preaggregator.nnm import NNM

__all__ = ["ARC", "NNM", "Clip"]
