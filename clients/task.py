"""What one client has: its objective, its data and where it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from byzflower.clients.algorithms import Batch, Objective
from byzflower.clients.sampling import draw_batch
from byzflower.validation import integer_at_least, non_negative_int

__all__ = ["ClientTask"]


@dataclass(frozen=True, eq=False)
class ClientTask:
    """A client's share of the work, as ``load`` gives it to ``make_client_app``.

    Parameters
    ----------
    objective
        Model and loss, the same on every client.
    x, y
        The client's m ≥ 1 training examples, (m, …) each.
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
    x: Tensor
    y: Tensor
    partition_id: int
    batch_size: int
    seed: int = 0
    device: str | torch.device = "cpu"
    x_eval: Tensor | None = None
    y_eval: Tensor | None = None
    state_dir: Path | None = None
    memory_limit: int = 2**30

    def __post_init__(self) -> None:
        integer_at_least(self.batch_size, 1, "ClientTask", "batch_size")
        non_negative_int(self.partition_id, "partition_id")
        non_negative_int(self.seed, "seed")
        if len(self.x) != len(self.y) or len(self.x) < 1:
            raise ValueError(
                f"client {self.partition_id} needs as many labels as examples, at least one; "
                f"found {len(self.x)} examples, {len(self.y)} labels"
            )
        if (self.x_eval is None) != (self.y_eval is None):
            found = "y_eval" if self.x_eval is None else "x_eval"
            raise ValueError(f"`ClientTask` needs x_eval and y_eval together; found only {found}")

    @property
    def num_examples(self) -> int:
        """m, the number of training examples."""
        return len(self.x)

    def with_labels(self, transform: Callable[[Tensor], Tensor]) -> ClientTask:
        """Return the task with its training labels transformed: label-flipping acts here.

        >>> from torch import nn
        >>> task = ClientTask(Objective(nn.Linear(1, 10)), torch.ones(2, 1), torch.tensor([0, 7]),
        ...                   partition_id=0, batch_size=1)
        >>> task.with_labels(lambda y: 9 - y).y
        tensor([9, 2])
        """
        return replace(self, y=transform(self.y))

    def on_device(self) -> ClientTask:
        """Return the task with its data on its device."""
        moved = {
            name: value.to(self.device)
            for name in ("x", "y", "x_eval", "y_eval")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    def draw(self, server_round: int, shape: tuple[int, ...]) -> tuple[Tensor, Batch]:
        """Return the round's example numbers and its batch: x and y are (*shape, …), cut to m."""
        indices, key = draw_batch(
            self.seed, self.partition_id, server_round, self.num_examples, shape
        )
        rows = torch.from_numpy(indices).to(self.x.device)
        key_tensor = torch.tensor(key, dtype=torch.int32, device=self.x.device)
        flat = rows.flatten()
        x, y = (data.index_select(0, flat) for data in (self.x, self.y))
        return rows, Batch(
            x.view(*rows.shape, *x.shape[1:]), y.view(*rows.shape, *y.shape[1:]), key_tensor
        )
