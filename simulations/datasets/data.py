"""A data set as four tensors, and what reads one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from byzflower.configured import Configured

__all__ = ["Dataset", "DatasetLoader"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows of a classification task.

    Attributes
    ----------
    x_train, x_test : torch.Tensor
        float32 inputs of shape (rows, channels, height, width) or (rows, features), preprocessed.
    y_train, y_test : torch.Tensor
        int64 labels 0 … ``num_classes`` − 1.
    flips : bool
        Whether clients mirror each training image of a batch with probability ½.
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    num_classes: int
    flips: bool = False

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


class DatasetLoader(Configured, ABC):
    """How a data set is read; what ``dataset`` names, a frozen dataclass.

    ``needs_folder`` says whether its files lie in the data directory, ``downloads`` whether
    ``--download`` puts them there.
    """

    needs_folder: ClassVar[bool] = True
    downloads: ClassVar[bool] = False

    @abstractmethod
    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set, from ``folder`` if it needs one.

        Parameters
        ----------
        folder
            The data directory; the current one for a data set that needs none.
        download
            Whether it may be downloaded into ``folder``.

        Raises
        ------
        ExperimentError
            If a file is missing or malformed; the message names it and how to get it.
        """
