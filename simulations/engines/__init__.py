"""Engines: the same ServerApp and ClientApp, run in this process or in Ray workers.

Each engine is a Flower ``Grid``. :class:`InProcessGrid` calls one client after another and takes
any ClientApp; :class:`BatchedGrid` trains all clients of a round in one batch; :class:`RayGrid`
sends messages to worker processes. All follow the same trajectory for the same seed.

``execution`` calls apps and contains their errors, ``nodes`` says which node has which partition.
"""

from __future__ import annotations

from .batched import BatchedGrid
from .inprocess import InProcessGrid, run_in_process
from .nodes import partition_ids
from .ray import RayEngineError, RayGrid, run_on_ray

__all__ = [
    "BatchedGrid",
    "InProcessGrid",
    "RayEngineError",
    "RayGrid",
    "partition_ids",
    "run_in_process",
    "run_on_ray",
]
