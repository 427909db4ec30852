"""Coordinate-wise reductions of many rows, at about the cost of reading them.

Every coordinate-wise rule is one of two :class:`Reduction` s of each column; :func:`reduce` runs
it in one pass over the rows with the fastest backend at hand. Backends agree to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from byzflower.kernels import cpu, cuda, reference
from byzflower.kernels.gaps import Gaps
from byzflower.kernels.reduction import Block, Reduction
from byzflower.kernels.source import Source

__all__ = ["Block", "Gaps", "Reduction", "reduce"]


def reduce(
    blocks: Iterable[Block],
    reduction: Reduction,
    *,
    out: Tensor,
    mixing: np.ndarray | Tensor | None = None,
    rows: Sequence[int] | None = None,
    bases: Sequence[Tensor | None] | None = None,
    squares: npt.NDArray[np.float64] | None = None,
) -> str:
    """Reduce each column of the rows to one number.

    Parameters
    ----------
    blocks
        The rows, one model array at a time: (n, c) tensors or sequences of n tensors (c,), on one
        device, float16, bfloat16, float32 or float64 and, in ``rows``, finite. Half types are
        computed in float32; sums are float64. Never modified.
    reduction
        What to compute for each column.
    out
        (d,) with d the sum of the c; filled, in its own dtype.
    mixing
        (m, number of rows): reduce these combinations of the rows instead of the rows.
    rows
        Indices of the rows to read, in order; all when None.
    bases
        A tensor (c,) for each block that is taken from its rows before anything else, or None.
        Differences are formed in the compute dtype, a cacheful at a time.
    squares
        Filled, if given, with the squared distances of all of the blocks' rows to ``out``, shape
        (n,); on CPUs they are formed while the rows are in the cache.

    Returns
    -------
    str
        The backend that did it: ``"llvm"``, ``"triton"`` or ``"torch"``.

    Raises
    ------
    ValueError
        The reduction does not fit the number of rows, or ``mixing`` does not.

    Examples
    --------
    >>> import torch
    >>> x, out = torch.tensor([[1.0, 5.0], [2.0, 5.0], [9.0, -5.0]]), torch.empty(2)
    >>> _ = reduce([x], Reduction("trimmed_mean", 1), out=out)
    >>> out
    tensor([2., 5.])
    """
    source = Source.of(blocks, mixing, rows, bases)
    reduction.check(source.m)
    gaps = None if squares is None else Gaps.to(out, source.blocks, source.bases)
    found = None
    if cpu.worthwhile(source) and cpu.supports(source):
        found = cpu.reduce(source, reduction, out, gaps)
        backend = "llvm"
    elif cuda.worthwhile(source) and cuda.supports(source):
        cuda.reduce(source, reduction, out)
        backend = "triton"
    else:
        reference.reduce(source, reduction, out)
        backend = "torch"
    if squares is not None and gaps is not None:
        squares[:] = gaps.squares() if found is None else found
    return backend
