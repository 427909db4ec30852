from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from byzflower.clients import ClientTask, Objective
from byzflower.clients.sampling import client_generator, draw_batch


def test_the_draw_follows_seed_client_and_round():
    def draw(seed, client, server_round):
        indices, key = draw_batch(seed, client, server_round, 1000, (20,))
        return (*indices.tolist(), key)

    assert draw(1, 2, 3) == draw(1, 2, 3)
    draws = {draw(s, i, t) for s in range(3) for i in range(3) for t in range(3)}
    assert len(draws) == 27


def test_golden_draw():
    indices, key = draw_batch(1, 2, 3, 10, (4,))
    assert (indices.tolist(), key) == ([0, 5, 6, 8], 1312867579)


def test_no_repetition_inside_a_batch_and_independent_steps():
    indices, _ = draw_batch(0, 0, 1, 30, (50, 20))
    assert indices.shape == (50, 20)
    assert indices.dtype == np.int64
    assert all(len(set(row)) == 20 for row in indices.tolist())
    assert len({tuple(sorted(row)) for row in indices.tolist()}) == 50
    assert set(indices.flatten().tolist()) == set(range(30))


def test_every_example_is_drawn_equally_often():
    counts = np.zeros(8)
    for t in range(2000):
        counts[draw_batch(3, 1, t, 8, (2,))[0]] += 1
    # Binomial(2000, 1/4): standard deviation 19.4.
    assert np.abs(counts - 500).max() < 90


def test_a_batch_is_cut_to_the_examples_there_are():
    assert sorted(draw_batch(0, 0, 1, 3, (10,))[0]) == [0, 1, 2]
    assert draw_batch(0, 0, 1, 3, (2, 10))[0].shape == (2, 3)


def test_purposes_are_independent_streams():
    draws = [client_generator(1, 2, 3, p).integers(2**32, size=50) for p in ("batch", "attack")]
    assert not np.intersect1d(*draws).size


def test_the_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draw_batch(1, 2, 3, 10, (4,))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ((-1, 0, 0), "`seed` needs an integer ≥ 0; found -1"),
        ((0, 1.5, 0), "`partition_id` needs an integer ≥ 0; found 1.5"),
        ((0, 0, 2**64), r"`server_round` needs an integer < 2\*\*64; found 18446744073709551616"),
    ],
)
def test_out_of_range_is_refused(bad, text):
    with pytest.raises(ValueError, match=text):
        client_generator(*bad)


def test_no_examples_and_no_batch_are_refused():
    with pytest.raises(ValueError, match="client 4 needs at least one training example; found 0"):
        draw_batch(0, 4, 1, 0, (2,))
    with pytest.raises(ValueError, match=r"`shape` needs sizes ≥ 1; found \(0,\)"):
        draw_batch(0, 4, 1, 5, (0,))


def task(**changes):
    values = {"x": torch.randn(5, 2), "y": torch.arange(5), "partition_id": 3, "batch_size": 2}
    return ClientTask(Objective(nn.Linear(2, 5)), **{**values, **changes})


def test_task_draws_its_own_examples():
    drawn = task()
    rows, batch = drawn.draw(server_round=4, shape=(3, 2))
    assert torch.equal(batch.x, drawn.x[rows])
    assert torch.equal(batch.y, rows)
    assert batch.key.shape == ()
    assert batch.key.dtype == torch.int32


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 0}, "`ClientTask` needs an integer batch_size ≥ 1; found 0"),
        ({"batch_size": 2.5}, "`ClientTask` needs an integer batch_size ≥ 1; found 2.5"),
        ({"partition_id": "3"}, "`partition_id` needs an integer ≥ 0; found '3'"),
        ({"seed": 0.5}, "`seed` needs an integer ≥ 0; found 0.5"),
        ({"y": torch.arange(4)}, "client 3 needs as many labels .* found 5 examples, 4 labels"),
        ({"x": torch.ones(0, 2), "y": torch.ones(0)}, "found 0 examples, 0 labels"),
        ({"x_eval": torch.ones(1, 2)}, "needs x_eval and y_eval together; found only x_eval"),
    ],
)
def test_task_is_checked(changes, text):
    with pytest.raises(ValueError, match=text):
        task(**changes)


def test_labels_can_be_flipped_at_load_time():
    honest = task()
    flipped = honest.with_labels(lambda y: 4 - y)
    assert flipped.y.tolist() == [4, 3, 2, 1, 0]
    assert honest.y.tolist() == [0, 1, 2, 3, 4]
