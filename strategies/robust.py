"""The wrapper that makes a Flower strategy survive malicious clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from logging import ERROR, INFO, WARNING, getLogger
from pathlib import Path
from typing import Literal

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from byzflower.errors import InfeasibleError
from byzflower.specs import parse
from byzflower.steps import Aggregator
from byzflower.validation import integer_at_least, non_negative_int
from byzflower.wire.buffers import BufferNames
from byzflower.wire.guard import guarded
from byzflower.wire.payload import Payload

from .aggregation import Aggregation, aggregate_replies
from .arguments import check_fits, check_inner, check_not_wrapped
from .checkpoint import Checkpoint
from .conduct import Conduct
from .errors import TooManySkippedRounds
from .faults import FaultBound
from .history import (
    RoundRecord,
    cause_of,
    log_rejections,
    log_replies,
    log_round,
)
from .inner_strategy import check_resumable, seeded_sampling
from .intake import take_in
from .metrics import agreeing, capped_metrics, finite_metrics
from .notices import Notices, infeasible
from .outcomes import append_outcomes, outcomes_of
from .rejections import Rejection, Reply, excerpt
from .rounds import EvaluateFn, RunResult, ShouldStop, run_rounds
from .run_state import RunState
from .saved_run import SavedRun
from .sent_model import SentModel
from .server_sgd import ServerSGD
from .server_step import Stepped, step
from .trust import check_trust, trusting
from .vetting import Vetting

__all__ = ["Robust"]

_LOG = getLogger("flwr")


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
        Strategy that samples the nodes, configures the rounds and steps on the server; neither
        another `Robust` nor one of Flower's differential-privacy wrappers, whose noise is made for
        a mean of n updates (around a `Robust` they are refused when a round begins).
    rule : str or Aggregator
        Aggregation, for instance ``"arc > nnm > trimmed_mean"``.
    num_malicious_nodes : int or float
        Upper bound on the malicious nodes of the federation: a count, or a fraction in [0, 0.5)
        of its nodes, rounded down. Where a round asks only some of them, its f follows from
        ``risk``.
    payload : {"model", "gradient"}
        What replies hold: models (the rule sees model − model sent) or gradients or momentums
        (for `ServerSGD`). A reply that declares the other one is turned away.
    buffers : collection of str, callable or None
        Arrays that are no parameters and take the replies' coordinate-wise median; recognised
        by default, see `buffer_names`. With a `ServerSGD` inside, set it there.
    risk : float
        With ``fraction_train < 1``: the chance that in any round of the run more malicious nodes
        are asked than the round's f says; 0 assumes that all of them are asked in every round.
    too_few_nodes : {"stop", "warn"}
        What to do when a run's first round asks fewer nodes than the rule (and ``fallback``) needs:
        end it at once, or say so and skip the round. In later rounds, and where f silent nodes
        would leave too few, it is said once.
    fallback : str, Aggregator or None
        Rule of the rounds in which too few usable replies come back for ``rule``, such as
        ``"median"`` for Bulyan; without one they leave the model unchanged.
    trusted_node : int or None
        Node id whose update MoNNA trusts; a round without a usable reply of it is skipped.
    cast_dtypes : bool
        Accept floating-point arrays of another precision or byte order than the model's and cast
        them; by default they are turned away.
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
        Whether `conduct` records each update's distance to the aggregate.

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

    Metrics that clients claim, their counts of examples included, reach the inner strategy's
    ``train_metrics_aggr_fn`` and ``evaluate_metrics_aggr_fn`` one record a client, with each value
    capped to the range that is left without the f smallest and the f largest: what a minority
    claims lies between honest values. To the inner strategy's ``aggregate_train`` a round is one
    reply of no real node: the aggregate, and the medians of the metrics. One of your own that reads
    what each client sent has nothing to read there; do it in ``train_metrics_aggr_fn``. Evaluate on
    the server (``evaluate_fn``) for numbers to rely on.

    Arrays are buffers if most replies declare them so (clients of this package do), or, where most
    declare nothing, if their name says so. An array that most replies return as it was sent is
    never stepped; one with Inf in the model itself (an attention mask) stays as it is, if most
    replies return it so or it is named as a buffer.

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
        buffers: BufferNames = None,
        risk: float = 1e-3,
        too_few_nodes: Literal["stop", "warn"] = "stop",
        fallback: str | Aggregator | None = None,
        trusted_node: int | None = None,
        cast_dtypes: bool = False,
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
        check_fits(inner, payload)
        if isinstance(inner, ServerSGD):
            if buffers is not None and buffers != inner.buffers:
                raise ValueError("`buffers` needs to be set on the inner `ServerSGD`")
            buffers = inner.buffers
        if too_few_nodes not in ("warn", "stop"):
            raise ValueError(f"`too_few_nodes` needs stop or warn; found {too_few_nodes!r}")
        if max_skipped_rounds is not None:
            integer_at_least(max_skipped_rounds, 1, "Robust", "max_skipped_rounds")
        if quarantine_after is not None:
            integer_at_least(quarantine_after, 1, "Robust", "quarantine_after")
        if checkpoint is not None:
            check_resumable(inner)
        self.inner = inner
        self.rule = parse(rule)
        self.fallback = None if fallback is None else parse(fallback)
        for used in filter(None, (self.rule, self.fallback)):
            check_trust(used, trusted_node)
        self.faults = FaultBound(num_malicious_nodes, risk)
        self.num_malicious_nodes = num_malicious_nodes
        self.risk = risk
        self.payload: Payload = payload
        self.buffers = buffers
        self.too_few_nodes = too_few_nodes
        self.trusted_node = trusted_node
        self.cast_dtypes = cast_dtypes
        self.max_skipped_rounds = max_skipped_rounds
        self.quarantine_after = quarantine_after
        self.conduct_file = conduct_file
        self.checkpoint = checkpoint
        self.measure_distances = measure_distances
        self.seed = None if seed is None else non_negative_int(seed, "seed")
        self._names: tuple[str, str] = (
            getattr(inner, "arrayrecord_key", "arrays"),
            getattr(inner, "weighted_by_key", "num-examples"),
        )
        self._model: SentModel | None = None
        self._asked: tuple[Message, ...] = ()
        self._asked_to_evaluate: tuple[Message, ...] = ()
        self._federation = 0
        self._rounds_planned = 1
        self._begin_run()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({type(self.inner).__name__}, {self.rule.spec!r}, "
            f"num_malicious_nodes={self.num_malicious_nodes!r}, payload={self.payload!r})"
        )

    @property
    def history(self) -> list[RoundRecord]:
        """What happened in each round of the latest run."""
        return self._run_state.history

    @property
    def conduct(self) -> Conduct:
        """What each node did in the latest run."""
        return self._run_state.conduct

    def _begin_run(self) -> None:
        self._run_state = RunState.begin(self.seed)
        self._notices = Notices(self.inner, self.rule, self.fallback, self.faults)

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
            self._rounds_planned = num_rounds
            run = partial(
                run_rounds,
                self,
                safe_grid,
                timeout=timeout,
                train_config=train_config,
                evaluate_config=evaluate_config,
                evaluate_fn=evaluate_fn,
                should_stop=should_stop,
            )
            return self._run(initial_arrays, num_rounds, run)

    def _run(
        self, initial_arrays: ArrayRecord, num_rounds: int, run: Callable[..., None]
    ) -> RunResult:
        companions = {} if self.checkpoint is None else self.checkpoint.companions
        saved_run = SavedRun(self.inner, self.rule.spec, self.payload, companions)
        identity = saved_run.identity(initial_arrays)
        saved = None if self.checkpoint is None else self.checkpoint.newest(identity)
        result, done = RunResult(initial_arrays), 0
        if saved is not None:
            self._begin_run()
            result, self._run_state = saved_run.restore(saved, self.seed)
            done = saved["round"]

        def save(server_round: int, arrays: ArrayRecord) -> None:
            if self.checkpoint and self.checkpoint.due(server_round, server_round == num_rounds):
                tree = saved_run.to_tree(identity, server_round, arrays, result, self._run_state)
                self.checkpoint.save(server_round, tree)

        try:
            run(result.arrays, range(done + 1, num_rounds + 1), result, after_round=save)
        except TooManySkippedRounds as error:
            result.stopped = str(error)
            _LOG.log(ERROR, "The run ends early: %s", error)
        if self.history and all(record.skipped for record in self.history):
            reason = self.history[-1].skipped
            _LOG.log(ERROR, "No round was aggregated; the model is as it was: %s", reason)
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
            If the model is complex, has no parameters or is not finite, or this strategy is inside
            one of Flower's differential-privacy wrappers.
        InfeasibleError
            If too few nodes are asked in the first round, see ``too_few_nodes``.
        """
        check_not_wrapped(self)
        if server_round <= self._run_state.last_round:
            self._begin_run()
        self._run_state.last_round = server_round
        self._model = SentModel(arrays, self.buffers, cast=self.cast_dtypes)
        if any(array.dtype == "bfloat16" for array in arrays.values()):
            arrays = self._model.record()  # which the inner strategy can read as float32
        with seeded_sampling(self.seed, f"train {server_round}"):
            self._asked = tuple(self.inner.configure_train(server_round, arrays, config, grid))
        self._federation = max(len(self._asked), len(list(grid.get_node_ids())))
        asked = len(self._asked)
        if asked:
            self._notices.look_at_inner()
            if self.too_few_nodes == "stop" and not self.history:
                self._notices.check_enough(asked, self._f(asked))
            self._notices.look_at_numbers(asked, self._federation, self._rounds_planned)
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
        accepted, rejections = self._take_in(messages, self._asked, train=True)
        if self.buffers is None:
            accepted, odd = self._model.learn_buffers(accepted)
            rejections.extend(odd)
            self._notices.look_at_buffers(self._model)
        malformed = sum(rejection.proves_fault for rejection in rejections)
        aggregation = aggregate_replies(
            self._rule_for(accepted, malformed),
            self._model,
            accepted,
            self.payload,
            self._f(len(self._asked)),
            malformed=malformed,
            rng=self._run_state.generator,
            center=self._center(),
            measure_distances=self.measure_distances,
        )
        rejections.extend(aggregation.rejections)
        stepped, problem = self._step(server_round, self._model, aggregation)
        arrays, metrics = (None, {}) if stepped is None else stepped
        record = RoundRecord(
            server_round=server_round,
            rule=self.rule.spec,
            asked=len(self._asked),
            replies=len(messages),
            rows=len(aggregation.used),
            f=aggregation.f,
            rejections=tuple(rejections),
            steps=() if aggregation.explanation is None else aggregation.explanation.steps,
            skipped="" if problem is None else _one_line(problem) + cause_of(rejections, messages),
            metrics=metrics,
        )
        self.history.append(record)
        self._note_conduct(record, aggregation)
        log_rejections("aggregate_train", rejections)
        log_round(record)
        if arrays is None:
            return self._skip(record, problem)
        self._run_state.skipped = 0
        return arrays, MetricRecord({**metrics, **record.to_metrics()})

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
        """Drop malformed replies; the inner strategy averages the metrics that the rest share.

        Returns
        -------
        MetricRecord or None
            The inner strategy's metrics, and ``robust-missing`` and ``robust-rejected``: how many
            nodes that were asked did not answer, and how many replies were turned away. ``None``
            if there is nothing of either.
        """
        asked = {message.metadata.dst_node_id: message for message in self._asked_to_evaluate}
        received = list(replies)
        accepted, rejections = self._take_in(received, self._asked_to_evaluate, train=False)
        agreed, odd = agreeing(accepted)
        rejections.extend(odd)
        # No offences: few may evaluate, and a majority of few can frame an honest node.
        log_rejections("aggregate_evaluate", rejections)
        if asked:
            log_replies("aggregate_evaluate", len(asked), len(received), rejections)
        capped = capped_metrics(agreed, self._f(len(asked)))
        messages = [
            Message(reply.with_metrics(metrics), reply_to=asked[reply.node_id])
            for reply, metrics in zip(agreed, capped, strict=True)
        ]
        try:
            metrics = self.inner.aggregate_evaluate(server_round, messages)
        except Exception as error:  # what replies hold must not end a run
            _LOG.log(WARNING, "Round %d: no evaluation metrics: %s", server_round, _one_line(error))
            metrics = None
        missing = max(0, len(asked) - len(received))
        if metrics is None and not rejections and not missing:
            return None
        kept = finite_metrics(metrics or {})
        own = {"robust-missing": missing, "robust-rejected": len(rejections)}
        return MetricRecord({**kept, **own})

    def _center(self) -> Tensor | None:
        """Return the previous aggregate, unless the arrays that are parameters have changed."""
        center = self._run_state.center
        fits = self._model is not None and center is not None and len(center) == self._model.size
        return center if fits else None

    def _f(self, asked: int) -> int:
        """Return how many of the nodes asked in a round may be malicious."""
        return self.faults.within(asked, self._federation, self._rounds_planned)

    def _take_in(
        self, messages: Sequence[Message], asked: Sequence[Message], *, train: bool
    ) -> tuple[list[Reply], list[Rejection]]:
        vetting = Vetting(
            {} if self._model is None else self._model.expected,
            frozenset() if self._model is None else self._model.buffers,
            *self._names,
            self.payload,
        )
        quarantined = self._quarantined(len(asked))
        return take_in(vetting, messages, asked, self.conduct, quarantined, train=train)

    def _quarantined(self, asked: int) -> frozenset[int]:
        if self.quarantine_after is None:
            return frozenset()
        return self.conduct.quarantined(self.quarantine_after, self._f(asked))

    def _rule_for(self, accepted: Sequence[Reply], malformed: int) -> Aggregator:
        """Return the rule, or the fallback where too few replies are left for it."""
        f = self._f(len(self._asked)) - malformed
        rule = self.rule
        if self.fallback is not None and f >= 0 and infeasible(rule, len(accepted), f):
            rule = self.fallback
            _LOG.log(WARNING, "`%s` takes the place of `%s`", rule.spec, self.rule.spec)
        return trusting(rule, self.trusted_node, [reply.node_id for reply in accepted])

    def _step(
        self, server_round: int, model: SentModel, aggregation: Aggregation
    ) -> tuple[Stepped | None, Exception | None]:
        """Let the inner strategy step with the aggregate; what goes wrong is undone."""
        if aggregation.explanation is None:
            return None, aggregation.failure
        value = aggregation.explanation.value
        center = value.clone() if self.rule.needs_center else None
        try:
            stepped = step(
                self.inner,
                server_round,
                model,
                value,
                aggregation.used,
                payload=self.payload,
                f=self._f(len(self._asked)),
                answers=self._asked[0],
                names=self._names,
            )
        except Exception as error:  # what replies hold must not end a run
            return None, error
        if center is not None:
            self._run_state.center = center
        return stepped, None

    def _note_conduct(self, record: RoundRecord, aggregation: Aggregation) -> None:
        nodes = [message.metadata.dst_node_id for message in self._asked]
        outcomes = outcomes_of(record, aggregation, nodes)
        self.conduct.note(outcomes)
        if self.conduct_file is not None:
            append_outcomes(self.conduct_file, outcomes)

    def _skip(
        self, record: RoundRecord, problem: Exception | None
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        self._run_state.skipped += 1
        skipped = self._run_state.skipped
        _LOG.log(
            WARNING, "Round %d leaves the model unchanged: %s", record.server_round, record.skipped
        )
        if self.max_skipped_rounds is not None and skipped >= self.max_skipped_rounds:
            raise TooManySkippedRounds(
                f"{skipped} rounds in a row left the model unchanged, round "
                f"{record.server_round} because {record.skipped}"
            ) from problem
        arrays = None if self._model is None else self._model.record()
        return arrays, MetricRecord(record.to_metrics())


def _one_line(error: Exception) -> str:
    if isinstance(error, InfeasibleError):
        return str(error)  # our own words
    return f"{type(error).__name__}: {excerpt(str(error), 300)}"
