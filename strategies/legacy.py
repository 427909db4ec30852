"""`Robust` for deployments on Flower's former interface, ``flwr.server.strategy``.

What comes and goes there (``FitRes``, ``Parameters``, ``ClientProxy``) is put into messages and
back, so that replies are vetted, aggregated and recorded by the one `Robust`; nothing is decided
here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.common import (
    Code,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    Parameters,
    Scalar,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import (
    Bulyan,
    FedMedian,
    FedTrimmedAvg,
    FedXgbBagging,
    FedXgbCyclic,
    FedXgbNnAvg,
    Krum,
)
from flwr.server.strategy import Strategy as FormerStrategy
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from byzflower.aggregator import Aggregator
from byzflower.wire.flower_internals import CLIENT_RAISED, assume_identity

from .arguments import PRIVACY_WRAPPERS, check_not_wrapped
from .conduct import Conduct
from .history import RoundRecord
from .inner_strategy import restored_on_error
from .robust import Robust

__all__ = ["LegacyRobust"]

_ARRAYS, _EXAMPLES, _LOSS = "arrays", "num-examples", "legacy-loss"
_RULES = {Krum: "krum", Bulyan: "bulyan", FedMedian: "median", FedTrimmedAvg: "trimmed_mean"}
_Layout: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]
"""Name → dtype and shape of each of the model's arrays, in their order."""
_TREES = (FedXgbBagging, FedXgbCyclic, FedXgbNnAvg)

FitFailure: TypeAlias = tuple[ClientProxy, FitRes] | BaseException
EvaluateFailure: TypeAlias = tuple[ClientProxy, EvaluateRes] | BaseException


