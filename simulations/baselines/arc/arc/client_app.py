"""arc: the workers of Algorithm 3, who send momentums."""

from byzflower.clients import (
    Algorithm,
    ClientTask,
    Gradient,
    Momentum,
    Objective,
    make_client_app,
)
from byzflower.clients.augmentation import random_flip
from flwr.app import Context

from arc.dataset import SOURCES, load_partition, load_split
from arc.model import make_model


def load(context: Context) -> ClientTask:
    """Return what a node works on.

    The last nodes are malicious. They hold no data: what they send is forged where the
    server's messages pass (``byzflower.clients.Adversary``). Only label flipping takes
    training; it is the gradient on all honest data with label 9 - y instead of y (D.3).
    """
    config, node = context.run_config, context.node_config
    number, nodes = int(node["partition-id"]), int(node["num-partitions"])
    honest = nodes - int(config["num-malicious-nodes"])
    batch_size = int(config["batch-size"])
    algorithm: Algorithm = Momentum(float(config["momentum"]))
    if number < honest:
        x, y = load_partition(config, number, honest)
    else:
        x, y = load_split(config, "train")
        y, batch_size, algorithm = 9 - y, honest * batch_size, Gradient()
    dataset, seed = str(config["dataset"]), int(config["seed"])
    l2 = float(config["weight-decay"])
    return ClientTask(
        Objective(make_model(dataset, seed), l2=l2, squared=dataset != "cifar10"),
        x,
        y,
        partition_id=number,
        batch_size=batch_size,
        seed=seed,
        algorithm=algorithm,
        augment=random_flip if SOURCES[dataset].flips else None,
    )


app = make_client_app(load, Momentum())  # each task brings its own momentum coefficient
