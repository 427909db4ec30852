"""``byzflower bench engines`` and ``end-to-end``: rounds of training against their limits."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch.func import vmap

import byzflower as bf
from byzflower.clients.algorithms import Batch, Buffers, LocalStep, Params, State
from byzflower.clients.algorithms.trees import map_tree

from ..experiment import Experiment
from ..runner import Round, run_experiment
from ..tasks import TaskLoader, make_algorithm, open_objective, split_rows
from .byzfl_training import byzfl_rounds
from .measure import Row

__all__ = ["ARC_MNIST", "DIGITS", "bench_end_to_end", "bench_engines", "bench_growth"]

DIGITS = Experiment(rounds=30)

_CELLS = 4
"""Cells that differ in seed, rule or attack alone, whose clients could step together."""

_AGREEMENT = 1e-3
"""Largest difference of our engines' test accuracies that counts as the same work."""

_PEERS_AGREEMENT = {"ByzFL": 0.2}
"""The same for a peer, whose initial model and batches are its own."""


def ARC_MNIST(attack: str = "foe(tau=10)") -> Experiment:  # noqa: N802  (a named set-up)
    """Return ARC's MNIST set-up on mnist10k: a CNN of 431,080 parameters, 10 honest clients."""
    return Experiment(
        dataset="mnist10k",
        data_dir=os.environ.get("BYZFLOWER_DATA"),
        partition="dirichlet(alpha=0.5)",
        model="cnn",
        n=11,
        f=1,
        attack=attack,
        learning_rate=0.1,
        weight_decay=1e-4,
        rounds=30,
        threads=torch.get_num_threads(),
    )


def bench_engines(
    experiment: Experiment, engines: Sequence[str], *, repeats: int = 3
) -> Iterator[list[Row]]:
    """Yield a row an engine: seconds a round of the same experiment.

    The reference is the honest clients' bare vmapped gradient, so a ratio of 1 would be an engine,
    an attack and an aggregation that cost nothing.
    """
    subjects = _limits(experiment) | {
        engine: _engine(dataclasses.replace(experiment, engine=engine)) for engine in engines
    }
    yield _rows("engines", _case(experiment), subjects, repeats)


def bench_end_to_end(experiment: Experiment, *, repeats: int = 3) -> Iterator[list[Row]]:
    """Yield the batched engine against the limits and ByzFL's own simulation of the same run."""
    batched = dataclasses.replace(experiment, engine="batched")
    subjects = _limits(experiment) | {"batched": _engine(batched)}
    if byzfl_rounds(experiment) is not None:
        subjects["ByzFL"] = _peer(experiment)
    yield _rows("end-to-end", _case(experiment), subjects, repeats)


