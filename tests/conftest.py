"""Fixtures of the whole suite: real data where there is some, CUDA where there is one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores among them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with mnist10k and covtype, from BYZFLOWER_DATA."""
    path = os.environ.get("BYZFLOWER_DATA")
    if not path:
        pytest.skip("set BYZFLOWER_DATA to a folder with mnist10k/ and covtype-balanced.npz")
    return Path(path)


@pytest.fixture(autouse=True)
def _flower_logs_as_before() -> Iterator[None]:
    """Commands quieten Flower's logger; the next test starts with the level it had."""
    logger = logging.getLogger("flwr")
    level = logger.level
    yield
    logger.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)
