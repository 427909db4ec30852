"""Send a client app to each Ray worker process once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, cast

from flwr.app import Context, Message, MetricRecord, RecordDict

from byzflower.simulations.engines.execution import Client, execute

__all__ = ["PARTITION_QUERY", "ShippedApp"]

# The engine's own question; the client app need not know it.
PARTITION_QUERY = "query.byzflower_partition_id"


class ShippedApp:
    """A client app that a worker process unpickles once, though every message brings it along.

    Flower's simulation pickles the app with each message, so data that a client loads lazily and
    keeps would be loaded again for each. This stand-in pickles as a reference to Ray's object
    store; a worker resolves it on the first message and keeps the app.

    Parameters
    ----------
    client_app : ClientApp
        App to run.
    run_config : Mapping[str, object], optional
        Configuration the clients see as ``context.run_config``; Flower's function has no argument
        for it.
    """

    def __init__(
        self,
        client_app: Client,
        run_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._client_app = client_app
        self._run_config = dict(run_config or {})
        self._token = uuid.uuid4().hex
        self._reference: Any = None
        self._lock = threading.Lock()

    def __call__(self, message: Message, context: Context) -> Message:
        """Run the client app, or tell the node's partition-id."""
        if message.metadata.message_type == PARTITION_QUERY:
            partition = cast(int, context.node_config["partition-id"])
            answer = RecordDict({"metrics": MetricRecord({"partition-id": partition})})
            return Message(answer, reply_to=message)
        flower_config = context.run_config
        context.run_config = {**flower_config, **self._run_config}
        try:
            return execute(self._client_app, message, context)
        finally:  # Flower refuses contexts whose configuration has changed
            context.run_config = flower_config

    def __reduce__(self) -> tuple[Callable[..., ShippedApp], tuple[str, Any]]:
        """Pickle as a reference to Ray's object store."""
        import ray  # noqa: PLC0415  # only where Ray runs

        with self._lock:  # one thread per worker pickles this
            if self._reference is None:
                self._reference = ray.put((self._client_app, self._run_config))
        return _received, (self._token, self._reference)


_apps: dict[str, ShippedApp] = {}


def _received(token: str, reference: Any) -> ShippedApp:
    import ray  # noqa: PLC0415  # only where Ray runs

    if token not in _apps:
        _apps.clear()
        _apps[token] = ShippedApp(*ray.get(reference))
    return _apps[token]
