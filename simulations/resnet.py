"""ResNet-18 for small images (He et al. 2016), as CIFAR-10 is trained with it."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["resnet18"]


def resnet18(channels: int, num_classes: int) -> nn.Module:
    """Return ResNet-18 whose first layer is a 3×3 convolution without pooling; any image size.

    3 channels and 10 classes: 11,173,962 parameters.

    >>> import torch
    >>> resnet18(1, 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    blocks, before = [], 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [_Block(before, width, stride), _Block(width, width, 1)]
        before = width
    return nn.Sequential(
        *_convolution(channels, 64, 1),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, num_classes),
    )


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(channels, width, stride), nn.ReLU(), *_convolution(width, width, 1)
        )
        same = stride == 1 and channels == width
        self.shortcut = nn.Sequential(*([] if same else _convolution(channels, width, stride, 1)))

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.path(x) + self.shortcut(x)
        return summed.relu()


def _convolution(channels: int, width: int, stride: int, kernel: int = 3) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width)]
