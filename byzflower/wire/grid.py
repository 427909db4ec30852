"""A grid around another grid: whatever it does not change goes straight through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

__all__ = ["ForwardingGrid", "ids_to_pull"]


class ForwardingGrid(Grid):
    """Forward every call and unknown attribute to the grid inside; subclasses override some.

    Parameters
    ----------
    grid : Grid
        Connection to the nodes.

    Attributes
    ----------
    inner : Grid
        The grid inside.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> from byzflower.simulations.engines import InProcessGrid
    >>> grid = ForwardingGrid(InProcessGrid(ClientApp(), 3))
    >>> list(grid.get_node_ids()), len(grid.contexts)
    ([1, 2, 3], 3)
    """

    def __init__(self, grid: Grid) -> None:
        self.inner = grid

    def set_run(self, run: Any) -> None:
        """Set the inner grid's run."""
        self.inner.set_run(run)

    @property
    def run(self) -> Any:
        """The inner grid's run."""
        return self.inner.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message made by the inner grid."""
        return self.inner.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of the inner grid's nodes."""
        return self.inner.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        """Return what the inner grid knows of its nodes (not every version of Flower asks)."""
        return self.inner.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Push to the inner grid."""
        return self.inner.push_messages(messages)

    def pull_messages(  # type: ignore[override, unused-ignore]  # as of Flower 1.43
        self,
        reply_to_message_ids: Iterable[str] | None = None,
        *,
        message_ids: Iterable[str] | None = None,
    ) -> Iterable[Message]:
        """Pull from the inner grid, see `ids_to_pull` for the arguments."""
        wanted = ids_to_pull(reply_to_message_ids, message_ids)
        # By position: the argument's name changed with Flower 1.43.
        return self.inner.pull_messages(*([] if wanted is None else [wanted]))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send over the inner grid and return its replies."""
        return self.inner.send_and_receive(messages, timeout=timeout)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet, as while unpickling
            raise AttributeError(name)
        return getattr(self.inner, name)


def ids_to_pull(
    reply_to_message_ids: Iterable[str] | None, message_ids: Iterable[str] | None
) -> list[str] | None:
    """Return the ids that a call of `Grid.pull_messages` names, under the new or the old name.

    Parameters
    ----------
    reply_to_message_ids : Iterable[str] or None
        Ids of messages whose replies are wanted: Flower's name since 1.43.
    message_ids : Iterable[str] or None
        The same under its name before.

    Returns
    -------
    list[str] or None
        The ids; ``None``, for all replies there are, if neither is given.

    Raises
    ------
    TypeError
        If both are given.

    Examples
    --------
    >>> ids_to_pull({"a"}, None), ids_to_pull(None, ["b"]), ids_to_pull(None, None)
    (['a'], ['b'], None)
    """
    if reply_to_message_ids is not None and message_ids is not None:
        raise TypeError("specify only one of `reply_to_message_ids` and `message_ids`")
    given = message_ids if reply_to_message_ids is None else reply_to_message_ids
    return None if given is None else list(given)
