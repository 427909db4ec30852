"""mixtailor: the workers, who send the gradient of a batch."""

from byzflower.clients import ClientTask, Gradient, Objective, make_client_app
from flwr.app import Context

from mixtailor.dataset import load_partition
from mixtailor.model import make_model


def load(context: Context) -> ClientTask:
    """Return what a node works on.

    The last nodes are malicious and never train: what they send is forged where the
    server's messages pass (``byzflower.clients.Adversary``).
    """
    config, node = context.run_config, context.node_config
    number, nodes = int(node["partition-id"]), int(node["num-partitions"])
    honest = nodes - int(config["num-malicious-nodes"])
    x, y = load_partition(config, number % honest, honest)
    seed = int(config["seed"])
    model = make_model(str(config["dataset"]), seed)
    return ClientTask(
        Objective(model, l2=float(config["weight-decay"])),
        x,
        y,
        partition_id=number,
        batch_size=int(config["batch-size"]),
        seed=seed,
    )


app = make_client_app(load, Gradient())
