"""Gradients under ``vmap``: ``torch.func.grad_and_value`` without the compiler that it imports.

PyTorch's own asks ``torch._dynamo`` to stay out of the way, which first imports it: more than a
second of a process's start for a compiler that nobody uses. Here are the same steps, one nesting
level of ``torch.func``, from the functions that it is made of. They are private; the tests hold
them on the oldest and the newest PyTorch that are supported, and without them PyTorch's own serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch._C import _functorch as functorch

__all__ = ["grad_and_value"]

_Tensors: TypeAlias = dict[str, Tensor]

_IS_KNOWN = all(
    hasattr(functorch, name)
    for name in (
        "_grad_increment_nesting",
        "_grad_decrement_nesting",
        "_wrap_for_grad",
        "_unwrap_for_grad",
        "get_inplace_requires_grad_allowed",
        "set_inplace_requires_grad_allowed",
    )
)


def grad_and_value(
    function: Callable[[_Tensors], tuple[Tensor, _Tensors]], params: _Tensors
) -> tuple[_Tensors, tuple[Tensor, _Tensors]]:
    """Return the gradient of the first output of ``function`` at ``params``, and both outputs.

    Parameters
    ----------
    function
        Maps ``params`` to a scalar and further tensors; may be batched by ``vmap``.
    params
        Where to differentiate.

    Examples
    --------
    >>> def square(params):
    ...     return params["a"] ** 2, {}
    >>> torch.vmap(lambda a: grad_and_value(square, {"a": a}))(torch.tensor([1.0, 3.0]))
    ({'a': tensor([2., 6.])}, (tensor([1., 9.]), {}))
    """
    if not _IS_KNOWN:
        found: tuple[_Tensors, tuple[Tensor, _Tensors]]
        found = torch.func.grad_and_value(function, has_aux=True)(params)
        return found
    level = functorch._grad_increment_nesting()
    try:
        with torch.enable_grad():
            inputs = {name: functorch._wrap_for_grad(p, level) for name, p in params.items()}
            _require_grad(inputs)
            value, further = function(inputs)
            grads = _gradient(value, inputs)
        return (
            {name: functorch._unwrap_for_grad(g, level) for name, g in grads.items()},
            (
                functorch._unwrap_for_grad(value, level),
                {name: functorch._unwrap_for_grad(t, level) for name, t in further.items()},
            ),
        )
    finally:
        functorch._grad_decrement_nesting()


def _require_grad(tensors: _Tensors) -> None:
    """Let this level record what is computed from them, which transforms forbid their callers."""
    before = functorch.get_inplace_requires_grad_allowed()
    functorch.set_inplace_requires_grad_allowed(True)
    try:
        for tensor in tensors.values():
            tensor.requires_grad_()
    finally:
        functorch.set_inplace_requires_grad_allowed(before)


def _gradient(value: Tensor, inputs: _Tensors) -> _Tensors:
    if not value.requires_grad:
        return {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    # With a graph, so that an outer transform can differentiate the gradient.
    grads = torch.autograd.grad(
        value, list(inputs.values()), create_graph=True, materialize_grads=True
    )
    return dict(zip(inputs, grads, strict=True))
