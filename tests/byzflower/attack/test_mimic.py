"""Mimic against the recursion written out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from byzflower.attack import Mimic
from byzflower.attack.mimic import MimicState


def recursion(rounds: list[np.ndarray], start: np.ndarray, warmup: int) -> list[int]:
    """Workers copied in each round, and nothing shared with the implementation."""
    z, mu, worker, copied = start, np.zeros(rounds[0].shape[1]), -1, []
    for t, x in enumerate(rounds):
        if t < warmup:
            mu = (t * mu + x.mean(axis=0)) / (1 + t)
            s = sum(((row - mu) @ z) * (row - mu) for row in x)
            z = t * z / (1 + t) + s / np.linalg.norm(s) / (1 + t)
            z = z / np.linalg.norm(z)
            worker = int(np.argmax([row @ z for row in x]))
        copied.append(worker)
    return copied


def test_copies_whom_the_recursion_says() -> None:
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(6, 30))
    rounds = [centres + 0.8 * rng.normal(size=(6, 30)) for _ in range(12)]
    start = torch.randn(30, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    expected = recursion(rounds, start.numpy(), warmup=8)
    assert len(set(expected[:8])) > 1  # the warm-up learns something
    generator, state, copied = torch.Generator().manual_seed(7), None, []
    for x in rounds:
        rows, state = Mimic(warmup=8).step(torch.from_numpy(x), 2, rng=generator, state=state)
        copied.append(next(i for i in range(6) if np.array_equal(rows[0].numpy(), x[i])))
        assert torch.equal(rows[0], rows[1])
    assert copied == expected


def test_learns_the_direction_of_greatest_variance() -> None:
    rng, state = torch.Generator().manual_seed(0), None
    for _ in range(60):
        x = torch.randn(8, 20, generator=rng) * 0.3
        x[:, 4] += torch.linspace(-3, 3, 8)
        _, state = Mimic().step(x, 1, rng=rng, state=state)
    assert abs(float(state.direction[4])) > 0.98
    assert state.worker in (0, 7)
    assert state.rounds == 60


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_learns_at_any_scale(scale, honest) -> None:
    picks = []
    for factor in (1.0, scale):
        rng, state = torch.Generator().manual_seed(0), None
        for seed in range(4):
            rows = honest(6, seed=seed) * factor
            _, state = Mimic().step(rows, 1, rng=rng, state=state)
        picks.append(state.worker)
    assert picks[0] == picks[1]


def test_worker_stays_after_the_warmup_unless_their_number_changes(honest) -> None:
    attack, rng = Mimic(warmup=1), torch.Generator().manual_seed(0)
    _, state = attack.step(honest(6), 1, rng=rng)
    later = -honest(6)  # now the copied worker is the least aligned
    rows, after = attack.step(later, 1, state=state)
    assert torch.equal(rows[0], later[state.worker])
    assert torch.equal(after.direction, state.direction)
    fewer = honest(5, seed=1)
    rows, _ = attack.step(fewer, 1, state=after)
    assert torch.equal(rows[0], fewer[int((fewer @ after.direction).argmax())])


def test_equal_updates_leave_the_direction_alone(honest) -> None:
    same = honest(1).expand(4, -1)
    rows, state = Mimic().step(same, 1, rng=torch.Generator().manual_seed(0))
    assert torch.equal(rows[0], same[0])
    assert float(torch.linalg.vector_norm(state.direction)) == pytest.approx(1.0)


def test_state_goes_in_and_out_unchanged(honest) -> None:
    _, state = Mimic().step(honest(5), 1, rng=torch.Generator().manual_seed(0))
    before = pickle.loads(pickle.dumps(state))
    Mimic().step(honest(5, seed=2), 1, state=state)
    assert isinstance(before, MimicState)
    assert torch.equal(before.direction, state.direction)
    assert torch.equal(before.mean, state.mean)
    assert (before.rounds, before.worker, before.h) == (state.rounds, state.worker, state.h)
