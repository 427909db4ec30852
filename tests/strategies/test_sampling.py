"""Which nodes are asked follows from the seed, not from Python's global generator."""

from __future__ import annotations

import random

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust


def asked(grid, seed, rounds=(1, 2, 3), evaluate=False):
    strategy = Robust(FedAvg(fraction_train=0.5, fraction_evaluate=0.5), "median", 1, seed=seed)
    model = ArrayRecord({"w": Array(np.zeros(2, np.float32))})
    configure = strategy.configure_evaluate if evaluate else strategy.configure_train
    return [
        [m.metadata.dst_node_id for m in configure(r, model, ConfigRecord(), grid)] for r in rounds
    ]


@pytest.fixture
def grid(fake_grid):
    return fake_grid({node: lambda message: None for node in range(20)})


@pytest.mark.parametrize("evaluate", [False, True])
def test_a_seed_decides_which_nodes_are_asked(grid, evaluate):
    random.seed(1)
    first = asked(grid, seed=4, evaluate=evaluate)
    random.seed(2)
    assert asked(grid, seed=4, evaluate=evaluate) == first
    assert asked(grid, seed=5, evaluate=evaluate) != first
    assert first[0] != first[1]
    assert asked(grid, 4, rounds=(3,), evaluate=evaluate) == first[2:]  # as after a resumed run


def test_the_global_generator_stays_as_it_was(grid):
    random.seed(1)
    expected = random.random()
    random.seed(1)
    asked(grid, seed=4)
    assert random.random() == expected


def test_without_a_seed_the_global_generator_decides(grid):
    random.seed(1)
    first = asked(grid, seed=None)
    random.seed(1)
    assert asked(grid, seed=None) == first
