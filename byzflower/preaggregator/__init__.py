"""Pre-aggregators, one a module: what replaces the n updates before a rule sees them.

A pre-aggregator is a frozen dataclass derived from :class:`byzflower.PreAggregator`. From the Gram
matrix of the rows it returns a mixing matrix; the new rows are never computed unless a
coordinate-wise rule follows.

``arc`` and ``clip`` shorten long rows (by an adaptive threshold, by a fixed one), ``nnm`` averages
each row with its nearest ones, ``bucketing`` and ``resampling`` average random ones.
"""

from __future__ import annotations

from byzflower.preaggregator.arc import ARC
from byzflower.preaggregator.bucketing import Bucketing
from byzflower.preaggregator.clip import Clip
from byzflower.preaggregator.nnm import NNM
from byzflower.preaggregator.resampling import Resampling

__all__ = ["ARC", "NNM", "Bucketing", "Clip", "Resampling"]
