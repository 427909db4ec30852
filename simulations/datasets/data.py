"""A data set as four tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows of a classification task.

    Attributes
    ----------
    x_train, x_test : torch.Tensor
        float32 inputs of shape (rows, channels, height, width) or (rows, features), preprocessed.
    y_train, y_test : torch.Tensor
        int64 labels 0 … ``num_classes`` − 1.
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    num_classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_train.shape[1:])

    def to(self, device: str | torch.device) -> Dataset:
        """Return the data set with its tensors on ``device``."""
        return replace(
            self,
            x_train=self.x_train.to(device),
            y_train=self.y_train.to(device),
            x_test=self.x_test.to(device),
            y_test=self.y_test.to(device),
        )
