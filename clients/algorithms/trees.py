"""Examples as users have them: a tensor, or a dict or tuple of tensors that share a dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils import _pytree

__all__ = ["Tree", "as_tree", "layout", "leaves", "lengths", "map_tree", "map_trees"]

Tree: TypeAlias = Any
"""A tensor, or a dict or tuple of trees; {} where there is nothing."""


def as_tree(value: object, name: str, floating: torch.dtype, integral: torch.dtype | None) -> Tree:
    """Return the value as a tree of tensors; NumPy arrays are converted, their memory kept.

    Parameters
    ----------
    value
        A tensor (which stays as it is), a NumPy array, or a mapping or tuple of these.
    name
        What to call it in an error.
    floating
        The dtype that NumPy's floating-point arrays get: NumPy makes float64 where nobody asks.
    integral
        The dtype that NumPy's integer arrays get; None keeps theirs.

    Raises
    ------
    TypeError
        If there is anything else in it, an array of objects or text included.

    Examples
    --------
    >>> as_tree({"ids": np.array([1, 2])}, "x", torch.float32, None)
    {'ids': tensor([1, 2])}
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return _converted(value, name, floating, integral)
    if isinstance(value, Mapping):  # a tokenizer's batch is one, but no dict
        return {k: as_tree(v, f"{name}[{k!r}]", floating, integral) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(as_tree(v, f"{name}[{i}]", floating, integral) for i, v in enumerate(value))
    raise TypeError(
        f"`{name}` needs a tensor, a NumPy array of numbers, or a dict or tuple of these; "
        f"found {type(value).__name__}"
    )


def _converted(
    array: npt.NDArray[Any], name: str, floating: torch.dtype, integral: torch.dtype | None
) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` needs an array of real numbers; found dtype {array.dtype}")
    # PyTorch takes neither foreign byte orders nor negative strides, and warns of read-only memory.
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if tensor.is_floating_point():
        return tensor.to(floating)
    return tensor if integral is None or tensor.dtype == torch.bool else tensor.to(integral)


def leaves(tree: Tree) -> list[Tensor]:
    """Return the tensors of a tree, in its order."""
    found: list[Tensor] = _pytree.tree_leaves(tree)
    return found


def lengths(tree: Tree) -> list[int]:
    """Return the first dimension of every tensor of a tree; −1 for one without dimensions.

    >>> lengths((torch.zeros(4, 2), {"mask": torch.zeros(4)}))
    [4, 4]
    """
    return [len(leaf) if leaf.ndim else -1 for leaf in leaves(tree)]


def layout(tree: Tree) -> object:
    """Return the form, shapes and dtypes of a tree; equal for trees that can be stacked.

    >>> layout(torch.zeros(2)) == layout(torch.ones(2)), layout({"a": torch.zeros(2)}) == layout({})
    (True, False)
    """
    if isinstance(tree, Tensor):  # nearly always, and for every client of a round
        return tree.shape, tree.dtype
    found, structure = _pytree.tree_flatten(tree)
    return str(structure), *map(layout, found)


def map_tree(function: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """Return the tree with every tensor passed through a function.

    >>> map_tree(len, {"a": torch.zeros(2), "b": torch.zeros(3)})
    {'a': 2, 'b': 3}
    """
    if isinstance(tree, Tensor):  # nearly always, and in every step
        return function(tree)
    return _pytree.tree_map(function, tree)


def map_trees(function: Callable[[Sequence[Tensor]], Tensor], trees: Sequence[Tree]) -> Tree:
    """Return one tree whose tensors are a function of the trees' tensors at that place.

    >>> map_trees(torch.stack, [{"a": torch.tensor(1)}, {"a": torch.tensor(2)}])
    {'a': tensor([1, 2])}
    """
    if isinstance(trees[0], Tensor):
        return function(trees)
    parts, structure = zip(*map(_pytree.tree_flatten, trees), strict=True)
    merged = [function(leaf) for leaf in zip(*parts, strict=True)]
    return _pytree.tree_unflatten(merged, structure[0])
