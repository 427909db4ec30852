"""What a client minimises: a model, a loss and an ℓ2 penalty as functions of plain tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from byzflower.validation import non_negative

from .dropout import KeyedDropout, fold, keyed
from .gradients import grad_and_value
from .losses import accuracy, standard_loss
from .trees import Tree, lengths, map_tree

__all__ = ["Batch", "Buffers", "Objective", "Params"]

Params = dict[str, Tensor]
Buffers = dict[str, Tensor]


class Batch(NamedTuple):
    """Examples of one step and the key of its randomness.

    ``x`` and ``y`` are tensors (b, …), or dicts or tuples of such tensors; ``y`` is {} where the
    model needs no targets. ``key`` is a 0-dimensional int32 tensor, from which the model's dropout
    masks are derived. ``LocalSGD`` takes (steps, b, …) and the same single key. A batched engine
    stacks clients along a new first dimension of all three.
    """

    x: Tree
    y: Tree
    key: Tensor

    @property
    def size(self) -> int:
        """The first dimension of x: how many examples, or steps."""
        return lengths(self.x)[0]

    def part(self, index: int | slice, key: Tensor) -> Batch:
        """Return the batch of these entries of the first dimension, with a key of its own.

        >>> batch = Batch(torch.zeros(3, 2, 4), torch.zeros(3, 2), torch.tensor(1))
        >>> batch.part(0, batch.key).x.shape
        torch.Size([2, 4])
        """
        x, y = (map_tree(lambda leaf: leaf[index], tree) for tree in (self.x, self.y))
        return Batch(x, y, key)


@dataclass(frozen=True, eq=False)
class Objective:
    """The function f(θ) = mean loss over a batch + λ/2 · ‖θ‖².

    Every method is pure: it takes the parameters and buffers as dictionaries of tensors (the
    model's ``state_dict`` split in two), modifies nothing, and works under ``torch.func.vmap``
    (with ``randomness="different"`` when the model calls PyTorch's generator itself). Threads must
    not share an objective.

    Parameters
    ----------
    model
        Architecture; its own tensors are only starting values. It is called as ``model(x)``,
        ``model(**x)`` for a dict, ``model(*x)`` for a tuple. Parameters with
        ``requires_grad=False`` are frozen: their gradient is zero. Tied parameters are one, and
        stay tied; embeddings with ``sparse=True`` give dense gradients.
    criterion
        ``criterion(outputs, y)``: a mean over the batch, as a scalar, from whatever the model
        returns. By default the ``loss`` that outputs hold, else the cross-entropy of the logits.
    l2
        λ, the ℓ2-regularisation factor, added to the loss (RESAM, Section 5.1): the gradient gains
        λθ, PyTorch's ``weight_decay``.
    squared
        False replaces the penalty by λ‖θ‖, as the code of RESAM's and ARC's authors has it; the
        gradient gains λθ/‖θ‖.
    eager
        Compute gradients by PyTorch's autograd, at less than half the overhead for small models,
        instead of by ``torch.func``. Such an objective cannot be used under ``vmap``.
    metric
        ``metric(outputs, y)``: names of evaluation metrics to their means over a batch; by default
        the accuracy of class labels, ``eval_acc``.

    Attributes
    ----------
    names
        Names of the model's parameters, in its order; tied ones under the first of their names.
    frozen
        Those among them that are not trained.

    Raises
    ------
    ValueError
        If l2 is negative or not finite.

    Examples
    --------
    >>> objective = Objective(nn.Linear(2, 1, bias=False), nn.functional.mse_loss, l2=0.5)
    >>> batch = Batch(torch.ones(4, 2), torch.ones(4, 1), torch.tensor(0, dtype=torch.int32))
    >>> grads, buffers, loss = objective.gradient({"weight": torch.zeros(1, 2)}, {}, batch)
    >>> grads["weight"], loss
    (tensor([[-2., -2.]]), tensor(1.))
    """

    model: nn.Module
    criterion: Callable[[Any, Any], Tensor] = standard_loss
    l2: float = 0.0
    squared: bool = True
    eager: bool = False
    metric: Callable[[Any, Any], Mapping[str, Tensor | float]] = accuracy
    names: tuple[str, ...] = field(init=False)
    frozen: frozenset[str] = field(init=False)
    _first_name: dict[str, str] = field(init=False, repr=False)
    _ties: dict[str, str] = field(init=False, repr=False)
    _train: nn.Module = field(init=False, repr=False)
    _eval: nn.Module = field(init=False, repr=False)
    _dropouts: dict[str, KeyedDropout] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        non_negative(self.l2, "Objective", "l2")
        # Parameters of integers, as quantised models have them, are state like buffers.
        names = {n: p for n, p in self.model.named_parameters() if p.is_floating_point()}
        frozen = frozenset(name for name, p in names.items() if not p.requires_grad)
        first_name, ties = _shared_names(self.model)
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "frozen", frozen)
        object.__setattr__(self, "_first_name", first_name)
        object.__setattr__(self, "_ties", ties)
        train, dropouts = keyed(_skeleton(self.model))
        object.__setattr__(self, "_train", train.train())
        object.__setattr__(self, "_eval", _skeleton(self.model).eval())
        object.__setattr__(self, "_dropouts", dropouts)

    def with_autograd(self) -> Objective:
        """Return this objective with ``eager=True``; made once."""
        return self if self.eager else self._with_autograd

    @cached_property
    def _with_autograd(self) -> Objective:
        return replace(self, eager=True)

    @cached_property
    def layout(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Shape and dtype of every array of the model's ``state_dict``, in its order."""
        return {name: (v.shape, v.dtype) for name, v in self.model.state_dict().items()}

    @cached_property
    def buffer_names(self) -> tuple[str, ...]:
        """Names of the arrays of the ``state_dict`` that are no parameters, in its order."""
        return tuple(n for n in self.layout if self._first_name.get(n, n) not in self.names)

    @property
    def mixes_examples(self) -> bool:
        """Whether an example's loss depends on the rest of its batch (BatchNorm in training)."""
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._train.modules())

    def initial(self) -> dict[str, Tensor]:
        """Return the model's own ``state_dict``, detached and copied."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def split(self, state: Mapping[str, Tensor]) -> tuple[Params, Buffers]:
        """Split a ``state_dict`` into parameters and buffers, without copying.

        Tensors that have several names go by the first.
        """
        params = {name: state[name] for name in self.names}
        buffers = {
            name: value
            for name, value in state.items()
            if name not in params and name not in self._first_name
        }
        return params, buffers

    def join(self, params: Params, buffers: Buffers) -> dict[str, Tensor]:
        """Return both under all names of the model's ``state_dict``, in its order.

        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> model[1].weight = model[0].weight
        >>> objective = Objective(model)
        >>> params, buffers = objective.split(objective.initial())
        >>> list(params), list(objective.join(params, buffers))
        (['0.weight', '0.bias', '1.bias'], ['0.weight', '0.bias', '1.weight', '1.bias'])
        """
        values = {**params, **buffers}
        return {name: values[self._first_name.get(name, name)] for name in self.layout}

    def outputs(self, params: Params, buffers: Buffers, x: Tree) -> Any:
        """Return the model's outputs on x (b, …) in evaluation mode."""
        return self._call(self._eval, {**params, **buffers}, x)

    def _call(self, model: nn.Module, values: dict[str, Tensor], x: Tree) -> Any:
        for name, first in self._ties.items():
            values[name] = values[first]
        kwargs = x if isinstance(x, dict) else {}
        args = x if isinstance(x, tuple) else () if kwargs else (x,)
        # Looking for tied parameters takes longer than a small model's forward pass.
        return functional_call(model, values, args, kwargs, tie_weights=False)

    def loss(
        self, params: Params, buffers: Buffers, batch: Batch, *, train: bool = True
    ) -> tuple[Tensor, Buffers]:
        """Return f(θ) on the batch, a scalar, and the buffers that the forward pass leaves."""
        loss, left = self._data_loss(params, buffers, batch, train=train)
        return loss + self._penalty(params), left

    def gradient(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Buffers, Tensor]:
        """Return ∇f(θ) on the batch (keys of params), the new buffers, and f(θ)."""
        differentiate = self._eager if self.eager else self._traced
        return self._complete(*differentiate(params, buffers, batch), params)

    def sample_gradients(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Tensor]:
        """Return every example's own gradient, (b, *shape) for each parameter, and loss (b,).

        Raises
        ------
        ValueError
            If the model has BatchNorm layers: an example then has no gradient of its own.
        """
        if self.mixes_examples:
            raise ValueError(
                "per-example gradients need a model without BatchNorm layers, which mix examples"
            )

        def one(x: Tree, y: Tree, key: Tensor) -> tuple[Params, Tensor]:
            x, y = (map_tree(lambda leaf: leaf.unsqueeze(0), tree) for tree in (x, y))
            example = Batch(x, y, key)
            grads, _, loss = self._complete(*self._traced(params, buffers, example), params)
            return grads, loss

        index = torch.arange(batch.size, dtype=torch.int32, device=batch.key.device)
        keys = fold(batch.key, index)
        grads, losses = vmap(one, randomness="different")(batch.x, batch.y, keys)
        return grads, losses

    def _data_loss(
        self, params: Params, buffers: Buffers, batch: Batch, *, train: bool
    ) -> tuple[Tensor, Buffers]:
        # Adding a zero made from the key copies the buffers, which BatchNorm updates in place, and
        # batches them under vmap, where an unbatched buffer could not take a batched update.
        values = {
            **params,
            **{name: b + (batch.key * 0).to(b.dtype) for name, b in buffers.items()},
        }
        if train:
            for name, layer in self._dropouts.items():
                layer.calls = 0
                values[f"{name}.key" if name else "key"] = batch.key
        model = self._train if train else self._eval
        outputs = self._call(model, values, batch.x)
        # functional_call writes back the buffers that the forward pass assigned.
        return self.criterion(outputs, batch.y), {name: values[name].detach() for name in buffers}

    def _traced(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Buffers, Tensor]:
        """Return the data loss's gradient for the trained parameters, as a torch.func transform."""

        def data_loss(trained: Params) -> tuple[Tensor, Buffers]:
            return self._data_loss({**params, **trained}, buffers, batch, train=True)

        grads, (loss, left) = grad_and_value(data_loss, self._trained(params))
        return grads, left, loss

    def _eager(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Buffers, Tensor]:
        """Return the same by PyTorch's autograd, which torch.func cannot transform."""
        with torch.enable_grad():
            trained = {n: p.detach().requires_grad_() for n, p in self._trained(params).items()}
            loss, left = self._data_loss({**params, **trained}, buffers, batch, train=True)
            grads = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
            grads = tuple(g.to_dense() if g.is_sparse else g for g in grads)
        return dict(zip(trained, grads, strict=True)), left, loss.detach()

    def _complete(
        self, grads: Params, left: Buffers, loss: Tensor, params: Params
    ) -> tuple[Params, Buffers, Tensor]:
        """Add the penalty's gradient and value, and the frozen parameters' zero gradients."""
        if self.l2:
            if self.squared:
                grads = {name: g.add(params[name], alpha=self.l2) for name, g in grads.items()}
            else:
                norm = self._squared_norm(params).sqrt()
                pull = torch.where(norm > 0, self.l2 / norm, torch.zeros_like(norm))
                grads = {name: g.addcmul(params[name], pull) for name, g in grads.items()}
            loss = loss + self._penalty(params)
        if self.frozen:
            zeros = {name: torch.zeros_like(params[name]) for name in self.frozen}
            grads = {name: {**grads, **zeros}[name] for name in params}
        return grads, left, loss

    def _trained(self, params: Params) -> Params:
        if not self.frozen:
            return params
        return {name: p for name, p in params.items() if name not in self.frozen}

    def _penalty(self, params: Params) -> Tensor | float:
        if self.l2 == 0:
            return 0.0
        squared = self._squared_norm(params)
        return self.l2 / 2 * squared if self.squared else self.l2 * squared.sqrt()

    def _squared_norm(self, params: Params) -> Tensor:
        squares = [p.flatten().dot(p.flatten()) for p in self._trained(params).values()]
        return torch.stack(squares).sum()


def _skeleton(model: nn.Module) -> nn.Module:
    """Copy the modules of a model but none of its tensors; gradients of embeddings are dense."""
    tensors = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(t): t for t in tensors})
    for module in copied.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
    return copied


def _shared_names(model: nn.Module) -> tuple[dict[str, str], dict[str, str]]:
    """Return further name -> first name of what has several; and of it what modules share.

    A module that stands at two places of the model is set through the first of them alone.
    """
    first: dict[int, str] = {}
    places: set[tuple[int, str]] = set()
    further, ties = {}, {}
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        path, _, attribute = name.rpartition(".")
        place = (id(model.get_submodule(path)), attribute)
        if id(tensor) not in first:
            first[id(tensor)] = name
        else:
            further[name] = first[id(tensor)]
            if place not in places:
                ties[name] = first[id(tensor)]
        places.add(place)
    return further, ties
