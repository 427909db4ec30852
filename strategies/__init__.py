"""Flower strategies that survive malicious clients."""

from __future__ import annotations

from byzflower.strategies.arrays import SharedArray, to_record, to_tensor

__all__ = ["SharedArray", "to_record", "to_tensor"]
