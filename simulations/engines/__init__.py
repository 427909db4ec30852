"""Engines: the same ServerApp and ClientApp in this process or in Ray workers."""

from __future__ import annotations

from byzflower.simulations.engines.batched import BatchedGrid
from byzflower.simulations.engines.inprocess import InProcessGrid, run_in_process
from byzflower.simulations.engines.nodes import partition_ids
from byzflower.simulations.engines.ray import RayEngineError, RayGrid, run_on_ray

__all__ = [
    "BatchedGrid",
    "InProcessGrid",
    "RayEngineError",
    "RayGrid",
    "partition_ids",
    "run_in_process",
    "run_on_ray",
]
