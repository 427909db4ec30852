"""Train all clients of a round in one batch: ``torch.func.vmap`` over their local steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor
from torch.func import vmap

from byzflower.clients.algorithms import Batch, LocalStep, State
from byzflower.clients.algorithms.trees import layout, leaves, map_trees
from byzflower.clients.app import TrainingApp, received_model, server_round_of
from byzflower.clients.node import Node, Work
from byzflower.updates import stacked_view

from .inprocess import InProcessGrid

__all__ = ["BatchedGrid"]

_log = logging.getLogger(__name__)
_BUDGET = 2 << 30
# Beyond so many clients a joint step gains nothing from more, and what leaves the caches costs.
_ENOUGH = 64
_NEARBY = 64 << 20


class _Client(NamedTuple):
    """One client's part of the round: its message, its node and what its step works on."""

    message: Message
    context: Context
    node: Node
    work: Work


class BatchedGrid(InProcessGrid):
    """In-process grid that trains many clients of ``make_client_app`` at once.

    Clients whose batches have one shape are stacked and take their local step together, on the
    CPU or a GPU; their states and updates stay stacked on the device, and each reply holds views
    of the result, so nothing is serialised or copied to the host. Clients with other batch sizes
    form groups of their own. Apps not made by ``make_client_app``, or wrapped in mods, run one
    after another, as on :class:`InProcessGrid`; so do evaluation and queries, and a group whose
    joint step raises, so that only the client at fault answers with an error. A model that draws
    from PyTorch's generator, as ``functional.dropout`` does (``nn.Dropout`` does not), always goes
    one by one: each client's draws are its own, on every engine.

    Parameters
    ----------
    client_app, num_nodes, run_config, client_threads
        As for :class:`InProcessGrid`; a joint step takes all threads, which share out the clients.
    memory_budget : int
        Most bytes that one group's batches, activations, gradients and states may take
        (estimated); larger groups are split, and so is one of more than 64 clients from 64 MiB on,
        which costs no time and less memory.
    """

    def __init__(
        self,
        client_app: ClientApp | Callable[[Message, Context], Message],
        num_nodes: int,
        *,
        run_config: Mapping[str, Any] | None = None,
        client_threads: int | None = None,
        memory_budget: int = _BUDGET,
    ) -> None:
        super().__init__(
            client_app, num_nodes, run_config=run_config, client_threads=client_threads
        )
        self._budget = memory_budget
        self._sizes: dict[tuple[object, ...], int] = {}
        self._app = client_app if isinstance(client_app, TrainingApp) else None
        if self._app is None or self._app.mods:
            found = "wrapped in mods" if self._app else "not made by make_client_app"
            _log.info("the ClientApp is %s: its clients run one after another", found)
            self._app = None

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Execute the messages; train messages that share one content are executed together."""
        messages = list(messages)
        rounds: dict[int, list[Message]] = {}
        for message in messages:
            known = message.metadata.dst_node_id in self.contexts
            if self._app and known and message.metadata.message_type == "train":
                rounds.setdefault(id(message.content), []).append(message)
        done: dict[int, RecordDict] = {}
        for together in rounds.values():
            done.update(self._train(together))
        for message in messages:
            if id(message) in done:
                self.deposit(message, done[id(message)])
        rest = [message for message in messages if id(message) not in done]
        super().push_messages(rest)
        return [message.metadata.message_id for message in messages]

    def _train(self, messages: Sequence[Message]) -> dict[int, RecordDict]:
        """Return replies by the identity of their messages, without those of clients that fail."""
        assert self._app is not None
        content = messages[0].content
        try:
            server_round = server_round_of(content)
            first = self._app.nodes.of(self.contexts[messages[0].metadata.dst_node_id])
            model = received_model(content, first)
        except Exception:  # one by one, so that each client answers with its own error
            return {}
        params, buffers = first.objective.split(model)
        groups: dict[tuple[object, ...], list[_Client]] = {}
        for message in messages:
            context = self.contexts[message.metadata.dst_node_id]
            try:
                node = self._app.nodes.of(context)
                work = node.prepare(params, buffers, server_round, context)
            except Exception:
                continue
            key = (id(node.task.objective), node.algorithm, str(node.task.device), *_shapes(work))
            groups.setdefault(key, []).append(_Client(message, context, node, work))
        replies: dict[int, RecordDict] = {}
        for key, group in groups.items():
            try:
                size = self._group_size(key, group[0], params, buffers)
            except Exception:  # as above: the client that was tried will say why
                continue
            for start in range(0, len(group), size):
                part = group[start : start + size]
                try:
                    replies.update(_step_together(part, model))
                except Exception as error:
                    found = f"{type(error).__name__}: {error}".partition("\n")[0]
                    _log.info("a joint step of %d clients raised %s; one by one", len(part), found)
        return replies

    def _group_size(
        self,
        key: tuple[object, ...],
        client: _Client,
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
    ) -> int:
        """Return how many clients fit the memory budget, from one client's own step."""
        if key not in self._sizes:
            cost = _activation_bytes(client, params, buffers)
            held = [*params.values()] * 3 + [*client.work.state.values()] * 2
            held += leaves(client.work.batch)
            cost += sum(t.numel() * t.element_size() for t in held)
            size = min(self._budget // cost, max(_NEARBY // cost, _ENOUGH))
            self._sizes[key] = max(1, size)
        return self._sizes[key]


def _shapes(work: Work) -> tuple[object, ...]:
    # Names too: dicts of other keys are no batches of one form, whatever their shapes.
    return (*map(layout, work.batch), *(tensor.shape for tensor in work.state.values()))


def _activation_bytes(
    client: _Client, params: dict[str, Tensor], buffers: dict[str, Tensor]
) -> int:
    """Return the bytes that one client's backward pass keeps, by letting it run once."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    device = torch.device(client.node.task.device)
    batch = client.work.batch
    steps = client.node.algorithm.batch_shape(1)[:-1]
    if steps:  # a local step at a time holds activations
        batch = batch.part(0, batch.key)
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
    ):
        client.node.objective.gradient(params, buffers, batch)
    return 2 * kept  # the backward pass makes a gradient for what it reads


def _step_together(group: Sequence[_Client], model: dict[str, Tensor]) -> dict[int, RecordDict]:
    algorithm, objective = group[0].node.algorithm, group[0].node.task.objective
    params, buffers = objective.split(model)
    batch: Batch = map_trees(_stack, [client.work.batch for client in group])
    state = {name: _stack([c.work.state[name] for c in group]) for name in group[0].work.state}

    def step(batch: Batch, state: State) -> LocalStep:
        return algorithm.local_step(objective, params, buffers, batch, state)

    # A joint step cannot repeat the draws that each client makes alone: drawing is an error.
    result = vmap(step, randomness="error")(batch, state)
    losses = {name: value.tolist() for name, value in result.metrics.items()}
    states, updates, left = map(_by_client, (result.state, result.update, result.buffers))
    replies = {}
    for i, client in enumerate(group):
        client.node.finish(client.work, _of(states, i), client.context)
        arrays = objective.join(_of(updates, i), _of(left, i))
        metrics = {name: values[i] for name, values in losses.items()}
        replies[id(client.message)] = client.node.reply(arrays, metrics)
    return replies


def _by_client(stacked: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Take stacked tensors apart: at once, which a small model's clients cost less than rows."""
    return {name: tensor.unbind() for name, tensor in stacked.items()}


def _of(parts: Mapping[str, tuple[Tensor, ...]], client: int) -> dict[str, Tensor]:
    return {name: tensors[client] for name, tensors in parts.items()}


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Stack, for free where the parts are the rows of one tensor: last round's stacked state."""
    view = stacked_view(parts)
    return torch.stack(tuple(parts)) if view is None else view
