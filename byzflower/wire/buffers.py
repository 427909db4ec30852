"""Which arrays of a model are buffers (state, not parameters), and how replies agree on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["BufferNames", "buffer_median", "buffer_names"]

BufferNames: TypeAlias = Collection[str] | Callable[[str], bool] | None
"""Names of the buffers, a predicate on names, or ``None`` to recognise them."""

_BUFFERS_OF_NORMALISATION = frozenset({"running_mean", "running_var", "num_batches_tracked"})


def buffer_names(model: Mapping[str, Tensor], buffers: BufferNames = None) -> frozenset[str]:
    """Return the names of the arrays that no gradient updates.

    Integer and Boolean arrays always are buffers. Of the others, ``None`` picks those whose last
    name component is ``running_mean``, ``running_var`` or ``num_batches_tracked``, as PyTorch's
    normalisation layers name them.

    Raises
    ------
    TypeError
        If ``buffers`` is a single string.
    ValueError
        If ``buffers`` names an array that the model lacks.

    Examples
    --------
    >>> import torch
    >>> sorted(buffer_names(torch.nn.BatchNorm1d(3).state_dict()))
    ['num_batches_tracked', 'running_mean', 'running_var']
    >>> sorted(buffer_names({"w": torch.zeros(2), "scale": torch.ones(1)}, {"scale"}))
    ['scale']
    """
    chosen: Callable[[str], bool]
    if buffers is None:
        chosen = lambda name: name.rpartition(".")[2] in _BUFFERS_OF_NORMALISATION  # noqa: E731
    elif isinstance(buffers, str):
        raise TypeError(f"`buffers` needs a collection of names; found the string {buffers!r}")
    elif isinstance(buffers, Collection):
        unknown = sorted(set(buffers) - set(model))
        if unknown:
            raise ValueError(f"`buffers` needs names of the model's arrays; found {unknown}")
        chosen = set(buffers).__contains__
    else:
        chosen = buffers
    return frozenset(
        name for name, tensor in model.items() if not tensor.is_floating_point() or chosen(name)
    )


def buffer_median(values: Sequence[Tensor]) -> Tensor:
    """Return the coordinate-wise median of one buffer's values in the replies.

    For an even number of floating-point values it is the mean of the two middle ones; integers
    and Booleans keep the lower of the two, so that a counter stays a count somebody reported.

    Parameters
    ----------
    values : Sequence[Tensor]
        At least one tensor; all of one shape, dtype and device, and finite.

    Returns
    -------
    Tensor
        New tensor of the same shape, dtype and device.

    Examples
    --------
    >>> import torch
    >>> buffer_median([torch.tensor([1.0, 9.0]), torch.tensor([2.0, 7.0])])
    tensor([1.5000, 8.0000])
    >>> buffer_median([torch.tensor(4), torch.tensor(5), torch.tensor(900), torch.tensor(5)])
    tensor(5)
    """
    rows = torch.stack(list(values))
    if rows.dtype == torch.bool:
        return buffer_median([value.to(torch.uint8) for value in values]).to(torch.bool)
    ordered = rows.sort(dim=0).values
    low, high = ordered[(len(rows) - 1) // 2], ordered[len(rows) // 2]
    # Halving first cannot overflow.
    return low / 2 + high / 2 if rows.is_floating_point() else low.clone()
