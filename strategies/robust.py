"""The wrapper that makes a Flower strategy survive malicious clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from logging import ERROR, INFO, WARNING, getLogger
from math import floor
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from byzflower.errors import InfeasibleError
from byzflower.specs import parse
from byzflower.steps import Aggregator
from byzflower.strategies.agreement import Agreement, agree
from byzflower.strategies.arguments import check_fits, check_inner, check_malicious
from byzflower.strategies.attribution import attribute
from byzflower.strategies.checkpoint import (
    Checkpoint,
    Resumable,
    check_resumable,
    inner_state,
    restore_inner_state,
)
from byzflower.strategies.conduct import Conduct, append_outcomes, outcomes_of
from byzflower.strategies.errors import TooManySkippedRounds
from byzflower.strategies.history import RoundRecord, log_rejections, log_round
from byzflower.strategies.inner import restored_on_error, seeded_sampling, without_counts
from byzflower.strategies.metrics import agreeing, finite_metrics, median_metrics
from byzflower.strategies.model import Model
from byzflower.strategies.rejections import Reason, Rejection, Reply, excerpt
from byzflower.strategies.rounds import EvaluateFn, RunResult, ShouldStop, run_rounds
from byzflower.strategies.server_sgd import ServerSGD
from byzflower.strategies.vetting import Vetting
from byzflower.validation import integer_at_least, non_negative_int
from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.buffers import Buffers
from byzflower.wire.guard import guarded
from byzflower.wire.metrics import MetricValue
from byzflower.wire.payload import Payload

__all__ = ["Robust"]

_LOG = getLogger("flwr")
_METRICS = (
    "train_metrics_clientapp",
    "evaluate_metrics_clientapp",
    "evaluate_metrics_serverapp",
)


class Robust(Strategy):
    """Aggregate robustly, then let any Flower strategy take its server step.

    Every reply is vetted against the model that was sent; what is malformed is rejected and
    counts against the number of malicious nodes. The rule aggregates the rest, with equal rights
    whatever number of examples a client claims, and the inner strategy gets the aggregate as one
    reply: FedAvg returns it, FedAvgM, FedAdam, FedYogi, FedAdagrad and `ServerSGD` step with it.
    No reply can raise, change the model's keys, shapes or dtypes, or make it non-finite.

    Parameters
    ----------
    inner : Strategy
        Strategy that samples the nodes, configures the rounds and steps on the server: one of
        `flwr.serverapp.strategy` without a rule, a noise or a `start` of its own.
    rule : str or Aggregator
        Aggregation, for instance ``"arc > nnm > trimmed_mean"``.
    num_malicious_nodes : int or float
        Upper bound f on malicious nodes among those that reply in a round: a count, or a
        fraction in [0, 0.5) of the replies, rounded down.
    payload : {"model", "gradient"}
        What replies hold: models (the rule sees model − model sent) or gradients or momentums
        (for `ServerSGD`). A reply that declares the other one is turned away.
    buffers : collection of str, callable or None
        Arrays that are no parameters and take the replies' coordinate-wise median; recognised
        by default, see `buffer_names`. With a `ServerSGD` inside, set it there.
    seed : int or None
        Seed of randomised rules and of which nodes Flower samples, for simulations; ``None`` draws
        from the operating system, and leaves sampling to Python's global generator.
    max_skipped_rounds : int or None
        The run stops after that many rounds in a row left the model unchanged; never if ``None``.
    quarantine_after : int or None
        Ignore a node after that many malformed replies to training; never by default, and never
        more nodes at a time than may be malicious.
    conduct_file : str, Path or None
        JSON-lines file to which what each node did is appended after every round: weight,
        distance, clipping, rejection. ``Conduct.read`` and ``byzflower conduct FILE`` read it.
    checkpoint : Checkpoint or None
        Where `start` saves the run, and whence it goes on after a crash; see `Checkpoint`.
    measure_distances : bool
        Whether `conduct` records each update's distance to the aggregate; it takes one more pass
        over the updates.

    Attributes
    ----------
    history : list of RoundRecord
        What happened in each round of the latest run: rejections with reasons, clipping
        threshold, rule drawn.
    conduct : Conduct
        What each node did in it; ``print(strategy.conduct.table())``.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, the inner strategy is none that may be inside, or the
        payload is not what it expects.
    TooManySkippedRounds
        Out of `aggregate_train`, see ``max_skipped_rounds``.

    Notes
    -----
    A reply that no honest node sends (wrong layout, NaN) uses up one of the f malicious nodes, so
    the rule assumes f − (such replies) among those left; an error, a missing reply, two in one
    node's name or one that declares another payload proves nothing and lowers only n. A round with
    too few replies for the rule, or more malformed ones than f, leaves the model unchanged. So f
    nodes that stay silent can stop a run unless the rule is defined for n − f rows, f of them
    faulty; if it is not, a warning says so. A step whose result is not finite is undone, the inner
    strategy's momentum included (one of your own must bind new arrays, as Flower's do, not write
    into old ones).

    Metrics of training become medians over the clients. Those of evaluation are averaged by the
    inner strategy, weighted by claimed examples: a liar moves them. Evaluate on the server
    (``evaluate_fn``) for numbers to rely on.

    A round whose number is not above the last one's begins a new run, as if the strategy were new;
    a `ServerSGD` inside forgets its momentum, too. Flower's FedAvgM, FedAdam, FedYogi and
    FedAdagrad keep theirs: give each run a new one.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAdam
    >>> from byzflower.strategies import Robust
    >>> strategy = Robust(FedAdam(), "arc > nnm > trimmed_mean", num_malicious_nodes=3)
    """

    def __init__(
        self,
        inner: Strategy,
        rule: str | Aggregator,
        num_malicious_nodes: int | float,
        payload: Payload = "model",
        *,
        buffers: Buffers = None,
        seed: int | None = None,
        max_skipped_rounds: int | None = 5,
        quarantine_after: int | None = None,
        conduct_file: str | Path | None = None,
        checkpoint: Checkpoint | None = None,
        measure_distances: bool = True,
    ) -> None:
        if isinstance(inner, Robust):
            raise TypeError(f"`inner` needs a strategy other than `Robust`; found {inner!r}")
        check_inner(inner)
        check_malicious(num_malicious_nodes)
        check_fits(inner, payload)
        if isinstance(inner, ServerSGD):
            if buffers is not None and buffers != inner.buffers:
                raise ValueError("`buffers` needs to be set on the inner `ServerSGD`")
            buffers = inner.buffers
        if max_skipped_rounds is not None:
            integer_at_least(max_skipped_rounds, 1, "Robust", "max_skipped_rounds")
        if quarantine_after is not None:
            integer_at_least(quarantine_after, 1, "Robust", "quarantine_after")
        self.inner = inner
        self.rule = parse(rule)
        self.num_malicious_nodes = num_malicious_nodes
        self.payload: Payload = payload
        self.buffers = buffers
        self.max_skipped_rounds = max_skipped_rounds
        self.quarantine_after = quarantine_after
        if checkpoint is not None:
            check_resumable(inner)
        self.checkpoint = checkpoint
        self.conduct_file = conduct_file
        self.measure_distances = measure_distances
        self.seed = None if seed is None else non_negative_int(seed, "seed")
        self._arrays_key: str = getattr(inner, "arrayrecord_key", "arrays")
        self._examples_key: str = getattr(inner, "weighted_by_key", "num-examples")
        self._model: Model | None = None
        self._asked: tuple[Message, ...] = ()
        self._asked_to_evaluate: tuple[Message, ...] = ()
        self._begin_run()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({type(self.inner).__name__}, {self.rule.spec!r}, "
            f"num_malicious_nodes={self.num_malicious_nodes!r}, payload={self.payload!r})"
        )

    def _begin_run(self) -> None:
        self.history: list[RoundRecord] = []
        self.conduct = Conduct()
        self._rng = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        self._center: Tensor | None = None
        self._last_round = 0
        self._skipped = 0
        self._warned = False

    def start(  # noqa: PLR0917  (Flower's signature)
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
        should_stop: ShouldStop | None = None,
    ) -> RunResult:
        """Run the rounds, from the newest checkpoint on if there is one.

        Flower's own grid is guarded: what a node uploads neither raises nor counts as another
        node's, see `byzflower.wire.guard.GuardedGrid`.

        Parameters
        ----------
        grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn
            As in `flwr.serverapp.strategy.Strategy.start`; `num_rounds` counts those before the
            checkpoint, too.
        should_stop : callable or None
            ``should_stop(round, result)`` ends the run after a round (Flower 1.43 has it, too).

        Returns
        -------
        RunResult
            The model and all metrics. If too many rounds in a row were skipped, they are those
            until then, and ``stopped`` says why; it is logged as an error.

        Raises
        ------
        CheckpointError
            If the checkpoint's folder is not writable, in use, or holds another run.
        """
        _LOG.log(INFO, "Starting %s strategy:", type(self).__name__)
        _LOG.log(INFO, "\t├── Number of rounds: %d", num_rounds)
        self.summary()
        opened = nullcontext() if self.checkpoint is None else self.checkpoint.opened()
        with opened, guarded(grid) as safe_grid:
            return self._run(
                initial_arrays,
                num_rounds,
                partial(
                    run_rounds,
                    self,
                    safe_grid,
                    timeout=timeout,
                    train_config=train_config,
                    evaluate_config=evaluate_config,
                    evaluate_fn=evaluate_fn,
                    should_stop=should_stop,
                ),
            )

    def _run(
        self, initial_arrays: ArrayRecord, num_rounds: int, run: Callable[..., None]
    ) -> RunResult:
        identity = self._identity(initial_arrays)
        saved = None if self.checkpoint is None else self.checkpoint.newest(identity)
        result = RunResult(initial_arrays) if saved is None else self._restore(saved)
        done = 0 if saved is None else saved["round"]

        def save(server_round: int, arrays: ArrayRecord) -> None:
            if self.checkpoint and self.checkpoint.due(server_round, server_round == num_rounds):
                state = self._state(identity, server_round, arrays, result)
                self.checkpoint.save(server_round, state)

        try:
            run(result.arrays, range(done + 1, num_rounds + 1), result, after_round=save)
        except TooManySkippedRounds as error:
            result.stopped = str(error)
            _LOG.log(ERROR, "The run ends early: %s", error)
        return result

    def _companions(self) -> Mapping[str, Resumable]:
        return {} if self.checkpoint is None else self.checkpoint.companions

    def _identity(self, arrays: ArrayRecord) -> dict[str, Any]:
        """Return what must be the same for a checkpoint to be this run's."""
        return {
            "rule": self.rule.spec,
            "payload": self.payload,
            "inner": type(self.inner).__qualname__,
            "model": {key: [a.dtype, list(a.shape)] for key, a in arrays.items()},
        }

    def _state(
        self, identity: dict[str, Any], server_round: int, arrays: ArrayRecord, result: RunResult
    ) -> dict[str, Any]:
        """Return what the next round depends on, and what the run has to show so far."""
        return {
            "identity": identity,
            "round": server_round,
            "model": {key: to_tensor(array) for key, array in arrays.items()},
            "metrics": {
                name: {number: dict(record) for number, record in getattr(result, name).items()}
                for name in _METRICS
            },
            "inner": inner_state(self.inner),
            "companions": {name: other.state_dict() for name, other in self._companions().items()},
            "history": [record.to_state() for record in self.history],
            "conduct": self.conduct.to_state(),
            "generator": None if self._rng is None else self._rng.get_state(),
            "center": self._center,
            "skipped": self._skipped,
        }

    def _restore(self, state: dict[str, Any]) -> RunResult:
        self._begin_run()
        restore_inner_state(self.inner, state["inner"])
        for name, other in self._companions().items():
            other.load_state_dict(state["companions"][name])
        self.history = [RoundRecord.from_state(record) for record in state["history"]]
        self.conduct = Conduct.from_state(state["conduct"])
        if self._rng is not None and state["generator"] is not None:
            self._rng.set_state(state["generator"])
        self._center, self._skipped = state["center"], state["skipped"]
        self._last_round = state["round"]
        result = RunResult(to_record(state["model"]))
        for name, rounds in state["metrics"].items():
            records = {number: MetricRecord(metrics) for number, metrics in rounds.items()}
            setattr(result, name, records)
        return result

    def summary(self) -> None:
        """Log the rule and its settings, then the inner strategy's summary."""
        _LOG.log(INFO, "\t├──> Robust settings:")
        _LOG.log(INFO, "\t│\t├── Rule: %s", self.rule.spec)
        _LOG.log(INFO, "\t│\t├── Malicious nodes: %s", self.num_malicious_nodes)
        _LOG.log(INFO, "\t│\t├── Payload: %s", self.payload)
        _LOG.log(INFO, "\t│\t└── Inner strategy: %s", type(self.inner).__name__)
        self.inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Remember the model sent and the nodes asked; the inner strategy configures the round.

        Raises
        ------
        TypeError, ValueError
            If the model is complex, has no parameters or is not finite.
        """
        if server_round <= self._last_round:
            self._begin_run()
        self._last_round = server_round
        self._model = Model(arrays, self.buffers)
        with seeded_sampling(self.seed, f"train {server_round}"):
            self._asked = tuple(self.inner.configure_train(server_round, arrays, config, grid))
        self._warn_of_too_few(len(self._asked))
        return list(self._asked)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Vet the replies, aggregate them robustly and let the inner strategy step.

        Returns
        -------
        tuple[ArrayRecord | None, MetricRecord | None]
            New model, or the unchanged one if the round was skipped, and the inner strategy's
            metrics together with the round's own, named ``robust-…``.

        Raises
        ------
        RuntimeError
            If no round was configured before.
        TooManySkippedRounds
            If ``max_skipped_rounds`` rounds in a row left the model unchanged.
        """
        if self._model is None:
            raise RuntimeError("`aggregate_train` needs a call of `configure_train` before it")
        if not self._asked:
            return None, None
        messages = list(replies)
        accepted, rejections = self._vet(messages, self._asked, train=True)
        malformed = sum(rejection.proves_fault for rejection in rejections)
        agreement = agree(
            self.rule,
            self._model,
            accepted,
            self.payload,
            self.faults(len(accepted) + malformed),
            malformed=malformed,
            rng=self._rng,
            center=self._center,
            measure_distances=self.measure_distances,
        )
        rejections.extend(agreement.rejections)
        outcome, problem = self._step(server_round, self._model, agreement)
        record = RoundRecord(
            server_round=server_round,
            rule=self.rule.spec,
            asked=len(self._asked),
            replies=len(messages),
            rows=len(agreement.used),
            f=agreement.f,
            rejections=tuple(rejections),
            steps=() if agreement.explanation is None else agreement.explanation.steps,
            skipped="" if problem is None else _one_line(problem) + self._mistake(rejections),
            metrics={} if outcome is None else dict(outcome[1]),
        )
        self.history.append(record)
        outcomes = outcomes_of(
            server_round,
            [message.metadata.dst_node_id for message in self._asked],
            {reply.node_id for reply in agreement.used},
            rejections,
            used=outcome is not None,
            shares=agreement.shares,
            distances=agreement.distances,
            clipped=agreement.clipped,
        )
        self.conduct.note(outcomes)
        if self.conduct_file is not None:
            append_outcomes(self.conduct_file, outcomes)
        log_rejections("aggregate_train", rejections)
        log_round(record)
        if outcome is None:
            return self._skip(record, problem)
        arrays, metrics = outcome
        self._skipped = 0
        metrics.update(record.to_metrics())
        return arrays, MetricRecord(metrics)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Remember the nodes asked; the inner strategy configures the round."""
        with seeded_sampling(self.seed, f"evaluate {server_round}"):
            messages = self.inner.configure_evaluate(server_round, arrays, config, grid)
            self._asked_to_evaluate = tuple(messages)
        return list(self._asked_to_evaluate)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Drop malformed replies; the inner strategy averages the metrics that the rest share."""
        accepted, rejections = self._vet(list(replies), self._asked_to_evaluate, train=False)
        agreed, odd = agreeing(accepted)
        rejections.extend(odd)
        # No offences: few may evaluate, and a majority of few can frame an honest node.
        log_rejections("aggregate_evaluate", rejections)
        asked = {message.metadata.dst_node_id: message for message in self._asked_to_evaluate}
        messages = [
            Message(
                RecordDict({"metrics": MetricRecord(dict(r.metrics))}), reply_to=asked[r.node_id]
            )
            for r in agreed
        ]
        try:
            metrics = self.inner.aggregate_evaluate(server_round, messages)
        except Exception as error:  # what replies hold must not end a run
            _LOG.log(WARNING, "Round %d: no evaluation metrics: %s", server_round, _one_line(error))
            metrics = None
        if metrics is None and not rejections:
            return None
        kept = finite_metrics(metrics or {})
        return MetricRecord({**kept, "robust-rejected": len(rejections)})

    def faults(self, replies: int) -> int:
        """Return f for a number of replies: the count given, or the fraction of them."""
        bound = self.num_malicious_nodes
        # 0.29 × 100 is 28.999999999999996 in floating point.
        return bound if isinstance(bound, int) else floor(bound * replies + 1e-9)

    def _vet(
        self, messages: Sequence[Message], asked: Sequence[Message], *, train: bool
    ) -> tuple[list[Reply], list[Rejection]]:
        vetting = Vetting(
            {} if self._model is None else self._model.expected,
            frozenset() if self._model is None else self._model.buffers,
            self._arrays_key,
            self._examples_key,
            self.payload,
        )
        vet = vetting.train if train else vetting.evaluate
        answers, rejections = attribute(messages, asked)
        accepted = []
        quarantined = self._quarantined(len(asked))
        for node_id, message in answers.items():
            if node_id in quarantined and not message.has_error():
                detail = f"{self.conduct.offences(node_id)} malformed replies before"
                rejections.append(Rejection(node_id, Reason.QUARANTINED, detail))
                continue
            outcome = vet(node_id, message)
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                accepted.append(outcome)
        return accepted, rejections

    def _quarantined(self, asked: int) -> frozenset[int]:
        if self.quarantine_after is None:
            return frozenset()
        return self.conduct.quarantined(self.quarantine_after, self.faults(asked))

    def _step(
        self, server_round: int, model: Model, agreement: Agreement
    ) -> tuple[tuple[ArrayRecord, dict[str, MetricValue]] | None, Exception | None]:
        if agreement.explanation is None:
            return None, agreement.failure
        value = agreement.explanation.value
        restored = model.restore(value, agreement.used, self.payload)
        metrics = median_metrics([reply.metrics for reply in agreement.used])
        content = RecordDict(
            {
                self._arrays_key: to_record(restored),
                "metrics": MetricRecord({**metrics, self._examples_key: 1}),
            }
        )
        reply = Message(content, reply_to=self._asked[0])
        try:
            with restored_on_error(self.inner), without_counts():
                arrays, stepped = self.inner.aggregate_train(server_round, [reply])
                if arrays is None:
                    raise ValueError("the inner strategy returned no arrays")
                result = to_record(model.conform(arrays, restored))
        except Exception as error:  # what replies hold must not end a run
            return None, error
        if self.rule.needs_center:
            self._center = value
        return (result, finite_metrics(stepped or {})), None

    def _warn_of_too_few(self, asked: int) -> None:
        """Say once if the nodes are too few for the rule, or may be when f of them stay silent."""
        f = self.faults(asked)
        if self._warned or not asked:
            return
        if problem := self._infeasible(asked, f):
            _LOG.log(
                WARNING,
                "Too few nodes: %s. Set `min_train_nodes` and `min_available_nodes` of `%s` to "
                "what the rule needs.",
                problem,
                type(self.inner).__name__,
            )
        elif 0 < f < asked and (problem := self._infeasible(asked - f, f)):
            _LOG.log(
                WARNING,
                "%d silent nodes of %d would leave the model unchanged: %s",
                f,
                asked,
                problem,
            )
        self._warned = problem is not None

    def _infeasible(self, n: int, f: int) -> InfeasibleError | None:
        try:
            self.rule.check(n, f)
        except InfeasibleError as error:
            return error
        return None

    def _mistake(self, rejections: Sequence[Rejection]) -> str:
        """Say which of the skipped round's rejections are the operator's to prevent."""
        mistakes = [r.detail for r in rejections if r.reason is Reason.PAYLOAD]
        if not mistakes:
            return ""
        return f" ({len(mistakes)} of {len(self._asked)} nodes rejected: {mistakes[0]})"

    def _skip(
        self, record: RoundRecord, problem: Exception | None
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        self._skipped += 1
        _LOG.log(
            WARNING, "Round %d leaves the model unchanged: %s", record.server_round, record.skipped
        )
        if self.max_skipped_rounds is not None and self._skipped >= self.max_skipped_rounds:
            raise TooManySkippedRounds(
                f"{self._skipped} rounds in a row left the model unchanged, round "
                f"{record.server_round} because {record.skipped}"
            ) from problem
        arrays = None if self._model is None else self._model.record()
        return arrays, MetricRecord(record.to_metrics())


def _one_line(error: Exception) -> str:
    if isinstance(error, InfeasibleError):
        return str(error)  # our own words
    return f"{type(error).__name__}: {excerpt(str(error), 300)}"
