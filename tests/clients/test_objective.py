from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.functional import cross_entropy

from byzflower.clients.algorithms import Batch, Objective
from byzflower.clients.algorithms.dropout import KeyedDropout, keyed


def key(value: int = 1) -> Tensor:
    return torch.tensor(value, dtype=torch.int32)


def batch(size: int = 6, value: int = 1, dtype: torch.dtype = torch.float32) -> Batch:
    return Batch(torch.randn(size, 4, dtype=dtype), torch.arange(size) % 3, key(value))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 5, 2, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(45, 3),
    )


@pytest.mark.parametrize("eager", [False, True])
def test_gradient_with_l2_is_that_of_weight_decay(eager):
    model = nn.Linear(4, 3)
    objective = Objective(model, l2=0.1, eager=eager)
    params, buffers = objective.split(objective.initial())
    examples = batch()
    grads, _, loss = objective.gradient(params, buffers, examples)
    data_loss = cross_entropy(model(examples.x), examples.y)
    data_loss.backward()
    penalty = sum(p.detach().square().sum() for p in model.parameters())
    torch.testing.assert_close(loss, data_loss.detach() + 0.05 * penalty)
    for name, p in model.named_parameters():
        torch.testing.assert_close(grads[name], p.grad + 0.1 * p.detach())


def test_gradient_is_the_derivative_of_loss():
    objective = Objective(convolutional(), l2=0.3)
    params, buffers = objective.split(objective.initial())
    examples = batch()
    grads, left, value = objective.gradient(params, buffers, examples)
    trained = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss, left_too = objective.loss(trained, buffers, examples)
    for g, expected in zip(
        grads.values(), torch.autograd.grad(loss, list(trained.values())), strict=True
    ):
        torch.testing.assert_close(g, expected)
    torch.testing.assert_close(value, loss.detach())
    torch.testing.assert_close(left, left_too)


def test_autograd_and_torch_func_agree():
    objective = Objective(convolutional(), l2=0.01)
    params, buffers = objective.split(objective.initial())
    examples = batch()
    torch.testing.assert_close(
        objective.gradient(params, buffers, examples),
        objective.with_autograd().gradient(params, buffers, examples),
    )


@pytest.mark.parametrize("eager", [False, True])
def test_batchnorm_buffers_are_those_of_module_train(eager):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    objective = Objective(model, eager=eager)
    params, buffers = objective.split(objective.initial())
    before = {name: b.clone() for name, b in buffers.items()}
    for step in range(3):
        examples = batch(value=step)
        _, new, _ = objective.gradient(params, buffers, examples)
        torch.testing.assert_close(buffers, before)
        model.train()(examples.x)
        for name, b in model.named_buffers():
            torch.testing.assert_close(new[name], b)
        buffers, before = new, {name: b.clone() for name, b in new.items()}
    model.eval()
    torch.testing.assert_close(
        objective.outputs(params, buffers, examples.x), model(examples.x).detach()
    )


def test_own_tensors_of_the_model_are_never_touched():
    model = convolutional()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Objective(model, l2=0.1)
    params, buffers = objective.split(objective.initial())
    moved = {name: p + 1 for name, p in params.items()}
    for variant in (objective, objective.with_autograd()):
        variant.gradient(moved, buffers, batch())
        variant.outputs(moved, buffers, torch.randn(2, 4))
    torch.testing.assert_close(dict(model.state_dict()), before)
    assert all(type(m) is not KeyedDropout for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_have_zero_gradient_and_no_penalty():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    model[0].requires_grad_(False)
    for eager in (False, True):
        objective = Objective(model, l2=1.0, eager=eager)
        params, buffers = objective.split(objective.initial())
        grads, _, _ = objective.gradient(params, buffers, batch())
        assert list(grads) == list(params)
        assert not grads["0.weight"].any()
        assert not grads["0.bias"].any()
        assert grads["1.weight"].any()


def test_unused_parameters_have_zero_gradient():
    class Unused(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.idle = nn.Parameter(torch.ones(2))

    for eager in (False, True):
        objective = Objective(Unused(), eager=eager)
        params, buffers = objective.split(objective.initial())
        assert not objective.gradient(params, buffers, batch())[0]["idle"].any()


def test_sample_gradients_average_to_the_gradient():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for eager in (False, True):
        objective = Objective(model, l2=0.2, eager=eager)
        params, buffers = objective.split(objective.initial())
        examples = batch()
        grads, losses = objective.sample_gradients(params, buffers, examples)
        mean, _, loss = objective.gradient(params, buffers, examples)
        torch.testing.assert_close({n: g.mean(0) for n, g in grads.items()}, mean)
        torch.testing.assert_close(losses.mean(), loss)


def test_sample_gradients_refuse_batchnorm():
    objective = Objective(convolutional())
    params, buffers = objective.split(objective.initial())
    with pytest.raises(ValueError, match="need a model without BatchNorm layers"):
        objective.sample_gradients(params, buffers, batch())


@pytest.mark.parametrize("eager", [False, True])
def test_an_unsquared_penalty_is_the_norm_s(eager):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    objective = Objective(model, l2=0.3, squared=False, eager=eager)
    params, buffers = objective.split(objective.initial())
    batch = Batch(torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 1]), torch.tensor(0))
    grads, _, loss = objective.gradient(params, buffers, batch)

    everything = torch.cat([p.flatten() for p in model.parameters()])
    value = nn.functional.cross_entropy(model(batch.x), batch.y) + 0.3 * everything.norm()
    expected = torch.autograd.grad(value, list(model.parameters()))
    torch.testing.assert_close(loss, value.detach())
    for found, other in zip(grads.values(), expected, strict=True):
        torch.testing.assert_close(found, other)
    torch.testing.assert_close(objective.loss(params, buffers, batch)[0].detach(), value.detach())

    zeros = {name: torch.zeros_like(p) for name, p in params.items()}
    assert all(g.isfinite().all() for g in objective.gradient(zeros, buffers, batch)[0].values())


