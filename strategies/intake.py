"""The replies of a round, each for the node that was asked: accepted, or turned away."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flwr.app import Message

from .conduct import Conduct
from .matching import match_replies
from .rejections import Reason, Rejection, Reply
from .vetting import Vetting

__all__ = ["take_in"]


def take_in(
    vetting: Vetting,
    messages: Sequence[Message],
    asked: Sequence[Message],
    conduct: Conduct,
    quarantined: Collection[int],
    *,
    train: bool,
) -> tuple[list[Reply], list[Rejection]]:
    """Match replies with the nodes that were asked and vet one of each.

    Parameters
    ----------
    vetting : Vetting
        What a reply must look like.
    messages, asked : sequence of Message
        What came back, in any order, and what was sent.
    conduct : Conduct
        What the nodes did before, for the reason given to those in quarantine.
    quarantined : collection of int
        Nodes whose replies are not looked at.
    train : bool
        Whether arrays are expected.

    Returns
    -------
    tuple of list of Reply, list of Rejection
        By node id.
    """
    vet = vetting.train if train else vetting.evaluate
    answers, rejections = match_replies(messages, asked)
    accepted = []
    for node_id, message in answers.items():
        if node_id in quarantined and not message.has_error():
            detail = f"{conduct.offences(node_id)} malformed replies before"
            rejections.append(Rejection(node_id, Reason.QUARANTINED, detail))
            continue
        outcome = vet(node_id, message)
        if isinstance(outcome, Rejection):
            rejections.append(outcome)
        else:
            accepted.append(outcome)
    return accepted, rejections
