"""What Flower's MetricRecord holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["MetricValue", "Metrics"]

MetricValue: TypeAlias = int | float | list[int] | list[float]
"""What a MetricRecord holds under one key."""

Metrics: TypeAlias = Mapping[str, MetricValue]
"""What a MetricRecord holds."""
