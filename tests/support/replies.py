"""A small model and rounds of replies about it, for the tests of strategies."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

MODEL = {"w": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), "b": np.array([5.0], np.float32)}
STEPS = [0.1, 0.2, 0.3, 0.4, 90.0]  # the last node's update is far away


def shifted(make_content: Any, steps: list[float] = STEPS, **metrics: float) -> list[RecordDict]:
    return [
        make_content({k: v + np.float32(s) for k, v in MODEL.items()}, **metrics) for s in steps
    ]


def gradients(make_content: Any, steps: list[float] = STEPS) -> list[RecordDict]:
    return [make_content({k: np.full_like(v, s) for k, v in MODEL.items()}) for s in steps]


def values(arrays: ArrayRecord) -> dict[str, np.ndarray]:
    return {key: array.numpy() for key, array in arrays.items()}


class Nodes:
    """A grid that knows its nodes and nothing else."""

    def __init__(self, nodes: list[int]) -> None:
        self.nodes = nodes

    def get_node_ids(self) -> list[int]:
        return self.nodes
