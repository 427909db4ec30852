"""The clients: only adapters come and go."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from byzflower.clients import sign_flip_mod
from robustlora.task import Transformer, adapters, load_adapters, texts, train


def lies(message: Message, context: Context, call_next) -> Message:  # type: ignore[no-untyped-def]
    """Flower mod: the last nodes of a simulation send the opposite of what they learned."""
    first = context.node_config["num-partitions"] - context.run_config["num-malicious-nodes"]
    if context.node_config["partition-id"] < first:
        return call_next(message, context)
    return sign_flip_mod(scale=10.0)(message, context, call_next)


app = ClientApp(mods=[lies])


@app.train()
def fit(message: Message, context: Context) -> Message:
    """Train the adapters on this node's texts."""
    config = context.run_config
    model = Transformer(config["rank"])
    load_adapters(model, message.content["arrays"].to_torch_state_dict())
    data = texts(context.node_config["partition-id"])
    loss = train(model, data, config["local-steps"], config["learning-rate"])
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(data[0])})
    arrays = ArrayRecord(adapters(model))
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
