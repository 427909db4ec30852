"""Gradients under vmap are those of torch.func, whatever stands inside or around them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from byzflower.clients.algorithms import gradients
from byzflower.clients.algorithms.gradients import grad_and_value


@pytest.fixture(params=["own", "PyTorch's"], autouse=True)
def implementation(request, monkeypatch):
    assert gradients._IS_KNOWN
    monkeypatch.setattr(gradients, "_IS_KNOWN", request.param == "own")


def test_a_network_s_gradients_are_those_of_torch_func_to_the_last_bit():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
    params = {name: p.detach() for name, p in model.named_parameters()}
    x, y = torch.randn(5, 6, 1, 8, 8), torch.randint(0, 4, (5, 6))

    def gradient(differentiate, x, y):
        def loss(params):
            logits = functional_call(model, params, (x,))
            return nn.functional.cross_entropy(logits, y), {"logits": logits.detach()}

        return differentiate(loss)

    ours = vmap(lambda x, y: gradient(lambda f: grad_and_value(f, params), x, y))(x, y)
    theirs = vmap(
        lambda x, y: gradient(lambda f: torch.func.grad_and_value(f, has_aux=True)(params), x, y)
    )(x, y)
    for name, expected in theirs[0].items():
        assert torch.equal(ours[0][name], expected)
    assert torch.equal(ours[1][0], theirs[1][0])
    assert torch.equal(ours[1][1]["logits"], theirs[1][1]["logits"])
    assert not any(p.requires_grad for p in params.values())


def test_what_the_value_does_not_depend_on_has_a_gradient_of_zero():
    params = {"used": torch.tensor([1.0, 2.0]), "unused": torch.ones(3)}
    grads, _ = grad_and_value(lambda p: (p["used"].sum(), {}), params)
    assert torch.equal(grads["used"], torch.ones(2))
    assert torch.equal(grads["unused"], torch.zeros(3))
    grads, (value, _) = grad_and_value(lambda p: (torch.tensor(4.0), {}), params)
    assert value == 4
    assert not any(g.any() for g in grads.values())


def test_an_outer_transform_differentiates_the_gradient():
    def slope(x: Tensor) -> Tensor:
        return grad_and_value(lambda p: (p["x"] ** 3, {}), {"x": x})[0]["x"]

    assert torch.equal(torch.func.grad(slope)(torch.tensor(2.0)), torch.tensor(12.0))
    assert torch.equal(
        vmap(torch.func.grad(slope))(torch.tensor([1.0, 2.0])), torch.tensor([6.0, 12.0])
    )


def test_what_goes_wrong_inside_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError):
        grad_and_value(lambda p: (1 // 0, {}), {"x": torch.ones(())})
    leaf = torch.ones(2, requires_grad=True)  # no level is left open
    leaf.sum().backward()
    assert torch.equal(leaf.grad, torch.ones(2))
    with pytest.raises(RuntimeError, match="requires_grad"):  # still forbidden to callers
        vmap(lambda x: x.requires_grad_())(torch.ones(2))
