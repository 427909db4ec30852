"""The clients: what a Flower client in PyTorch looks like, and two that lie."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from byzflower.clients import momentum_mod, sign_flip_mod
from robustpytorch.task import Net, load, test, train


def lies(message: Message, context: Context, call_next) -> Message:  # type: ignore[no-untyped-def]
    """Flower mod: the last nodes of a simulation send the opposite of what they learned."""
    first = context.node_config["num-partitions"] - context.run_config["num-malicious-nodes"]
    if context.node_config["partition-id"] < first:
        return call_next(message, context)
    return sign_flip_mod(scale=5.0)(message, context, call_next)


app = ClientApp(mods=[lies, momentum_mod(beta=0.5)])


@app.train()
def fit(message: Message, context: Context) -> Message:
    """Train the received model on this node's digits."""
    model, data = _model(message), _data(context)
    config = context.run_config
    loss = train(model, data, config["local-epochs"], config["learning-rate"], config["batch-size"])
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(data)})
    arrays = ArrayRecord(model.state_dict())
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Test the received model on this node's digits."""
    data = _data(context)
    loss, accuracy = test(_model(message), data)
    numbers = {"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(data)}
    return Message(RecordDict({"metrics": MetricRecord(numbers)}), reply_to=message)


def _model(message: Message) -> Net:
    model = Net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return model


def _data(context: Context):  # type: ignore[no-untyped-def]
    config = context.node_config
    return load(config["partition-id"], config["num-partitions"])
