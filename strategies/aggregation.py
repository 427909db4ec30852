"""Aggregating vetted replies: the rule's value, and what it says about each node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import numpy as np
import torch
from torch import Tensor

from byzflower.aggregator import Aggregator
from byzflower.errors import InfeasibleError
from byzflower.explanation import Explanation
from byzflower.wire.payload import Payload

from .rejections import Reason, Rejection, Reply
from .sent_model import SentModel
from .vetting import is_finite

__all__ = ["Aggregation", "aggregate_replies"]

_FARTHEST = 1e6  # median distances; keeps averages over rounds finite


@dataclass(frozen=True)
class Aggregation:
    """What a rule made of the replies.

    Attributes
    ----------
    used : tuple of Reply
        Replies whose updates are finite, by node id.
    f : int
        Faults assumed among them.
    rejections : tuple of Rejection
        Replies with NaN or Inf.
    failure : Exception or None
        Why there is no value; then all below is ``None``.
    explanation : Explanation or None
        The aggregate, weights and what each step did.
    distances : dict or None
        Distance of each node's update to the aggregate, in units of the median distance;
        ``None`` if not measured.
    shares : dict or None
        Weight of each node × number of nodes; ``None`` for coordinate-wise rules.
    clipped : frozenset of int or None
        Nodes whose updates were clipped; ``None`` if no step of the rule clips single updates.
    """

    used: tuple[Reply, ...]
    f: int
    rejections: tuple[Rejection, ...] = ()
    failure: Exception | None = None
    explanation: Explanation | None = None
    distances: dict[int, float] | None = None
    shares: dict[int, float] | None = None
    clipped: frozenset[int] | None = None


def aggregate_replies(
    rule: Aggregator,
    model: SentModel,
    replies: Sequence[Reply],
    payload: Payload,
    f: int,
    *,
    malformed: int = 0,
    rng: torch.Generator | None = None,
    center: Tensor | None = None,
    measure_distances: bool = True,
) -> Aggregation:
    """Apply a rule to the replies; report instead of raising where it is undefined.

    Parameters
    ----------
    rule : Aggregator
        Aggregation.
    model : Model
        Model that was sent.
    replies : Sequence[Reply]
        Vetted replies, in the order of their node ids so that the result is reproducible.
    payload : {"model", "gradient"}
        What the replies hold.
    f : int
        Bound on malicious nodes, those behind the malformed replies included.
    malformed : int
        Replies that only a malicious node sends and that are already turned away.
    rng : torch.Generator or None
        Randomness of the rule.
    center : Tensor or None
        Previous aggregate, shape (d,), for rules with ``needs_center``.
    measure_distances : bool
        Whether to measure the updates' distances to the aggregate.
    """
    replies = tuple(replies)
    if malformed > f:
        failure = InfeasibleError(
            f"`num_malicious_nodes` needs to cover the malformed replies; found f = {f} and "
            f"{malformed} such replies"
        )
        return Aggregation(replies, 0, failure=failure)
    f -= malformed
    if not replies:
        return Aggregation((), f, failure=InfeasibleError("a rule needs replies; found none"))
    if diverged := model.diverged(replies):
        return Aggregation(replies, f, failure=diverged)
    updates = model.updates(replies, payload)
    if center is not None:
        center = center.to(updates.device)
    try:
        explanation = rule.explain(updates, f, rng=rng, center=center, distances=measure_distances)
    except Exception as error:  # InfeasibleError, or whatever hostile values provoke in a rule
        finite = [i for i, reply in enumerate(replies) if _is_finite(reply, model)]
        used, rejections = _split(replies, finite)
        return Aggregation(used, max(0, f - len(rejections)), rejections, failure=error)
    used, rejections = _split(replies, explanation.kept)
    return Aggregation(
        used,
        f - len(rejections),
        rejections,
        explanation=explanation,
        distances=_distances(replies, explanation),
        shares=_shares(replies, explanation),
        clipped=_clipped(replies, explanation),
    )


def _is_finite(reply: Reply, model: SentModel) -> bool:
    return all(is_finite(reply.tensors[key]) for key in model.parameters)


def _split(
    replies: tuple[Reply, ...], kept: Sequence[int]
) -> tuple[tuple[Reply, ...], tuple[Rejection, ...]]:
    chosen = set(kept)
    rejections = tuple(
        Rejection(reply.node_id, Reason.NON_FINITE, "needs finite arrays; found NaN or Inf")
        for row, reply in enumerate(replies)
        if row not in chosen
    )
    return tuple(replies[row] for row in sorted(chosen)), rejections


def _distances(replies: tuple[Reply, ...], explanation: Explanation) -> dict[int, float] | None:
    if explanation.distances is None:
        return None
    lengths = explanation.distances.numpy()[list(explanation.kept)]
    middle = float(np.median(lengths))
    relative = lengths / middle if 0 < middle < np.inf else np.where(lengths > 0, np.inf, 1.0)
    capped = np.nan_to_num(np.minimum(relative, _FARTHEST), nan=_FARTHEST)
    nodes = [replies[row].node_id for row in explanation.kept]
    return dict(zip(nodes, capped.tolist(), strict=True))


def _shares(replies: tuple[Reply, ...], explanation: Explanation) -> dict[int, float] | None:
    if explanation.weights is None:
        return None
    rows = len(explanation.kept)
    return {
        replies[row].node_id: float(explanation.weights[row]) * rows for row in explanation.kept
    }


def _clipped(replies: tuple[Reply, ...], explanation: Explanation) -> frozenset[int] | None:
    found = [step.note["clipped_rows"] for step in explanation.steps if "clipped_rows" in step.note]
    if not found:
        return None
    rows = cast("list[tuple[int, ...]]", found)
    return frozenset(replies[row].node_id for row in chain.from_iterable(rows))
