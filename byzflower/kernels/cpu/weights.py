"""A mixing matrix, laid out as the compiled code reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels.cpu.frame import ROWS_AT_ONCE

__all__ = ["Weights"]


@dataclass(frozen=True)
class Weights:
    """Weights by groups of mixed rows; a group lists only the rows that it uses.

    ``order`` holds the rows of all groups, ``counts`` how many each group lists, ``values``
    ``ROWS_AT_ONCE`` weights for each of them.
    """

    order: npt.NDArray[np.intp]
    counts: Tensor
    values: Tensor

    @classmethod
    def of(cls, mixing: Tensor, dtype: torch.dtype) -> Weights:
        """Lay out an (m, n) matrix: a diagonal one then costs 6·n products, not n²."""
        m, n = mixing.shape
        padded = np.zeros((-(-m // ROWS_AT_ONCE) * ROWS_AT_ONCE, n))
        padded[:m] = mixing
        groups = padded.reshape(-1, ROWS_AT_ONCE, n)
        lists = [np.flatnonzero(np.count_nonzero(group, axis=0)) for group in groups]
        # The code's loops run at least once, so a group of zeros lists a row, too.
        lists = [used if used.size else np.array([0]) for used in lists]
        values = [group[:, used].T for group, used in zip(groups, lists, strict=True)]
        return cls(
            np.concatenate(lists),
            torch.tensor([len(used) for used in lists], dtype=torch.int64),
            torch.from_numpy(np.concatenate(values)).to(dtype),
        )
