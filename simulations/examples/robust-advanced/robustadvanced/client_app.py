"""The clients: ordinary ones, whose learning rate comes with each message; and two that lie."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from byzflower.clients import momentum_mod, sign_flip_mod
from robustadvanced.task import load, make_model, train


def lies(message: Message, context: Context, call_next) -> Message:  # type: ignore[no-untyped-def]
    """Flower mod: the last nodes of a simulation send the opposite of what they learned."""
    first = context.node_config["num-partitions"] - context.run_config["num-malicious-nodes"]
    if context.node_config["partition-id"] < first:
        return call_next(message, context)
    return sign_flip_mod(scale=5.0)(message, context, call_next)


app = ClientApp(mods=[lies, momentum_mod(beta=0.5)])


@app.train()
def fit(message: Message, context: Context) -> Message:
    """Train the received model on this node's digits, at the rate that the server asks for."""
    model = make_model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    node = context.node_config
    data = load(node["partition-id"], node["num-partitions"])
    rate = message.content["config"]["learning-rate"]
    loss = train(model, data, context.run_config["local-epochs"], rate)
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(data[1])})
    arrays = ArrayRecord(model.state_dict())
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
