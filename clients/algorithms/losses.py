"""What a client minimises and reports where its task says nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["accuracy", "cross_entropy", "standard_loss"]


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
    log_probabilities = torch.log_softmax(outputs, dim=1)
    return -log_probabilities.gather(1, labels[:, None]).mean()


def standard_loss(outputs: Any, y: Any) -> Tensor:
    """Return the loss that the model computed itself, else the cross-entropy of its logits.

    Parameters
    ----------
    outputs
        A tensor of logits, (b, C) or (b, C, …); or a dict or object with ``loss``, a scalar that
        is taken as it is, or with ``logits``, (b, C) or (b, …, C), as models of the transformers
        library give them.
    y
        Labels, (b,) or (b, …), of which −100 is ignored where there is more than one an example.

    Raises
    ------
    TypeError
        If outputs have neither, or there are logits but no tensor of labels.

    Examples
    --------
    >>> standard_loss({"loss": torch.tensor(2.0), "logits": torch.zeros(1, 3)}, {})
    tensor(2.)
    """
    if isinstance(outputs, Tensor):
        if not isinstance(y, Tensor):
            raise TypeError(_UNKNOWN.format(f"a tensor for targets {_kind(y)}"))
        return cross_entropy(outputs, y)
    loss, logits = field(outputs, "loss"), field(outputs, "logits")
    if isinstance(loss, Tensor):
        return loss
    if isinstance(logits, Tensor) and isinstance(y, Tensor):
        if logits.ndim == y.ndim + 1 > 2:  # classes stand last
            return nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten())
        return cross_entropy(logits, y)
    raise TypeError(_UNKNOWN.format(f"{_kind(outputs)} for targets {_kind(y)}"))


def accuracy(outputs: Any, y: Any) -> dict[str, Tensor]:
    """Return the share of right classes as ``eval_acc``; {} where outputs are no (b, C) logits.

    >>> accuracy(torch.tensor([[2.0, 0.0], [3.0, 1.0]]), torch.tensor([0, 1]))
    {'eval_acc': tensor(0.5000, dtype=torch.float64)}
    """
    logits = outputs if isinstance(outputs, Tensor) else field(outputs, "logits")
    if not isinstance(logits, Tensor) or not isinstance(y, Tensor):
        return {}
    if logits.ndim != 2 or y.ndim != 1 or y.is_floating_point():
        return {}
    return {"eval_acc": (logits.argmax(1) == y).double().mean()}


def field(outputs: Any, name: str) -> Any:
    """Return what outputs hold under a name, be they a mapping or an object; None if nothing."""
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    return getattr(outputs, name, None)


_UNKNOWN = (
    "the standard loss needs logits and labels, or outputs with a `loss`; found {}. Give "
    "`Objective` a criterion(outputs, y)"
)


def _kind(value: object) -> str:
    return "None" if value == {} else type(value).__name__
