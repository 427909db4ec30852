"""Run a client app on a message; what it raises becomes an error reply, reported once."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import TypeAlias

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from byzflower.wire.flower_internals import CLIENT_RAISED

__all__ = ["Client", "FailureLog", "execute"]

Client: TypeAlias = ClientApp | Callable[[Message, Context], Message]
_log = logging.getLogger(__name__)


def execute(client_app: Client, message: Message, context: Context) -> Message:
    """Return the client's reply, or an error reply with the traceback if it raises.

    `KeyboardInterrupt`, `SystemExit` and their like come through.
    """
    try:
        reply = client_app(message, context)
        if not isinstance(reply, Message):
            raise TypeError(f"the ClientApp returned {type(reply).__name__}, not a Message")
    except Exception as exception:
        head = f"{type(exception).__name__}: {exception}".splitlines()[0]
        details = "".join(traceback.format_exception(exception))
        return Message(Error(CLIENT_RAISED, f"{head}\n{details}"), reply_to=message)
    return reply


class FailureLog:
    """Log each kind of client failure once; strategies log the one-line reason every time."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def note(self, reply: Message) -> None:
        """Log the traceback in an error reply that is new, and leave its first line as reason."""
        if not reply.has_error() or reply.error.code != CLIENT_RAISED:
            return
        head, _, details = (reply.error.reason or "").partition("\n")
        reply.error = Error(CLIENT_RAISED, head)
        if head not in self._seen:
            self._seen.add(head)
            _log.error("the client of node %d failed\n%s", reply.metadata.src_node_id, details)
