"""What a client's examples may be, and what its evaluation reports."""

from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest
import torch
from torch import nn

from byzflower.clients import ClientTask, Gradient, Objective, make_client_app
from byzflower.clients.augmentation import random_flip


def make_task(x, y, objective=None, **options):
    return ClientTask(objective or Objective(nn.Linear(2, 3)), x, y, 0, 2, **options)


def test_numpy_arrays_get_the_dtypes_that_the_model_takes():
    x, y = np.ones((4, 2)), np.array([0, 1, 2, 0], dtype=np.int16)
    task = make_task(x, y, x_eval=x[::-1], y_eval=y.astype(">i4"))
    assert (task.x.dtype, task.y.dtype) == (torch.float32, torch.int64)
    assert (task.x_eval.dtype, task.y_eval.tolist()) == (torch.float32, [0, 1, 2, 0])
    double = make_task(x, y, Objective(nn.Linear(2, 3).double()))
    assert double.x.dtype == torch.float64
    assert make_task(x.astype(np.uint8), y).x.dtype == torch.uint8


def test_memory_that_may_only_be_read_is_copied():
    x = np.ones((4, 2), dtype=np.float32)
    x.flags.writeable = False
    assert make_task(x, np.zeros(4, dtype=int)).x.data_ptr() != x.ctypes.data


def test_trees_are_drawn_together():
    x = UserDict(ids=np.arange(6), more=(torch.arange(6) * 10, torch.arange(6) * 100))
    task = make_task(x, {"y": torch.arange(6)})
    rows, batch = task.draw(1, (2, 3))
    torch.testing.assert_close(batch.x["ids"], rows)
    torch.testing.assert_close(batch.x["more"], (rows * 10, rows * 100))
    torch.testing.assert_close(batch.y, {"y": rows})
    assert task.num_examples == 6
    assert make_task(torch.ones(3, 2), None).draw(1, (2,))[1].y == {}


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([1, 2], "`x` needs a tensor, a NumPy array of numbers, .*; found list"),
        (None, "`x` needs a tensor, a NumPy array of numbers, .*; found NoneType"),
        ({"ids": ["a", "b"]}, r"`x\['ids'\]` needs a tensor, .*; found list"),
        ((torch.ones(2), "ab"), r"`x\[1\]` needs a tensor, .*; found str"),
        (np.array([None, 1]), r"`x` needs an array of real numbers; found dtype object"),
        (np.array(["a", "b"]), r"`x` needs an array of real numbers; found dtype <U1"),
        (np.ones(2) * 1j, r"`x` needs an array of real numbers; found dtype complex128"),
        ({}, r"needs as many labels as examples, at least one; found \[\] in x, \[2\] in y"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, r"found \[2, 3\] in x, \[2\] in y"),
        (torch.tensor(1.0), "found -1 examples, 2 labels"),
    ],
)
def test_anything_else_is_refused_in_one_line(x, text):
    with pytest.raises((TypeError, ValueError), match=text) as caught:
        make_task(x, torch.tensor([0, 1]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"x_eval": torch.ones(2, 2)}, "found only x_eval"),
        ({"y_eval": torch.ones(2)}, "found only y_eval"),
        ({"x_eval": torch.ones(2, 2), "y_eval": torch.ones(3)}, r"found \[2, 3\]"),
    ],
)
def test_evaluation_data_are_checked(options, text):
    with pytest.raises(ValueError, match=text):
        make_task(torch.ones(2, 2), torch.tensor([0, 1]), **options)


def test_labels_inside_x_cannot_be_flipped():
    with pytest.raises(ValueError, match="client 0 has no `y`"):
        make_task({"labels": torch.ones(2)}, None).with_labels(lambda y: y)


def test_a_metric_of_one_s_own_replaces_the_accuracy(make_message, make_context):
    def errors(outputs, y):
        gap = outputs[:, 0] - y
        return {"mae": gap.abs().mean(), "mse": float(gap.square().mean())}

    torch.manual_seed(0)
    model, x, y = nn.Linear(2, 1), torch.randn(2500, 2), torch.randn(2500)
    objective = Objective(
        model, lambda outputs, y: (outputs[:, 0] - y).square().mean(), metric=errors
    )
    task = make_task(x, y, objective, x_eval=x, y_eval=y)
    app = make_client_app(lambda context: task, Gradient())
    reply = app(make_message(model.state_dict(), kind="evaluate"), make_context())
    gap = (model(x)[:, 0] - y).detach()
    assert dict(reply.content["metrics"]) == {
        "num-examples": 2500,
        "eval_loss": pytest.approx(gap.square().mean().item(), rel=1e-5),
        "mae": pytest.approx(gap.abs().mean().item(), rel=1e-5),
        "mse": pytest.approx(gap.square().mean().item(), rel=1e-5),
    }


def test_outputs_without_loss_or_logits_need_a_criterion():
    class Odd(nn.Linear):
        def forward(self, x):
            return {"scores": super().forward(x)}

    task = make_task(torch.ones(2, 2), torch.tensor([0, 1]), Objective(Odd(2, 3)))
    _, batch = task.draw(1, (2,))
    with pytest.raises(TypeError, match=r"found dict for targets Tensor. Give `Objective` a crit"):
        task.objective.gradient(*task.objective.split(task.objective.initial()), batch)


def test_flips_follow_from_seed_client_and_round():
    x, y = torch.arange(60.0).reshape(10, 1, 2, 3), torch.zeros(10, dtype=torch.int64)
    objective = Objective(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)))

    def batches(partition=0, seed=1, augment=random_flip, shape=(10,)):
        task = ClientTask(objective, x, y, partition, 10, seed=seed, augment=augment)
        return [task.draw(t, shape) for t in range(1, 9)]

    for (rows, flipped), (plain_rows, plain) in zip(batches(), batches(augment=None), strict=True):
        assert torch.equal(rows, plain_rows)  # which examples are drawn is not affected
        mirrored = [not torch.equal(a, b) for a, b in zip(flipped.x, plain.x, strict=True)]
        expected = [b.flip(-1) if m else b for m, b in zip(mirrored, plain.x, strict=True)]
        assert torch.equal(flipped.x, torch.stack(expected))
        assert 0 < sum(mirrored) < 10
    same = [torch.equal(a.x, b.x) for (_, a), (_, b) in zip(batches(), batches(), strict=True)]
    assert all(same)

    def flips(**options):
        pairs = zip(batches(**options), batches(**{**options, "augment": None}), strict=True)
        return [
            [not torch.equal(p, q) for p, q in zip(a.x, b.x, strict=True)]
            for (_, a), (_, b) in pairs
        ]

    assert flips() != flips(partition=1)
    assert flips() != flips(seed=2)
    assert len({tuple(one) for one in flips()}) > 1
    steps = batches(shape=(3, 10))[0][1].x
    assert steps.shape == (3, 10, 1, 2, 3)


def test_only_images_are_flipped():
    with pytest.raises(
        TypeError, match=r"needs images \(…, channels, height, width\); found \(4, 2\)"
    ):
        random_flip(torch.zeros(4, 2), np.random.default_rng(0))
