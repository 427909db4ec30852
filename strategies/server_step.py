"""The inner strategy's step with one aggregate, of which nothing is left if it goes wrong."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from byzflower.wire.arrays import to_record
from byzflower.wire.flower_internals import relabel_source
from byzflower.wire.metrics import MetricValue
from byzflower.wire.payload import Payload

from .inner_strategy import restored_on_error, showing, without_counts
from .metrics import capped_metrics, finite_metrics, median_metrics
from .rejections import Reply
from .sent_model import SentModel

__all__ = ["Stepped", "step"]

Stepped: TypeAlias = tuple[ArrayRecord, dict[str, MetricValue]]
"""The new model, and what the inner strategy made of the clients' metrics."""

_NOBODY = 0  # the node id of no node


def step(
    inner: Strategy,
    server_round: int,
    model: SentModel,
    value: Tensor,
    replies: tuple[Reply, ...],
    *,
    payload: Payload,
    f: int,
    answers: Message,
    names: tuple[str, str],
) -> Stepped:
    """Give the aggregate to the inner strategy as one reply of no real node.

    Parameters
    ----------
    inner : Strategy
        Strategy that steps.
    server_round : int
        Flower's number of the round.
    model : SentModel
        Model that was sent.
    value : Tensor
        Aggregate, shape (d,); overwritten.
    replies : tuple of Reply
        Those that it was made of; they agree on the buffers, and their metrics, each value capped
        to what is left without the f smallest and largest, reach ``train_metrics_aggr_fn``.
    payload : {"model", "gradient"}
        What the replies hold.
    f : int
        How many of the nodes asked may be malicious.
    answers : Message
        A message of the round; Flower makes replies from one.
    names : tuple of str, str
        Names of the record of arrays and of the metric that counts examples.

    Raises
    ------
    Exception
        Whatever the inner strategy raises, or ValueError if its result has another layout or is
        not finite; its attributes are as they were.
    """
    arrays_name, examples_name = names
    restored = model.restore(value, replies, payload)
    medians = median_metrics([reply.metrics for reply in replies])
    metrics = MetricRecord({**medians, examples_name: 1})
    reply = Message(
        RecordDict({arrays_name: to_record(restored), "metrics": metrics}), reply_to=answers
    )
    relabel_source(reply, _NOBODY)
    capped = capped_metrics(replies, f)
    records = [own.with_metrics(claims) for own, claims in zip(replies, capped, strict=True)]
    # An optimiser steps constants, too, Inf − Inf; what it makes of them is not taken.
    quiet = np.errstate(invalid="ignore")
    with restored_on_error(inner), without_counts(), showing(inner, records), quiet:
        arrays, made = inner.aggregate_train(server_round, [reply])
        if arrays is None:
            raise ValueError("the inner strategy returned no arrays")
        return to_record(model.conform(arrays, restored)), finite_metrics(made or {})
