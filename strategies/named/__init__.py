"""The algorithms of the papers by name: presets over `Robust`, one a module."""

from __future__ import annotations

from byzflower.strategies.named.aggregathor import AggregaThor
from byzflower.strategies.named.byrd_saga import ByrdSaga
from byzflower.strategies.named.mixtailor import MixTailor
from byzflower.strategies.named.resam import Resam
from byzflower.strategies.named.robust_dsgd import RobustDSGD
from byzflower.strategies.named.rsa import Rsa

__all__ = ["AggregaThor", "ByrdSaga", "MixTailor", "Resam", "RobustDSGD", "Rsa"]
