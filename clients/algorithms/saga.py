"""SAGA: gradients corrected by a table of every example's last gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.registry import register

from .base import Algorithm, LocalStep, Payload, State
from .objective import Batch, Buffers, Objective, Params

__all__ = ["Saga"]


@register("client")
@dataclass(frozen=True)
class Saga(Algorithm):
    """Send v = 1/b Σ_{i∈B} (f′_i(x) − f′_i(φ_i)) + 1/J Σ_j f′_j(φ_j).

    f_j is the regularised loss on the client's example j of J, and φ_j the model at which it was
    last drawn. Source: RS-Byrd-SAGA, eqs. (7)–(9) and Algorithm 2, with the mini-batch B of its
    experiments (b = 32; the equations are b = 1). The examples of a batch must differ.

    The J × d table of f′_j(φ_j) and its mean live in a ``GradientTable``; the state of a step is
    what it needs of them: ``stored`` (b, d), the rows of the batch; ``mean`` (d,), float64;
    ``count`` (), J. The new state holds the rows to store and the table's new mean,
    mean + Σ_{i∈B} (f′_i(x) − f′_i(φ_i)) / J. Rows are the parameters in order, flattened.

    Examples
    --------
    >>> Saga().per_sample
    True
    """

    name: ClassVar[str] = "saga"
    payload: ClassVar[Payload] = "gradient"
    per_sample: ClassVar[bool] = True

    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return the corrected gradient; the state holds the rows to write back.

        Raises
        ------
        ValueError
            If the state is not that of a ``GradientTable``, or the model has BatchNorm layers.
        """
        if "stored" not in state:
            raise ValueError("`saga` needs the state of a GradientTable; found no `stored` rows")
        grads, losses = objective.sample_gradients(params, buffers, batch)
        rows = torch.cat([g.flatten(1) for g in grads.values()], dim=1)
        change = rows - state["stored"]
        mean = state["mean"]
        corrected = change.mean(0) + mean.to(rows.dtype)
        sizes = [p.numel() for p in params.values()]
        parts = zip(params.items(), torch.split(corrected, sizes), strict=True)
        update = {name: part.view(p.shape) for (name, p), part in parts}
        new = {
            "stored": rows,
            "mean": mean + change.sum(0).to(mean.dtype) / state["count"],
            "count": state["count"],
        }
        return LocalStep(update, dict(buffers), new, {"train_loss": losses.mean()})
