"""The rounds of a run: Flower's loop, which can also begin in the middle and stop early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from logging import INFO, getLogger
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

__all__ = ["EvaluateFn", "RunResult", "ShouldStop", "run_rounds"]

_LOG = getLogger("flwr")

EvaluateFn = Callable[[int, ArrayRecord], "MetricRecord | None"]
ShouldStop = Callable[[int, Any], bool]


@dataclass(repr=False)
class RunResult(Result):
    """Flower's result of a run, and why the run ended early.

    Attributes
    ----------
    stopped : str
        Empty if all rounds were run.
    """

    stopped: str = ""


def run_rounds(
    strategy: Strategy,
    grid: Grid,
    arrays: ArrayRecord,
    rounds: range,
    result: RunResult,
    *,
    timeout: float,
    train_config: ConfigRecord | None = None,
    evaluate_config: ConfigRecord | None = None,
    evaluate_fn: EvaluateFn | None = None,
    should_stop: ShouldStop | None = None,
    after_round: Callable[[int, ArrayRecord], None] | None = None,
) -> None:
    """Train and evaluate for some rounds, as `flwr.serverapp.strategy.Strategy.start` does.

    Parameters
    ----------
    strategy : Strategy
        Whose four methods configure and aggregate.
    grid : Grid
        Connection to the nodes.
    arrays : ArrayRecord
        Model that the first of the rounds starts from.
    rounds : range
        Numbers of the rounds, for instance ``range(4, 11)`` after a checkpoint of round 3.
    result : RunResult
        Filled round by round, so that nothing is lost if a round raises.
    timeout : float
        Seconds to wait for the replies of a round.
    train_config, evaluate_config : ConfigRecord or None
        Sent with the model.
    evaluate_fn : callable or None
        ``evaluate_fn(round, arrays)`` evaluates on the server after every round, and before the
        first as round 0.
    should_stop : callable or None
        ``should_stop(round, result)`` ends the run after a round.
    after_round : callable or None
        ``after_round(round, arrays)`` is called when everything else of a round is done.
    """
    train_config = ConfigRecord() if train_config is None else train_config
    evaluate_config = ConfigRecord() if evaluate_config is None else evaluate_config
    if rounds.start == 1:
        _evaluate_on_server(evaluate_fn, 0, arrays, result)
    for current in rounds:
        _LOG.log(INFO, "")
        _LOG.log(INFO, "[ROUND %d/%d]", current, rounds.stop - 1)
        asked = list(strategy.configure_train(current, arrays, train_config, grid))
        replies = grid.send_and_receive(asked, timeout=timeout) if asked else []
        trained, metrics = strategy.aggregate_train(current, replies)
        if trained is not None:
            result.arrays = arrays = trained
        _note(result.train_metrics_clientapp, current, metrics)

        asked = list(strategy.configure_evaluate(current, arrays, evaluate_config, grid))
        replies = grid.send_and_receive(asked, timeout=timeout) if asked else []
        metrics = strategy.aggregate_evaluate(current, replies)
        _note(result.evaluate_metrics_clientapp, current, metrics)

        _evaluate_on_server(evaluate_fn, current, arrays, result)
        if after_round is not None:
            after_round(current, arrays)
        if should_stop is not None and should_stop(current, result):
            result.stopped = f"`should_stop` ended the run after round {current}"
            _LOG.log(INFO, "%s", result.stopped)
            return


def _evaluate_on_server(
    evaluate_fn: EvaluateFn | None, current: int, arrays: ArrayRecord, result: RunResult
) -> None:
    if evaluate_fn is not None:
        _note(result.evaluate_metrics_serverapp, current, evaluate_fn(current, arrays))


def _note(where: dict[int, MetricRecord], current: int, metrics: MetricRecord | None) -> None:
    if metrics is not None:
        _LOG.log(INFO, "\t└──> Aggregated MetricRecord: %s", metrics)
        where[current] = metrics
