"""What one client has: its objective, its data and where it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from byzflower.validation import integer_at_least, non_negative_int

from .algorithms import Algorithm, Batch, Objective
from .algorithms.trees import (
    Tree,
    as_tree,
    leaves,
    lengths,
    map_tree,
    map_trees,
)
from .augmentation import Augmentation
from .sampling import client_generator, draw_batch

__all__ = ["ClientTask", "JointTask"]


@dataclass(frozen=True, eq=False)
class ClientTask:
    """A client's share of the work, as ``load`` gives it to ``make_client_app``.

    Parameters
    ----------
    objective
        Model and loss, the same on every client.
    x, y
        The client's m ≥ 1 training examples: a tensor (m, …), or a dict or tuple of such tensors,
        each. The model is called as ``model(x)``, ``model(**x)`` or ``model(*x)``. NumPy arrays
        are converted: floats to the model's dtype, integer targets to int64. ``y=None`` where the
        model needs no targets, for instance because it finds ``labels`` in x.
    partition_id
        Which client this is; with ``seed`` and the round it fixes all randomness.
    batch_size
        b ≥ 1; a client with fewer examples uses all of them.
    seed
        Seed of the run.
    device
        Where the client computes; its data are moved there once.
    x_eval, y_eval
        Examples for ``evaluate``, or None.
    state_dir
        Folder of large state (SAGA's table), on a disk that all processes serving this client
        share. None keeps it in memory: right when one process serves the client for the whole run.
    memory_limit
        Most bytes of such state kept in memory; a larger one needs ``state_dir``.
    algorithm
        What this client computes, where not what the app's clients do.
    augment
        Changes each batch's x, for instance :func:`byzflower.clients.augmentation.random_flip`.

    Examples
    --------
    >>> from torch import nn
    >>> x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    >>> task = ClientTask(Objective(nn.Linear(4, 3)), x, y, partition_id=0, batch_size=2)
    >>> rows, batch = task.draw(server_round=1, shape=(2,))
    >>> batch.x.shape
    torch.Size([2, 4])
    """

    objective: Objective
    x: Tree
    y: Tree
    partition_id: int
    batch_size: int
    seed: int = 0
    device: str | torch.device = "cpu"
    x_eval: Tree | None = None
    y_eval: Tree | None = None
    state_dir: Path | None = None
    memory_limit: int = 2**30
    algorithm: Algorithm | None = None
    augment: Augmentation | None = None

    def __post_init__(self) -> None:
        integer_at_least(self.batch_size, 1, "ClientTask", "batch_size")
        non_negative_int(self.partition_id, "partition_id")
        non_negative_int(self.seed, "seed")
        floating = _floating(self.objective)
        for name in ("x", "y", "x_eval", "y_eval"):
            if (value := getattr(self, name)) is not None or name == "x":
                integral = torch.int64 if name.startswith("y") else None
                object.__setattr__(self, name, as_tree(value, name, floating, integral))
        xs, ys = lengths(self.x), lengths(self.y) if self.y is not None else []
        if not xs or len({*xs, *ys}) > 1 or xs[0] < 1:
            single = len(xs) == len(ys) == 1
            found = f"{xs[0]} examples, {ys[0]} labels" if single else f"{xs} in x, {ys} in y"
            raise ValueError(
                f"client {self.partition_id} needs as many labels as examples, at least one; "
                f"found {found}"
            )
        if (self.x_eval is None) != (self.y_eval is None):
            found = "y_eval" if self.x_eval is None else "x_eval"
            if found == "y_eval" or self.y is not None:
                raise ValueError(
                    f"`ClientTask` needs x_eval and y_eval together; found only {found}"
                )
        held = [tree for tree in (self.x_eval, self.y_eval) if tree is not None]
        sizes = [size for tree in held for size in lengths(tree)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"client {self.partition_id} needs as many x_eval as y_eval; found {sizes}"
            )

    @property
    def num_examples(self) -> int:
        """m, the number of training examples."""
        return lengths(self.x)[0]

    def with_labels(self, transform: Callable[[Tree], Tree]) -> ClientTask:
        """Return the task with its training labels transformed: label-flipping acts here.

        >>> from torch import nn
        >>> task = ClientTask(Objective(nn.Linear(1, 10)), torch.ones(2, 1), torch.tensor([0, 7]),
        ...                   partition_id=0, batch_size=1)
        >>> task.with_labels(lambda y: 9 - y).y
        tensor([9, 2])
        """
        if self.y is None:
            raise ValueError(f"client {self.partition_id} has no `y`: its labels stand in `x`")
        return replace(self, y=transform(self.y))

    def on_device(self) -> ClientTask:
        """Return the task with its data on its device."""
        moved = {
            name: map_tree(lambda leaf: leaf.to(self.device), value)
            for name in ("x", "y", "x_eval", "y_eval")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    def draw(self, server_round: int, shape: tuple[int, ...]) -> tuple[Tensor, Batch]:
        """Return the round's example numbers and its batch: x and y are (*shape, …), cut to m."""
        indices, key = draw_batch(
            self.seed, self.partition_id, server_round, self.num_examples, shape
        )
        device = leaves(self.x)[0].device
        rows = torch.from_numpy(indices).to(device)
        key_tensor = torch.tensor(key, dtype=torch.int32, device=device)
        flat = rows.flatten()

        def taken(leaf: Tensor) -> Tensor:
            return leaf.index_select(0, flat).view(*rows.shape, *leaf.shape[1:])

        x, targets = map_tree(taken, self.x), {} if self.y is None else map_tree(taken, self.y)
        if self.augment is not None:
            rng = client_generator(self.seed, self.partition_id, server_round, "augmentation")
            x = self.augment(x, rng)
        return rows, Batch(x, targets, key_tensor)


@dataclass(frozen=True, eq=False)
class JointTask(ClientTask):
    """A task whose batch of a round is all that the tasks ``of`` draw in it, one after another.

    Its gradient is the mean of theirs where their batches are equally large.

    Examples
    --------
    >>> from torch import nn
    >>> objective, (x, y) = Objective(nn.Linear(1, 2)), (torch.ones(3, 1), torch.tensor([0, 1, 1]))
    >>> parts = tuple(ClientTask(objective, x, y, partition_id=i, batch_size=2) for i in range(4))
    >>> JointTask(objective, x, y, partition_id=4, batch_size=2, of=parts).draw(1, (2,))[1].size
    8
    """

    of: tuple[ClientTask, ...] = ()

    def on_device(self) -> JointTask:
        """Return the task with its parts' data on their devices."""
        return replace(self, of=tuple(part.on_device() for part in self.of))

    def draw(self, server_round: int, shape: tuple[int, ...]) -> tuple[Tensor, Batch]:
        """Return the example numbers of each part, counted in that part, and the joint batch."""
        drawn = [part.draw(server_round, shape) for part in self.of]
        joined = partial(torch.cat, dim=len(shape) - 1)
        batches = [batch for _, batch in drawn]
        x, y = (map_trees(joined, [getattr(batch, name) for batch in batches]) for name in "xy")
        return joined([rows for rows, _ in drawn]), Batch(x, y, batches[0].key)


def _floating(objective: Objective) -> torch.dtype:
    """Return the dtype of the model's parameters."""
    dtypes = (p.dtype for p in objective.model.parameters() if p.is_floating_point())
    return next(dtypes, torch.get_default_dtype())
