"""What a client minimises: a model, a loss and an ℓ2 penalty as functions of plain tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from byzflower.clients.algorithms.dropout import KeyedDropout, fold, keyed
from byzflower.validation import non_negative

__all__ = ["Batch", "Buffers", "Objective", "Params"]

Params = dict[str, Tensor]
Buffers = dict[str, Tensor]


class Batch(NamedTuple):
    """Examples of one step and the key of its randomness.

    ``x`` is (b, …), ``y`` is (b, …) and ``key`` a 0-dimensional int32 tensor, from which the
    model's dropout masks are derived. ``LocalSGD`` takes (steps, b, …) and the same single key.
    A batched engine stacks clients along a new first dimension of all three.
    """

    x: Tensor
    y: Tensor
    key: Tensor


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of class labels, of which none is ignored.

    Under ``vmap``, PyTorch takes its own function apart in Python, which costs a small model a
    fifth of a round; this one is made of operations that ``vmap`` knows.

    >>> outputs, labels = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([2])
    >>> cross_entropy(outputs, labels), nn.functional.cross_entropy(outputs, labels)
    (tensor(1.4076), tensor(1.4076))
    """
    if labels.ndim != 1 or labels.is_floating_point():  # maps of classes, or probabilities
        return nn.functional.cross_entropy(outputs, labels)
    chances = torch.log_softmax(outputs, dim=1)
    return -chances.gather(1, labels[:, None]).mean()


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
        Architecture; its own tensors are only starting values. Parameters with
        ``requires_grad=False`` are frozen: their gradient is zero.
    criterion
        ``criterion(outputs, y)``: a mean over the batch, as a scalar.
    l2
        λ, the ℓ2-regularisation factor, added to the loss (RESAM, Section 5.1): the gradient gains
        λθ, PyTorch's ``weight_decay``.
    eager
        Compute gradients by PyTorch's autograd, at less than half the overhead for small models,
        instead of by ``torch.func``. Such an objective cannot be used under ``vmap``.

    Attributes
    ----------
    names
        Names of the model's parameters, in its order.
    frozen
        Those among them that are not trained.

    Raises
    ------
    ValueError
        If l2 is negative or not finite, or two names of the model share one parameter.

    Examples
    --------
    >>> objective = Objective(nn.Linear(2, 1, bias=False), nn.functional.mse_loss, l2=0.5)
    >>> batch = Batch(torch.ones(4, 2), torch.ones(4, 1), torch.tensor(0, dtype=torch.int32))
    >>> grads, buffers, loss = objective.gradient({"weight": torch.zeros(1, 2)}, {}, batch)
    >>> grads["weight"], loss
    (tensor([[-2., -2.]]), tensor(1.))
    """

    model: nn.Module
    criterion: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    l2: float = 0.0
    eager: bool = False
    names: tuple[str, ...] = field(init=False)
    frozen: frozenset[str] = field(init=False)
    _train: nn.Module = field(init=False, repr=False)
    _eval: nn.Module = field(init=False, repr=False)
    _dropouts: dict[str, KeyedDropout] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        non_negative(self.l2, "Objective", "l2")
        names = dict(self.model.named_parameters())
        for name, _ in self.model.named_parameters(remove_duplicate=False):
            if name not in names:
                raise ValueError(
                    f"`Objective` needs a model without shared parameters; found `{name}` shared"
                )
        frozen = frozenset(name for name, p in names.items() if not p.requires_grad)
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "frozen", frozen)
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
        return tuple(name for name in self.layout if name not in self.names)

    @property
    def mixes_examples(self) -> bool:
        """Whether an example's loss depends on the rest of its batch (BatchNorm in training)."""
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._train.modules())

    def initial(self) -> dict[str, Tensor]:
        """Return the model's own ``state_dict``, detached and copied."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def split(self, state: Mapping[str, Tensor]) -> tuple[Params, Buffers]:
        """Split a ``state_dict`` into parameters and buffers, without copying."""
        params = {name: state[name] for name in self.names}
        buffers = {name: value for name, value in state.items() if name not in params}
        return params, buffers

    def outputs(self, params: Params, buffers: Buffers, x: Tensor) -> Tensor:
        """Return the model's outputs on x (b, …) in evaluation mode."""
        values = {**params, **buffers}
        result: Tensor = functional_call(self._eval, values, (x,), tie_weights=False)
        return result

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

        def one(x: Tensor, y: Tensor, key: Tensor) -> tuple[Params, Tensor]:
            example = Batch(x.unsqueeze(0), y.unsqueeze(0), key)
            grads, _, loss = self._complete(*self._traced(params, buffers, example), params)
            return grads, loss

        index = torch.arange(len(batch.x), dtype=torch.int32, device=batch.key.device)
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
        # Looking for tied parameters takes longer than a small model's forward pass; it has none.
        outputs = functional_call(model, values, (batch.x,), tie_weights=False)
        # functional_call writes back the buffers that the forward pass assigned.
        return self.criterion(outputs, batch.y), {name: values[name].detach() for name in buffers}

    def _traced(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Buffers, Tensor]:
        """Return the data loss's gradient for the trained parameters, as a torch.func transform."""

        def data_loss(trained: Params) -> tuple[Tensor, Buffers]:
            return self._data_loss({**params, **trained}, buffers, batch, train=True)

        grads, (loss, left) = grad_and_value(data_loss, has_aux=True)(self._trained(params))
        return grads, left, loss

    def _eager(
        self, params: Params, buffers: Buffers, batch: Batch
    ) -> tuple[Params, Buffers, Tensor]:
        """Return the same by PyTorch's autograd, which torch.func cannot transform."""
        with torch.enable_grad():
            trained = {n: p.detach().requires_grad_() for n, p in self._trained(params).items()}
            loss, left = self._data_loss({**params, **trained}, buffers, batch, train=True)
            grads = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
        return dict(zip(trained, grads, strict=True)), left, loss.detach()

    def _complete(
        self, grads: Params, left: Buffers, loss: Tensor, params: Params
    ) -> tuple[Params, Buffers, Tensor]:
        """Add the penalty's gradient and value, and the frozen parameters' zero gradients."""
        if self.l2:
            grads = {name: g.add(params[name], alpha=self.l2) for name, g in grads.items()}
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
        squares = [p.flatten().dot(p.flatten()) for p in self._trained(params).values()]
        return self.l2 / 2 * torch.stack(squares).sum()


def _skeleton(model: nn.Module) -> nn.Module:
    """Copy the modules of a model but none of its tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(t): t for t in tensors})
