"""Which node sent a reply: the one that was asked, whatever the reply says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flwr.app import Message

from byzflower.wire.flower_internals import SUPERLINK_NODE_ID

from .rejections import Reason, Rejection, excerpt

__all__ = ["match_replies"]


def match_replies(
    replies: Iterable[Message], asked: Sequence[Message]
) -> tuple[dict[int, Message], list[Rejection]]:
    """Match replies with the messages they answer.

    The id of the message that a reply answers decides; grids that set no message ids are matched by
    source. An answer in another node's place is turned away, unless it is an error of Flower's
    server itself, which says so for a node that is gone. A node that answers twice is believed
    neither time: preferring one answer would make the result depend on the order of arrival. It is
    not held against the node: both ids are words of whoever sent the reply, unless the grid is
    guarded (`byzflower.wire.guard.GuardedGrid`).

    Parameters
    ----------
    replies : Iterable[Message]
        Messages that came back, in any order.
    asked : Sequence[Message]
        Messages that were sent.

    Returns
    -------
    tuple[dict[int, Message], list[Rejection]]
        Reply of each node, ordered by node id, and the replies turned away.
    """
    nodes = {message.metadata.dst_node_id for message in asked}
    by_message = {
        message.metadata.message_id: message.metadata.dst_node_id
        for message in asked
        if message.metadata.message_id
    }
    answers: dict[int, list[Message]] = {}
    rejections = []
    for reply in replies:
        source, answered = reply.metadata.src_node_id, reply.metadata.reply_to_message_id
        node = by_message.get(answered)
        if node is None and source in nodes and not by_message:
            node = source
        if node is not None and source != node and not _of_the_server(reply, nodes):
            detail = f"answers a message to node {node}"
            rejections.append(Rejection(source, Reason.UNASKED, detail))
        elif node is None:
            detail = f"answers no message of this round ({excerpt(answered)})"
            rejections.append(Rejection(source, Reason.UNASKED, detail))
        else:
            answers.setdefault(node, []).append(reply)
    for node, several in answers.items():
        if len(several) > 1:
            detail = f"needs one reply a message; found {len(several)}"
            rejections.append(Rejection(node, Reason.DUPLICATE, detail))
    return {node: one[0] for node, one in sorted(answers.items()) if len(one) == 1}, rejections


def _of_the_server(reply: Message, nodes: set[int]) -> bool:
    # No node of a deployment gets the server's id.
    from_server = reply.metadata.src_node_id == SUPERLINK_NODE_ID
    return reply.has_error() and from_server and SUPERLINK_NODE_ID not in nodes
