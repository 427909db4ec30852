"""The honest client as a Flower ``ClientApp``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from byzflower.wire.arrays import to_tensor

from .algorithms import Algorithm
from .node import Node
from .task import ClientTask

if TYPE_CHECKING:  # Flower 1.30 does not have these names
    from flwr.clientapp.typing import Mod

__all__ = ["TrainingApp", "make_client_app", "received_model", "server_round_of"]


class TrainingApp(ClientApp):
    """A ``ClientApp`` that shows its parts, so that an engine may train many clients at once."""

    def __init__(self, nodes: Nodes, mods: Sequence[Mod]) -> None:
        super().__init__(mods=list(mods))
        self.nodes = nodes
        self.mods = tuple(mods)


def make_client_app(
    load: Callable[[Context], ClientTask], algorithm: Algorithm, mods: Sequence[Mod] = ()
) -> TrainingApp:
    """Return a ``ClientApp`` that trains with ``algorithm`` and also evaluates and says who it is.

    * train: ``arrays`` (the model's ``state_dict``) and ``config["server-round"]`` in; ``arrays``
      (same keys, shapes and dtypes: for the parameters what the algorithm sends, for the buffers
      their new values), ``metrics`` (``num-examples``, ``train_loss``) and ``byzflower``
      (``payload``: whether the algorithm sends a ``model`` or a ``gradient``; ``buffers``: which
      arrays are no parameters) out. A loss that is not finite is answered like any other.
    * evaluate: ``arrays`` in; ``metrics`` (``num-examples``, ``eval_loss``, ``eval_acc``) out.
    * query: ``metrics`` (``partition-id``) out, from ``node_config`` if it is there.

    Parameters
    ----------
    load
        Gives a node's task; called once for each node of a run in each process, and forgotten when
        another run starts. One process serves one run at a time.
    algorithm
        What the client computes. Small memory (a momentum) lives in ``context.state``, SAGA's
        table in ``ClientTask.state_dir``.
    mods
        Flower mods around all three functions, the first outermost.

    Raises
    ------
    ValueError
        From the app, if a message lacks a part, or arrays differ from the model in keys, shapes or
        dtypes; Flower turns it into an error reply.

    Examples
    --------
    >>> import torch
    >>> from byzflower.clients.algorithms import Momentum, Objective
    >>> model = torch.nn.Linear(4, 3)
    >>> def load(context):
    ...     x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    ...     return ClientTask(Objective(model), x, y, partition_id=0, batch_size=2)
    >>> app = make_client_app(load, Momentum(beta=0.9))
    >>> type(app).__name__
    'TrainingApp'
    """
    nodes = Nodes(load, algorithm)
    app = TrainingApp(nodes, mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = nodes.of(context)
        server_round = server_round_of(message.content)
        content = node.train(received_model(message.content, node), server_round, context)
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        node = nodes.of(context)
        count, metrics = node.evaluate(received_model(message.content, node))
        record = MetricRecord({"num-examples": count, **metrics})
        return Message(RecordDict({"metrics": record}), reply_to=message)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        partition_id = context.node_config.get("partition-id")
        if not isinstance(partition_id, int):
            partition_id = nodes.of(context).task.partition_id
        record = MetricRecord({"partition-id": partition_id})
        return Message(RecordDict({"metrics": record}), reply_to=message)

    return app


class Nodes:
    """The nodes of the current run that this process has served."""

    def __init__(self, load: Callable[[Context], ClientTask], algorithm: Algorithm) -> None:
        self._load = load
        self.algorithm = algorithm
        self._run_id: int | None = None
        self._nodes: dict[int, Node] = {}

    def of(self, context: Context) -> Node:
        """Return the node of this context, loaded on first use."""
        if context.run_id != self._run_id:
            self._run_id, self._nodes = context.run_id, {}
        if context.node_id not in self._nodes:
            self._nodes[context.node_id] = Node(self._load(context), self.algorithm)
        return self._nodes[context.node_id]

    def __reduce__(self) -> tuple[type[Nodes], tuple[object, ...]]:
        # Another process loads its own data.
        return Nodes, (self._load, self.algorithm)


def server_round_of(content: RecordDict) -> int:
    """Return the round that a train message says it is."""
    config = content.get("config")
    value = config.get("server-round") if isinstance(config, ConfigRecord) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"a train message needs config['server-round'], an int; found {value!r}")
    return value


def received_model(content: RecordDict, node: Node) -> dict[str, Tensor]:
    """Return the received state_dict on the client's device, checked against its own model."""
    record = content.get("arrays")
    if not isinstance(record, ArrayRecord):
        raise ValueError(f"a message needs the ArrayRecord 'arrays'; found {sorted(content)}")
    layout = node.objective.layout
    if record.keys() != layout.keys():
        missing, extra = (
            sorted(layout.keys() - record.keys()),
            sorted(record.keys() - layout.keys()),
        )
        raise ValueError(f"'arrays' needs the model's keys; missing {missing}, unknown {extra}")
    model = {}
    for name, array in record.items():
        try:
            tensor = to_tensor(array)
        except Exception as error:
            raise ValueError(f"arrays['{name}'] cannot be read: {error}") from error
        if (tensor.shape, tensor.dtype) != layout[name]:
            shape, dtype = layout[name]
            raise ValueError(
                f"arrays['{name}'] needs shape {tuple(shape)} and {dtype}; "
                f"found {tuple(tensor.shape)} and {tensor.dtype}"
            )
        model[name] = tensor.to(node.task.device)
    return model
