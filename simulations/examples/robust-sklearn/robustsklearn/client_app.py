"""The clients: scikit-learn and NumPy; no tensor in sight."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from byzflower.clients import sign_flip_mod
from robustsklearn.task import load, train


def lies(message: Message, context: Context, call_next) -> Message:  # type: ignore[no-untyped-def]
    """Flower mod: the last nodes of a simulation send the opposite of what they learned."""
    first = context.node_config["num-partitions"] - context.run_config["num-malicious-nodes"]
    if context.node_config["partition-id"] < first:
        return call_next(message, context)
    return sign_flip_mod(scale=5.0)(message, context, call_next)


app = ClientApp(mods=[lies])


@app.train()
def fit(message: Message, context: Context) -> Message:
    """Go a few steps from the received model on this node's digits."""
    node, config = context.node_config, context.run_config
    x, y = load(node["partition-id"], node["num-partitions"])
    received = message.content["arrays"].to_numpy_ndarrays()
    trained = train(received, x, y, config["c"], config["local-steps"])
    metrics = MetricRecord({"num-examples": len(y)})
    return Message(
        RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics}), reply_to=message
    )