@pytest.mark.parametrize("l2", [-1.0, float("nan"), float("inf")])
def test_l2_is_checked(l2):
    with pytest.raises(ValueError, match=f"`Objective` needs a finite l2 ≥ 0; found {l2}"):
        Objective(nn.Linear(1, 1), l2=l2)


def masks(model: nn.Module, value: int, shape: tuple[int, ...] = (50, 40)) -> Tensor:
    objective = Objective(model, lambda outputs, y: outputs.sum())
    x = torch.ones(shape, requires_grad=True)
    loss, _ = objective.loss({}, {}, Batch(x, torch.zeros(0), key(value)))
    (grad,) = torch.autograd.grad(loss, x)
    return grad


def test_dropout_follows_the_key_alone():
    model = nn.Sequential(nn.Dropout(0.25))
    torch.manual_seed(1)
    first = masks(model, 5)
    torch.manual_seed(2)
    assert torch.equal(first, masks(model, 5))
    assert not torch.equal(first, masks(model, 6))


def test_dropout_keeps_the_right_share_and_the_mean():
    mask = masks(nn.Dropout(0.25), 3, (400, 500))
    assert mask.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert mask.mean() == pytest.approx(1.0, abs=5e-3)
    centred = mask - 1
    for shift in (1, 7, 500):
        assert (centred * centred.roll(shift)).mean() == pytest.approx(0.0, abs=5e-3)


def test_dropout_layers_and_calls_draw_different_masks():
    layer = nn.Dropout(0.5)
    twice = nn.Sequential(layer, nn.Identity(), layer)
    model, layers = keyed(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)))
    x = torch.ones(100, 100)
    a, b = (module(x) for module in model.train())
    assert list(layers) == ["0", "1"]
    assert (a != b).float().mean() == pytest.approx(0.5, abs=0.05)
    # One mask applied twice would keep half of the entries, two masks keep a quarter.
    assert (masks(twice, 1, (100, 100)) > 0).float().mean() == pytest.approx(0.25, abs=0.03)


def test_channel_dropout_zeroes_whole_channels():
    mask = masks(nn.Dropout2d(0.5), 1, (8, 16, 3, 3)).flatten(2)
    assert torch.equal(mask.amin(2), mask.amax(2))
    assert 0 < (mask[..., 0] == 0).float().mean() < 1


def test_full_dropout_is_zero_and_evaluation_is_the_identity():
    assert not masks(nn.Dropout(1.0), 1).any()
    objective = Objective(nn.Dropout(0.9))
    x = torch.randn(3, 3)
    assert torch.equal(objective.outputs({}, {}, x), x)


def test_batched_keys_and_unbatched_buffers_under_vmap_equal_a_loop():
    objective = Objective(convolutional(), l2=0.1)
    params, buffers = objective.split(objective.initial())
    batches = [batch(value=i) for i in range(4)]
    stacked = Batch(*(torch.stack(parts) for parts in zip(*batches, strict=True)))
    grads, left, losses = vmap(lambda b: objective.gradient(params, buffers, b))(stacked)
    for i, one in enumerate(batches):
        g, new, loss = objective.gradient(params, buffers, one)
        torch.testing.assert_close({n: v[i] for n, v in grads.items()}, g, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close({n: v[i] for n, v in left.items()}, new)
        torch.testing.assert_close(losses[i], loss)
