"""One client's side of the rounds: from the received model to its reply."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from flwr.app import ArrayRecord, Context, MetricRecord, RecordDict
from torch import Tensor

from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.payload import declare

from .algorithms import Algorithm, Batch, Buffers, Params, State
from .algorithms.trees import lengths
from .table import GradientTable, TableFiles
from .task import ClientTask

__all__ = ["Node", "Work"]

_LOG = logging.getLogger(__name__)
_EVALUATION_BATCH = 1024


class Work(NamedTuple):
    """What a local step works on: the examples' numbers, their batch and the client's state."""

    indices: Tensor
    batch: Batch
    state: State


class Node:
    """A client's task with what its process keeps between rounds."""

    def __init__(self, task: ClientTask, algorithm: Algorithm) -> None:
        self.task = task.on_device()
        self.algorithm = task.algorithm or algorithm
        self._torch_seed = _TorchSeed(task.device)
        # One client at a time needs no vmap, and autograd alone is faster.
        self.objective = task.objective.with_autograd()
        self._table: GradientTable | None = None
        self._saved: dict[str, Any] = {}
        self._record = f"byzflower.{self.algorithm.name}"

    def state_dict(self) -> dict[str, Any]:
        """Return what the process keeps beside ``context.state``: SAGA's table, if any."""
        return self._saved if self._table is None else self._table.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it from a checkpoint; the table is made when the model is known."""
        self._table, self._saved = None, state

    def train(self, model: dict[str, Tensor], server_round: int, context: Context) -> RecordDict:
        """Return the reply to a train message."""
        params, buffers = self.objective.split(model)
        work = self.prepare(params, buffers, server_round, context)
        with self._torch_seed(int(work.batch.key)):
            step = self.algorithm.local_step(
                self.objective, params, buffers, work.batch, work.state
            )
        self.finish(work, step.state, context)
        arrays = self.objective.join(step.update, step.buffers)
        return self.reply(arrays, {name: float(value) for name, value in step.metrics.items()})

    def reply(self, arrays: dict[str, Tensor], metrics: dict[str, float]) -> RecordDict:
        """Return the reply that holds these arrays, in the model's order, and these metrics."""
        content = RecordDict(
            {"metrics": MetricRecord({"num-examples": self.task.num_examples, **metrics})}
        )
        content["arrays"] = to_record(arrays)
        declare(content, self.algorithm.payload, self.objective.buffer_names)
        return content

    def evaluate(self, model: dict[str, Tensor]) -> tuple[int, dict[str, float]]:
        """Return how many examples were evaluated, their mean loss and the objective's metrics."""
        x, y = self.task.x_eval, {} if self.task.y_eval is None else self.task.y_eval
        count = 0 if x is None else lengths(x)[0]
        if count == 0:
            raise ValueError(
                f"client {self.task.partition_id} has no evaluation data: give its ClientTask "
                "`x_eval` and `y_eval`, or the strategy fraction_evaluate=0"
            )
        params, buffers = self.objective.split(model)
        examples = Batch(x, y, torch.tensor(0))
        totals: dict[str, float] = {}
        with torch.no_grad(), self._torch_seed(0):
            for start in range(0, count, _EVALUATION_BATCH):
                part = examples.part(slice(start, start + _EVALUATION_BATCH), examples.key)
                outputs = self.objective.outputs(params, buffers, part.x)
                means: dict[str, Tensor | float] = {
                    "eval_loss": self.objective.criterion(outputs, part.y),
                    **self.objective.metric(outputs, part.y),
                }
                for name, value in means.items():
                    totals[name] = totals.get(name, 0.0) + float(value) * part.size
        return count, {name: total / count for name, total in totals.items()}

    def prepare(
        self, params: Params, buffers: Buffers, server_round: int, context: Context
    ) -> Work:
        """Draw the round's batch and fetch the client's state."""
        shape = self.algorithm.batch_shape(self.task.batch_size)
        indices, batch = self.task.draw(server_round, shape)
        if not self.algorithm.per_sample:
            return Work(indices, batch, self._load_state(params, context))
        table = self._table_at(params, buffers, batch, context)
        return Work(indices, batch, table.state(indices))

    def finish(self, work: Work, state: State, context: Context) -> None:
        """Keep the state that the local step left."""
        if self._table is not None:
            self._table.store(work.indices, state)
            context.state[self._record] = MetricRecord({"steps": self._table.steps})
        elif state:
            context.state[self._record] = to_record(state)

    def _load_state(self, params: Params, context: Context) -> State:
        record = context.state.get(self._record)
        if not isinstance(record, ArrayRecord):
            return self.algorithm.init_state(params)
        return {name: to_tensor(array).to(self.task.device) for name, array in record.items()}

    def _table_at(
        self, params: Params, buffers: Buffers, batch: Batch, context: Context
    ) -> GradientTable:
        """Return the table, filled at the current model where its history does not fit."""
        record = context.state.get(self._record)
        steps = record["steps"] if isinstance(record, MetricRecord) else 0
        table = self._open_table(params, context.run_id)
        if steps == 0 or table.steps != steps:
            if steps:
                _LOG.warning(
                    "client %d had taken %d steps of saga, its table %d: it starts anew at the "
                    "current model (was it lost, or not shared by all processes?)",
                    self.task.partition_id,
                    steps,
                    table.steps,
                )
            targets = {} if self.task.y is None else self.task.y
            examples = Batch(self.task.x, targets, batch.key)
            with self._torch_seed(int(batch.key)):
                table.fill(self.objective, params, buffers, examples)
        return table

    def _open_table(self, params: Params, run_id: int) -> GradientTable:
        if self._table is None:
            folder = self.task.state_dir
            self._table = GradientTable(
                self.task.num_examples,
                params,
                TableFiles(folder, run_id).path(self.task.partition_id) if folder else None,
                self.task.memory_limit,
            )
            if self._saved:
                self._table.load_state_dict(self._saved)
                self._saved = {}
        return self._table


class _TorchSeed:
    """Seeds PyTorch's generators for models that draw from them, and puts them back after."""

    def __init__(self, device: str | torch.device) -> None:
        self._generators = [torch.default_generator]
        device = torch.device(device)
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            index = torch.cuda.current_device() if device.index is None else device.index
            self._generators.append(torch.cuda.default_generators[index])

    @contextmanager
    def __call__(self, seed: int) -> Iterator[None]:
        states = [generator.get_state() for generator in self._generators]
        try:
            for generator in self._generators:
                generator.manual_seed(seed)
            yield
        finally:
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
