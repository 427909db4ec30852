"""Which node holds which partition."""

from __future__ import annotations

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

__all__ = ["partition_ids"]


def partition_ids(
    grid: Grid, *, message_type: str = "query", timeout: float | None = 60.0
) -> dict[int, int]:
    """Ask every node for its partition.

    Node ids are random on Flower's own simulation and in a deployment; the partition-id tells
    which client of the experiment a node is. The engines of this package number their nodes
    1 … n in partition order, so this is for other grids.

    Parameters
    ----------
    grid : Grid
        Connection to the nodes, whose ClientApp answers `message_type` with a MetricRecord that
        has the entry ``"partition-id"`` (as `byzflower.clients.make_client_app` does).
    message_type : str
        Type of the message to send.
    timeout : float, optional
        Seconds to wait for the answers.

    Returns
    -------
    dict[int, int]
        Node id to partition-id, in partition order.

    Raises
    ------
    RuntimeError
        If a node does not answer, answers with an error, or two nodes hold one partition.
    """
    nodes = sorted(grid.get_node_ids())
    messages = [Message(RecordDict(), node, message_type) for node in nodes]
    found: dict[int, int] = {}
    for reply in grid.send_and_receive(messages, timeout=timeout):
        node = reply.metadata.src_node_id
        if reply.has_error():
            raise RuntimeError(f"node {node} did not tell its partition: {reply.error.reason}")
        found[node] = _partition(reply)
    if missing := sorted(set(nodes) - set(found)):
        raise RuntimeError(f"nodes {missing} did not tell their partition within {timeout} s")
    if len(set(found.values())) < len(found):
        raise RuntimeError(f"partition-ids must be distinct; found {sorted(found.values())}")
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _partition(reply: Message) -> int:
    for record in reply.content.metric_records.values():
        value = record.get("partition-id")
        if isinstance(value, int):
            return value
    raise RuntimeError(
        f"the answer of node {reply.metadata.src_node_id} has no integer `partition-id`; "
        "the ClientApp needs a query handler that returns it"
    )