class LegacyRobust(FormerStrategy):
    """Wrap a strategy of ``flwr.server.strategy``, so that no malicious reply does harm.

    As `Robust`, with the same rules, vetting, conduct and history, for a server that calls
    ``configure_fit`` and ``aggregate_fit`` and clients such as ``NumPyClient``. Replies hold
    models. The strategy inside steps with the aggregate as if one client had sent it: FedAvg
    returns it, FedAvgM, FedAdam, FedYogi and FedAdagrad step with it; its functions for metrics
    get what the clients claim, capped.

    Parameters
    ----------
    inner : flwr.server.strategy.Strategy
        Strategy that samples clients, configures rounds and steps on the server.
    rule : str or Aggregator
        Aggregation, for instance ``"arc > nnm > trimmed_mean"``.
    num_malicious_clients : int or float
        Upper bound on the malicious clients: a count, or a fraction in [0, 0.5).
    array_names : sequence of str or None
        Names of the model's arrays in their order, ``list(model.state_dict())``: buffers, such as
        batch normalisation's, are then known by their names.
    **settings
        As of `Robust`: ``seed``, ``risk`` (of each round), ``fallback``, ``buffers``, …; not
        ``payload`` and ``checkpoint``.

    Attributes
    ----------
    history : list of RoundRecord
        What happened in each round.
    conduct : Conduct
        What each client did, by Flower's node id where there is one, else numbered as they come.

    Raises
    ------
    TypeError
        For a strategy inside that has a rule of its own, adds noise or aggregates trees.
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> from flwr.server.strategy import FedAvg
    >>> strategy = LegacyRobust(FedAvg(), "nnm > median", num_malicious_clients=2)
    >>> strategy
    LegacyRobust(FedAvg, 'nnm > median', num_malicious_clients=2)
    """

    def __init__(
        self,
        inner: FormerStrategy,
        rule: str | Aggregator,
        num_malicious_clients: int | float,
        *,
        array_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        _check_inner(inner)
        for name in ("payload", "checkpoint"):
            if name in settings:
                raise TypeError(f"`LegacyRobust` takes no `{name}`: use `Robust` for it")
        self.inner = inner
        self.array_names = None if array_names is None else tuple(array_names)
        self._layout: _Layout = {}
        self._inside = _Inside(inner)
        self._robust = Robust(self._inside, rule, num_malicious_clients, **settings)

    def __repr__(self) -> str:
        robust = self._robust
        return (
            f"{type(self).__name__}({type(self.inner).__name__}, {robust.rule.spec!r}, "
            f"num_malicious_clients={robust.num_malicious_nodes!r})"
        )

    @property
    def history(self) -> list[RoundRecord]:
        """What happened in each round of the latest run."""
        return self._robust.history

    @property
    def conduct(self) -> Conduct:
        """What each client did in it."""
        return self._robust.conduct

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """Return the inner strategy's first model."""
        return self.inner.initialize_parameters(client_manager)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Remember model and clients asked; the inner strategy configures the round."""
        check_not_wrapped(self)
        assume_identity(0)  # which a server of the former interface may not have
        arrays = self._named(parameters)
        self._inside.asks = lambda: self.inner.configure_fit(
            server_round, parameters, client_manager
        )
        federation = _Federation(client_manager)
        self._robust.configure_train(server_round, arrays, ConfigRecord(), cast(Grid, federation))
        return self._inside.asked

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[FitFailure],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Vet the replies, aggregate them robustly and let the inner strategy step.

        Returns
        -------
        tuple[Parameters | None, dict[str, Scalar]]
            New model, ``None`` if the round was skipped, and the inner strategy's metrics together
            with the round's own, named ``robust-…``.
        """
        replies = [
            self._inside.reply(client, partial(_fit_records, result, self._layout))
            for client, result in results
        ]
        replies += self._inside.errors(failures)
        model, metrics = None, None
        with contextlib.suppress(_SkippedError), restored_on_error(self.inner):
            arrays, metrics = self._robust.aggregate_train(server_round, replies)
            if arrays is None or self.history[-1].skipped:
                raise _SkippedError
            model = ndarrays_to_parameters(arrays.to_numpy_ndarrays())
        return model, _scalars(metrics)

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Remember the clients asked; the inner strategy configures the round."""
        assume_identity(0)
        self._inside.asks = lambda: self.inner.configure_evaluate(
            server_round, parameters, client_manager
        )
        federation = cast(Grid, _Federation(client_manager))
        self._robust.configure_evaluate(server_round, ArrayRecord(), ConfigRecord(), federation)
        return self._inside.asked

    def aggregate_evaluate(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, EvaluateRes]],
        failures: list[EvaluateFailure],
    ) -> tuple[float | None, dict[str, Scalar]]:
        """Drop malformed replies, cap what the rest claim; the inner strategy averages it."""
        replies = [
            self._inside.reply(client, partial(_evaluate_records, result))
            for client, result in results
        ]
        replies += self._inside.errors(failures)
        metrics = _scalars(self._robust.aggregate_evaluate(server_round, replies))
        loss = metrics.pop(_LOSS, None)
        return (None if loss is None else float(loss)), metrics

    def evaluate(
        self, server_round: int, parameters: Parameters
    ) -> tuple[float, dict[str, Scalar]] | None:
        """Return what the inner strategy finds on the server."""
        return self.inner.evaluate(server_round, parameters)

    def _named(self, parameters: Parameters) -> ArrayRecord:
        arrays = parameters_to_ndarrays(parameters)
        names = self.array_names or tuple(map(str, range(len(arrays))))
        if len(names) != len(arrays):
            raise ValueError(
                f"`array_names` needs a name for each of the model's {len(arrays)} arrays; "
                f"found {len(names)}"
            )
        record = ArrayRecord({n: Array(a) for n, a in zip(names, arrays, strict=True)})
        self._layout = {name: (array.dtype, array.shape) for name, array in record.items()}
        return record


class _SkippedError(Exception):
    """A round was skipped: what the strategy inside has changed is undone."""


class _Federation:
    """As much of a grid as `Robust` asks for: who is there."""

    def __init__(self, client_manager: ClientManager) -> None:
        self._count = client_manager.num_available()

    def get_node_ids(self) -> Iterable[int]:
        return range(self._count)


class _Inside(Strategy):
    """A strategy of the former interface as `Robust` sees one inside it."""

    def __init__(self, former: FormerStrategy) -> None:
        self.former = former
        self.asks: Callable[[], list[tuple[ClientProxy, Any]]] = list
        self.asked: list[tuple[ClientProxy, Any]] = []
        self._messages: dict[int, Message] = {}
        self._proxies: dict[int, ClientProxy] = {}
        self._numbers: dict[str, int] = {}

    def train_metrics_aggr_fn(self, records: list[RecordDict], weighted_by: str) -> Any:
        """Return the records as they are: `Robust` puts the clients' capped claims in."""
        return records

    def summary(self) -> None:
        """Say nothing: the former interface has no summary."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return a message for each client that the strategy asks."""
        return self._as_messages("train")

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return a message for each client that the strategy asks."""
        return self._as_messages("evaluate")

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Let the strategy step with the one reply."""
        (reply,) = replies
        aggregate = reply.content.array_records[_ARRAYS]
        parameters = ndarrays_to_parameters(aggregate.to_numpy_ndarrays())
        claims = self.train_metrics_aggr_fn([], _EXAMPLES)
        proxy = next(iter(self._proxies.values()))
        result = FitRes(Status(Code.OK, ""), parameters, 1, {})
        with _claiming(self.former, [_claim(record) for record in claims]):
            stepped, metrics = self.former.aggregate_fit(server_round, [(proxy, result)], [])
        if stepped is None:
            return None, None
        arrays = parameters_to_ndarrays(stepped)
        record = ArrayRecord({n: Array(a) for n, a in zip(aggregate, arrays, strict=True)})
        return record, MetricRecord(_numbers(metrics))

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Let the strategy average what the clients claim."""
        results = []
        for reply in replies:
            examples, metrics = _claim(reply.content)
            result = EvaluateRes(
                Status(Code.OK, ""), float(cast(float, metrics.pop(_LOSS))), examples, metrics
            )
            # Answers go back to who asked, so that the source is the client.
            results.append((self._proxies[reply.metadata.src_node_id], result))
        loss, averaged = self.former.aggregate_evaluate(server_round, results, [])
        if loss is None:
            return None
        return MetricRecord({_LOSS: float(loss), **_numbers(averaged)})

    def reply(self, client: ClientProxy, records: Callable[[], RecordDict]) -> Message:
        """Return a client's answer; one that cannot be put into records is an empty one."""
        try:
            content = records()
        except Exception:  # whatever a reply provokes is the reply's fault
            content = RecordDict()
        return self._answer(client, content=content)

    def errors(self, failures: Sequence[FitFailure | EvaluateFailure]) -> list[Message]:
        """Return an error for each failure that says whose it is; the rest stay silent."""
        return [
            self._answer(failure[0], error=Error(CLIENT_RAISED, str(failure[1].status.code)))
            for failure in failures
            if isinstance(failure, tuple)
        ]

    def _answer(self, client: ClientProxy, **what: Any) -> Message:
        node = self._node_of(client)
        asked = self._messages.get(node) or Message(RecordDict(), node, "train")
        return Message(reply_to=asked, **what)

    def _as_messages(self, message_type: str) -> list[Message]:
        self.asked = self.asks()
        self._proxies = {self._node_of(client): client for client, _ in self.asked}
        self._messages = {n: Message(RecordDict(), n, message_type) for n in self._proxies}
        return list(self._messages.values())

    def _node_of(self, client: ClientProxy) -> int:
        node = getattr(client, "node_id", None)
        return node if node else self._numbers.setdefault(client.cid, len(self._numbers) + 1)


def _check_inner(inner: object) -> None:
    if not isinstance(inner, FormerStrategy):
        raise TypeError(
            "`inner` needs a strategy of `flwr.server.strategy`; found "
            f"`{type(inner).__name__}`: strategies of `flwr.serverapp.strategy` go into `Robust`"
        )
    name = type(inner).__name__
    for strategy, rule in _RULES.items():
        if isinstance(inner, strategy):
            raise TypeError(
                f"`inner` needs a strategy without a rule of its own; found `{name}`, which would "
                f"see one aggregate: write `LegacyRobust(FedAvg(…), {rule!r}, …)`"
            )
    if isinstance(inner, (*PRIVACY_WRAPPERS, *_TREES, LegacyRobust)):
        raise TypeError(
            "`inner` needs a strategy that steps with one aggregate of vectors; found "
            f"`{name}`, which adds noise, aggregates trees or is robust already"
        )


@contextlib.contextmanager
def _claiming(
    strategy: FormerStrategy, claims: list[tuple[int, dict[str, Scalar]]]
) -> Iterator[None]:
    """Let the strategy's function for metrics of training see what the clients claim."""
    aggregate = getattr(strategy, "fit_metrics_aggregation_fn", None)
    if aggregate is None:
        yield
        return
    strategy.fit_metrics_aggregation_fn = lambda _: aggregate(claims)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        strategy.fit_metrics_aggregation_fn = aggregate  # type: ignore[attr-defined]


def _fit_records(result: FitRes, layout: _Layout) -> RecordDict:
    """Put a reply into records; its bytes are compared with the model's layout by the vetting."""
    sent, record = result.parameters, ArrayRecord()
    if len(sent.tensors) == len(layout):
        for (name, (dtype, shape)), data in zip(layout.items(), sent.tensors, strict=True):
            record[name] = Array(dtype, shape, sent.tensor_type, data)
    metrics = {**_numbers(result.metrics), _EXAMPLES: result.num_examples}
    return RecordDict({_ARRAYS: record, "metrics": MetricRecord(metrics)})


def _evaluate_records(result: EvaluateRes) -> RecordDict:
    metrics = {**_numbers(result.metrics), _LOSS: result.loss, _EXAMPLES: result.num_examples}
    return RecordDict({"metrics": MetricRecord(metrics)})


def _claim(content: RecordDict) -> tuple[int, dict[str, Scalar]]:
    (record,) = content.metric_records.values()
    metrics = _scalars(record)
    return int(cast(float, metrics.pop(_EXAMPLES))), metrics


def _numbers(metrics: object) -> dict[str, Any]:
    """Return the numbers among metrics; text, bytes and truth values have no place in a record."""
    found = metrics.items() if isinstance(metrics, dict) else ()
    return {
        key: float(value) if isinstance(value, np.floating) else value
        for key, value in found
        if isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    }


def _scalars(metrics: MetricRecord | None) -> dict[str, Scalar]:
    return {k: v for k, v in (metrics or {}).items() if not isinstance(v, list)}
