"""Experiments small enough for tests."""

from __future__ import annotations

import dataclasses

import pytest

from byzflower.simulations.experiment import Experiment


@pytest.fixture
def small():
    """Return a function: options → a few rounds of five clients, one of them a colluder."""
    base = Experiment(
        rule="trimmed_mean", partition="iid", model="softmax", n=5, f=1, rounds=3, batch=8
    )
    return lambda **options: dataclasses.replace(base, **options)
