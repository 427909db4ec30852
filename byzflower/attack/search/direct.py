"""What faulty rows of any kind do to the server's aggregate, by running its rule on them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from byzflower.aggregator import Aggregator
from byzflower.attack.search.observation import Observation
from byzflower.geometry import Array

__all__ = ["inner_products"]


def inner_products(
    seen: Observation,
    rule: Aggregator,
    others: torch.Tensor,
    candidates: Iterable[torch.Tensor],
    along: torch.Tensor,
    *,
    draws: int,
) -> Array:
    """Return ⟨R, g⟩ for the aggregate R that each candidate brings about, shape (T,).

    Costs an aggregation a candidate and draw; where candidates are copies of one vector on a line
    and g is the honest mean, :class:`~byzflower.attack.search.effect.Candidates` costs about two in
    all.

    Parameters
    ----------
    seen
        The round; its randomness and its centre.
    others
        The rows that no candidate changes, (n − f, d).
    candidates
        T sets of faulty rows, (f, d) each.
    along
        g, shape (d,).
    draws
        How many draws of a randomised rule are averaged, the same ones for every candidate.

    Examples
    --------
    >>> import byzflower as bf
    >>> seen = Observation(torch.tensor([[1.0], [2.0]]), 1, torch.Generator())
    >>> sets = [torch.tensor([[value]]) for value in (3.0, -6.0)]
    >>> inner_products(seen, bf.Mean(), seen.honest, sets, torch.tensor([2.0]), draws=1)
    array([ 4., -2.])
    """
    device = seen.rng.device
    seeds = torch.randint(2**62, (draws,), generator=seen.rng, device=device).tolist()
    values = []
    for faulty in candidates:
        everyone, found = torch.cat([others, faulty.to(others)]), []
        for seed in seeds:
            rng = torch.Generator().manual_seed(seed)
            before = rng.get_state()
            aggregate = rule(everyone, seen.f, rng=rng, center=seen.center)
            found.append(float(aggregate.double() @ along.double()))
            if torch.equal(before, rng.get_state()):
                break
        values.append(sum(found) / len(found))
    return np.array(values)
