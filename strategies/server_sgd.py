"""Stochastic gradient descent on the server, for clients that return gradients or momentums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from logging import INFO, getLogger
from math import isfinite
from typing import Any, ClassVar, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import Tensor

from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.buffers import BufferNames, buffer_median, buffer_names
from byzflower.wire.flower_internals import valid_replies

from .schedules import Schedule, parse_schedule

__all__ = ["ServerSGD"]

_LOG = getLogger("flwr")


class ServerSGD(FedAvg):
    """Apply averaged gradients to the model: θ ← θ − γ_t v_t, v_t = β v_{t−1} + R_t + λ θ.

    R_t is the average of the replies' arrays, weighted by their number of examples as in FedAvg;
    inside `Robust` it is the robust aggregate. Replies hold a gradient (or a client's momentum)
    under each parameter's key, and the new value under each buffer's; buffers become the
    coordinate-wise median of the replies'.

    Parameters
    ----------
    learning_rate : float, str or callable
        γ; a schedule's spec such as ``"step(0.05, {1500: 0.00082})"``; or a function of the round
        (counted from 1) such as `StepSchedule`.
    momentum : float
        β in [0, 1), 0 by default: then v_t = R_t + λ θ.
    weight_decay : float
        λ ≥ 0.
    buffers : collection of str, callable or None
        Arrays that are no parameters; by default recognised, see `buffer_names`.
    fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, \
weighted_by_key, arrayrecord_key, configrecord_key, train_metrics_aggr_fn, evaluate_metrics_aggr_fn
        As in `flwr.serverapp.strategy.FedAvg`.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    With β = 0 and λ = 0 this is the server of robust D-SGD (RESAM Algorithm 1, ARC Algorithm 1);
    β = 0.9 is MixTailor's server momentum. The convention for β is PyTorch's. A round whose number
    is not above the last one's begins a new run, without momentum.

    Examples
    --------
    >>> from byzflower.strategies import Robust, ServerSGD, StepSchedule
    >>> sgd = ServerSGD(StepSchedule(0.05, {1500: 0.00082}), fraction_evaluate=0.5)
    >>> strategy = Robust(sgd, "nnm > trimmed_mean", num_malicious_nodes=3, payload="gradient")
    """

    payload: ClassVar[str] = "gradient"

    def __init__(
        self,
        learning_rate: float | str | Schedule = 0.1,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        buffers: BufferNames = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        train_metrics_aggr_fn: Callable[[list[RecordDict], str], MetricRecord] | None = None,
        evaluate_metrics_aggr_fn: Callable[[list[RecordDict], str], MetricRecord] | None = None,
    ) -> None:
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
            weighted_by_key=weighted_by_key,
            arrayrecord_key=arrayrecord_key,
            configrecord_key=configrecord_key,
            train_metrics_aggr_fn=train_metrics_aggr_fn,
            evaluate_metrics_aggr_fn=evaluate_metrics_aggr_fn,
        )
        if isinstance(learning_rate, str):
            learning_rate = parse_schedule(learning_rate)
        if not callable(learning_rate) and not (isfinite(learning_rate) and learning_rate > 0):
            raise ValueError(f"`learning_rate` needs a number > 0; found {learning_rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` needs a number in [0, 1); found {momentum}")
        if not (isfinite(weight_decay) and weight_decay >= 0):
            raise ValueError(f"`weight_decay` needs a number ≥ 0; found {weight_decay}")
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.buffers = buffers
        self._model: dict[str, Tensor] = {}
        self._velocity: dict[str, Tensor] = {}
        self._last_round = 0

    def summary(self) -> None:
        """Log the hyper-parameters, then FedAvg's."""
        _LOG.log(INFO, "\t├──> ServerSGD settings:")
        _LOG.log(INFO, "\t│\t├── Learning rate: %s", self.learning_rate)
        _LOG.log(INFO, "\t│\t├── Momentum: %s", self.momentum)
        _LOG.log(INFO, "\t│\t└── Weight decay: %s", self.weight_decay)
        super().summary()

    def rate(self, server_round: int) -> float:
        """Return γ_t, the learning rate of a round."""
        rate = self.learning_rate
        return rate(server_round) if callable(rate) else rate

    def state_dict(self) -> dict[str, Any]:
        """Return the momentum and the round it belongs to, for a checkpoint."""
        return {"velocity": dict(self._velocity), "round": self._last_round}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._velocity, self._last_round = dict(state["velocity"]), state["round"]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Remember the model that the round's gradients apply to; ask as FedAvg does."""
        if server_round <= self._last_round:
            self._velocity = {}
        self._last_round = server_round
        self._model = {key: to_tensor(array) for key, array in arrays.items()}
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the replies and take one step of gradient descent.

        Raises
        ------
        RuntimeError
            If no round was configured before.
        """
        valid = valid_replies(self, replies)
        if not valid:
            return None, None
        if not self._model:
            raise RuntimeError("`aggregate_train` needs a call of `configure_train` before it")
        contents = [message.content for message in valid]
        metrics = self.train_metrics_aggr_fn(contents, self.weighted_by_key)
        return to_record(self._step(self.rate(server_round), contents)), metrics

    def _step(self, rate: float, contents: list[RecordDict]) -> dict[str, Tensor]:
        records = [next(iter(content.array_records.values())) for content in contents]
        weights = _weights(contents, self.weighted_by_key)
        buffers = buffer_names(self._model, self.buffers)
        model: dict[str, Tensor] = {}
        for key, theta in self._model.items():
            values = [to_tensor(record[key]) for record in records]
            if key in buffers:
                model[key] = values[0] if len(values) == 1 else buffer_median(values)
            else:
                mean = _mean(values, weights)
                wide = torch.promote_types(mean.dtype, torch.float32)  # momentum of half precision
                step = self._direction(key, theta.to(mean.device, wide), mean.to(wide))
                model[key] = torch.add(theta.to(step.device), step, alpha=-rate).to(theta.dtype)
        return model

    def _direction(self, key: str, theta: Tensor, gradient: Tensor) -> Tensor:
        if self.weight_decay:
            gradient = torch.add(gradient, theta, alpha=self.weight_decay)
        if self.momentum:
            previous = self._velocity.get(key)
            if previous is not None:
                gradient = torch.add(gradient, previous.to(gradient.device), alpha=self.momentum)
            self._velocity[key] = gradient
        return gradient


def _weights(contents: list[RecordDict], key: str) -> list[float]:
    metrics: list[Mapping[str, object]] = [
        next(iter(content.metric_records.values())) for content in contents
    ]
    counts = [float(cast(float, record[key])) for record in metrics]
    total = sum(counts)
    return [count / total for count in counts]


def _mean(values: list[Tensor], weights: list[float]) -> Tensor:
    if len(values) == 1:
        return values[0]
    mean = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        mean.add_(value, alpha=weight)
    return mean
