"""Experiments small enough for tests."""

from __future__ import annotations

import dataclasses
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from byzflower.simulations.experiment import Experiment


@pytest.fixture
def small():
    """Return a function: options → a few rounds of five clients, one of them a colluder."""
    base = Experiment(
        rule="trimmed_mean", partition="iid", model="softmax", n=5, f=1, rounds=3, batch_size=8
    )
    return lambda **options: dataclasses.replace(base, **options)


@pytest.fixture(scope="session")
def tolerating_ray() -> Callable[[], AbstractContextManager[None]]:
    """Return a context: Ray leaves /dev/null open and does not wait for its own processes."""

    @contextmanager
    def tolerating() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
            gc.collect()

    return tolerating
