from __future__ import annotations

import numpy as np
import pytest

from byzflower.kernels import Reduction
from byzflower.kernels.network import Window, comparators, network


def reductions(m: int) -> list[Reduction]:
    trimmed = [Reduction("trimmed_mean", trim) for trim in range((m + 1) // 2)]
    return trimmed + [Reduction("around_median", keep) for keep in range(1, m + 1)]


@pytest.mark.parametrize("m", range(1, 12))
def test_every_zero_one_input_reaches_its_positions(m: int) -> None:
    inputs = np.array([[bit >> row & 1 for row in range(m)] for bit in range(1 << m)]).T
    expected = np.sort(inputs, axis=0)
    for reduction in reductions(m):
        window = Window.of(reduction, m)
        wires = inputs.copy()
        for step in network(m, window):
            low, high = wires[step.low].copy(), wires[step.high].copy()
            # A side that is said to be unread gets a value that would spoil the result.
            wires[step.low] = np.minimum(low, high) if step.keeps_low else -99
            wires[step.high] = np.maximum(low, high) if step.keeps_high else -99
        roles = [window.role(position) for position in range(m)]
        for role in set(roles) - {None}:
            positions = [position for position in range(m) if roles[position] == role]
            np.testing.assert_array_equal(
                wires[positions].sum(axis=0), expected[positions].sum(axis=0)
            )


@pytest.mark.parametrize("m", range(1, 12))
def test_the_whole_network_sorts_and_no_comparator_is_idle(m: int) -> None:
    wires = np.array([[bit >> row & 1 for row in range(m)] for bit in range(1 << m)]).T
    expected = np.sort(wires, axis=0)
    for i, j in comparators(m):
        assert i < j
        assert (wires[i] > wires[j]).any()
        wires[[i, j]] = np.minimum(wires[i], wires[j]), np.maximum(wires[i], wires[j])
    np.testing.assert_array_equal(wires, expected)


def test_pruning_removes_comparators() -> None:
    whole = Window(keep=1, first=0, last=29, middle=())
    for reduction in (Reduction("trimmed_mean", 6), Reduction.median(30)):
        assert len(network(30, Window.of(reduction, 30))) < len(network(30, whole))