def bench_growth(
    sizes: Sequence[int] = (10, 100, 1000, 10_000), *, repeats: int = 3
) -> Iterator[list[Row]]:
    """Yield seconds per client and round of the digits MLP, as the number of clients grows."""
    for n in sizes:
        rounds = max(3, min(30, 10_000 // n))
        experiment = dataclasses.replace(
            DIGITS, n=n, f=0, attack="none", rule="mean", partition="shared", rounds=rounds
        )
        run = _engine(dataclasses.replace(experiment, engine="batched"))
        taken = [run()[0] / n for _ in range(repeats)]
        yield [
            Row(
                "growth",
                f"n={n}, digits mlp",
                "batched, per client",
                "batched, per client",
                statistics.median(taken),
                min(taken),
                max(taken),
                1.0,
                None,
            )
        ]


Run = Callable[[], tuple[float, float | None]]
"""Returns seconds a round and, for a training run, the final test accuracy."""


def _rows(suite: str, case: str, subjects: Mapping[str, Run], repeats: int) -> list[Row]:
    reference, *_ = subjects
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    accuracy: dict[str, float | None] = {}
    for _ in range(repeats):
        for name, run in subjects.items():
            seconds, accuracy[name] = run()
            taken[name].append(seconds)
    known = [value for value in accuracy.values() if value is not None]
    rows = []
    for name, value in accuracy.items():
        difference = None if value is None else abs(value - known[0])
        allowed = _PEERS_AGREEMENT.get(name, _AGREEMENT)
        agrees = difference is None or difference <= allowed
        rows.append(Row.of(suite, case, name, reference, taken, difference, agrees))
    return rows


def _case(experiment: Experiment) -> str:
    model = sum(p.numel() for p in open_objective(experiment).initial().values())
    return (
        f"{experiment.dataset} d={model:,} n={experiment.n} f={experiment.f} "
        f"{experiment.attack} {experiment.rule}"
    )


def _engine(experiment: Experiment) -> Run:
    """Time rounds alone: a long run less a short one, which start and evaluate alike."""
    few = max(1, experiment.rounds // 6)

    def run() -> tuple[float, float | None]:
        short, _ = _duration(dataclasses.replace(experiment, rounds=few))
        long, accuracy = _duration(dataclasses.replace(experiment, rounds=experiment.rounds + few))
        return (long - short) / experiment.rounds, accuracy

    return run


def _duration(experiment: Experiment) -> tuple[float, float]:
    """Return seconds from the evaluation of the initial model to that of the last, and accuracy."""
    ends: list[tuple[float, float]] = []

    def note(done: Round) -> None:
        ends.append((time.perf_counter(), done.accuracy))

    run_experiment(dataclasses.replace(experiment, evaluate_every=experiment.rounds), note)
    (start, _), (end, accuracy) = ends
    return end - start, accuracy


def _peer(experiment: Experiment) -> Run:
    def run() -> tuple[float, float | None]:
        rounds = byzfl_rounds(experiment)
        assert rounds is not None
        few = max(1, experiment.rounds // 6)
        start = time.perf_counter()
        rounds(few)
        middle = time.perf_counter()
        accuracy = rounds(experiment.rounds)
        # The first call took `few` rounds and an evaluation, the second `rounds` and one.
        seconds = (time.perf_counter() - middle) - (middle - start)
        return seconds / (experiment.rounds - few), accuracy

    return run


def _limits(experiment: Experiment) -> dict[str, Run]:
    """Return what nobody can beat: the honest clients' gradients alone, and one large batch.

    And the share of one of several cells whose clients step together, each cell with its own model.
    """
    objective, algorithm = open_objective(experiment), make_algorithm(experiment)
    loader = TaskLoader(experiment, split_rows(experiment))
    params, buffers = objective.split(objective.initial())
    batches = []
    for i in range(experiment.honest):
        task = loader.task(i)
        batches.append(task.draw(1, algorithm.batch_shape(task.batch_size))[1])
    states = [algorithm.init_state(params) for _ in batches]
    eager = objective.with_autograd()

    def stacked() -> tuple[Batch, State]:
        batch = Batch(*(torch.stack(part) for part in zip(*batches, strict=True)))
        return batch, {name: torch.stack([s[name] for s in states]) for name in states[0]}

    def step_of_all(params: Params, buffers: Buffers, batch: Batch, state: State) -> LocalStep:
        def step(batch: Batch, state: State) -> LocalStep:
            return algorithm.local_step(objective, params, buffers, batch, state)

        result: LocalStep = vmap(step, randomness="different")(batch, state)
        return result

    def vmapped() -> None:
        step_of_all(params, buffers, *stacked())

    together = (params, buffers, *stacked())
    cells = [map_tree(lambda t: torch.stack([t] * _CELLS), part) for part in together]

    def cells_vmapped() -> None:
        vmap(step_of_all, randomness="different")(*cells)

    def one_by_one() -> None:
        for batch, state in zip(batches, states, strict=True):
            algorithm.local_step(eager, params, buffers, batch, state)

    def large_batch() -> None:
        joined = Batch(
            torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches]), batches[0].key
        )
        eager.gradient(params, buffers, joined)

    def aggregate() -> None:
        rule(rows, experiment.f)

    rule = bf.parse(experiment.rule)
    d = sum(p.numel() for p in params.values())
    rows = torch.randn(experiment.n, d, device=experiment.device)
    limits = {
        "clients alone, vmapped": vmapped,
        "clients alone, one by one": one_by_one,
        "one large batch": large_batch,
        "aggregation alone": aggregate,
    }
    timed = {name: _timed(work, experiment.threads) for name, work in limits.items()}
    joint = _timed(cells_vmapped, experiment.threads)
    return timed | {
        f"clients of {_CELLS} cells, vmapped, a cell": lambda: (joint()[0] / _CELLS, None)
    }


def _timed(work: Callable[[], None], threads: int, calls: int = 10) -> Run:
    def run() -> tuple[float, float | None]:
        torch.set_num_threads(threads)
        work()
        taken = []
        for _ in range(calls):
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken), None

    return run
