"""The clients: all train on their share of the digits, some lie about the result."""

from __future__ import annotations

from flwr.app import Context, Message

from byzflower.clients import (
    ClientTask,
    LocalSGD,
    Objective,
    garbage_mod,
    gaussian_mod,
    make_client_app,
    nan_mod,
    scale_mod,
    sign_flip_mod,
)
from quickstart.task import make_model, share

ATTACKS = {
    "sign_flip": sign_flip_mod(scale=5.0),
    "scale": scale_mod(100.0),
    "gaussian": gaussian_mod(std=10.0),
    "nan": nan_mod(),
    "garbage": garbage_mod("truncated"),
}
HONEST = "none"


def load(context: Context) -> ClientTask:
    """Return this node's share of the work."""
    partition = int(context.node_config["partition-id"])
    x, y = share(partition, int(context.node_config["num-partitions"]))
    return ClientTask(Objective(make_model()), x, y, partition_id=partition, batch_size=32)


def lies(message: Message, context: Context, call_next) -> Message:  # type: ignore[no-untyped-def]
    """Flower mod: let the nodes that are to lie pass their reply through an attack."""
    attack = attack_of(context)
    if attack == HONEST:
        return call_next(message, context)
    if attack not in ATTACKS:
        known = ", ".join([HONEST, *ATTACKS])
        raise ValueError(f"`attack` needs one of {known}; found {attack!r}")
    return ATTACKS[attack](message, context, call_next)


def attack_of(context: Context) -> str:
    """Return what a node does: what its own configuration says, else its place in a simulation."""
    if "attack" in context.node_config:  # a deployment's liar
        return str(context.node_config["attack"])
    partition, partitions = (
        int(context.node_config[k]) for k in ("partition-id", "num-partitions")
    )
    first_liar = partitions - int(context.run_config["num-malicious-nodes"])
    simulated = str(context.run_config["attack"])
    return simulated if partition >= first_liar else HONEST


app = make_client_app(load, LocalSGD(steps=20, learning_rate=0.2), mods=[lies])
