"""The papers' models, to the parameter."""

from __future__ import annotations

import pytest
import torch

from byzflower.errors import SpecError
from byzflower.registry import registered
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.models import build_model, count_parameters

DIGITS, MNIST, CIFAR, COVTYPE = (1, 8, 8), (1, 28, 28), (3, 32, 32), (54,)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("cnn", MNIST, 10, 431_080),
        ("cnn", CIFAR, 10, 1_310_922),
        ("cnn", DIGITS, 10, 13_706),
        ("dropout_cnn", MNIST, 10, 21_840),
        ("dropout_cnn", CIFAR, 10, 31_340),
        ("resnet18", CIFAR, 10, 11_173_962),
        ("mlp", MNIST, 10, 79_510),
        ("mlp", DIGITS, 10, 4_810),
        ("softmax", MNIST, 10, 7_850),
        ("softmax", COVTYPE, 7, 385),
        ("tanh_mlp", MNIST, 10, 784 * 50 + 50 + 50 * 50 + 50 + 50 * 10 + 10),
        ("tanh_mlp", COVTYPE, 7, 54 * 50 + 50 + 50 * 50 + 50 + 50 * 7 + 7),
    ],
)
def test_a_model_has_its_stated_size_and_gives_logits(name, shape, classes, count):
    model = build_model(name, shape, classes, seed=1)
    assert count_parameters(model) == count
    assert model.eval()(torch.zeros(2, *shape)).shape == (2, classes)


def test_the_cifar_model_has_its_batch_norms_and_dropouts():
    kinds = [type(layer).__name__ for layer in build_model("cnn", CIFAR, 10, seed=1)]
    assert (kinds.count("BatchNorm2d"), kinds.count("Dropout")) == (4, 3)


@pytest.mark.parametrize("name", [*registered("model"), "mlp(width=3)", "tanh_mlp(width=3)"])
def test_the_seed_alone_decides_the_initial_model(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    shape = MNIST if name == "dropout_cnn" else DIGITS
    first, again, other = (build_model(name, shape, 10, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_initial_parameters_can_be_scaled():
    plain, scaled = (build_model("mlp", DIGITS, 10, seed=1, scale=s) for s in (1.0, 3.0))
    for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(3 * one, other)


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(ExperimentError, match=r"`model` cnn needs inputs of .*; .* has 54"):
        build_model("cnn", COVTYPE, 7, seed=1)
    with pytest.raises(
        SpecError, match=r"unknown model `mpl` in 'mpl'; known: cnn, dropout_cnn, mlp, "
    ):
        build_model("mpl", DIGITS, 10, seed=1)
