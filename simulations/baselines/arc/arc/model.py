"""arc: the paper's convolutional networks (Table 2) and how they are tested."""

import torch
from torch import Tensor, nn


def make_model(dataset: str, seed: int) -> nn.Module:
    """Return the network of a data set, its first weights drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _for_colour() if dataset == "cifar10" else _for_grey()


def test(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that the model recognises."""
    model.eval()
    with torch.no_grad():
        guesses = [model(part).argmax(dim=1) for part in images.split(1000)]
    return (torch.cat(guesses) == labels).float().mean().item()


def _for_grey() -> nn.Module:
    """28×28, 431,080 parameters, which takes 50 channels in the second convolution."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


def _for_colour() -> nn.Module:
    """3×32×32, 1,310,922 parameters."""

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, 3, padding=1)
        return [layer, nn.ReLU(), nn.BatchNorm2d(outputs)]

    return nn.Sequential(
        *convolution(3, 64),
        *convolution(64, 64),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        *convolution(64, 128),
        *convolution(128, 128),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(8192, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )
