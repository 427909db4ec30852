"""Checks of a client algorithm: its local steps, and rounds of training on the engines."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from torch import Tensor, nn

from byzflower.clients import ClientTask, Objective, TrainingApp, make_client_app
from byzflower.clients.algorithms import Algorithm, LocalStep, parse_client
from byzflower.clients.algorithms.trees import Tree
from byzflower.simulations.engines import BatchedGrid, InProcessGrid
from byzflower.statefile import read_tree, write_tree
from byzflower.testing.contract import (
    built,
    by_name,
    documented,
    frozen_value,
    generator,
    near,
    reads_back,
    require,
    run_checks,
)
from byzflower.wire.arrays import to_record, to_tensor

__all__ = ["CLIENT_CHECKS", "check_client"]

_CLIENTS = 3
_BATCH = 4
_SERVER_STEP = 0.2


def check_client(
    algorithm: str | Algorithm | type[Algorithm],
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Check that a client algorithm does what engines and strategies rely on.

    Three clients train a small network for some rounds, on the in-process and the batched engine.
    The server takes a step along the mean of gradients, or the mean of models, as ``payload`` says.

    Parameters
    ----------
    algorithm
        A spec, an object, or a class whose parameters all have defaults.
    skip, only, device
        As for `check_rule`, of `CLIENT_CHECKS`. An algorithm that needs a rule or a step size of
        its own may skip "training_lowers_the_loss".

    Raises
    ------
    ContractError
        With one line for each check that fails.

    Examples
    --------
    >>> check_client("momentum(beta=0.5)", only={"both_engines_train_alike"})
    """
    found = built(algorithm, "algorithm", "a client algorithm", Algorithm, parse_client)
    run_checks(Trainees(found, device), found.spec, CLIENT_CHECKS, skip=skip, only=only)


class _OfTokens(nn.Module):
    """A model that takes a dictionary and returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        weights = mask[:, :, None]
        mean = (self.embedding(tokens) * weights).sum(dim=1) / weights.sum(dim=1)
        return {"logits": self.head(mean)}


@dataclass(frozen=True)
class Trainees:
    """Clients that train with an algorithm."""

    algorithm: Algorithm
    device: str | torch.device = "cpu"

    def objective(self, dtype: torch.dtype = torch.float32) -> Objective:
        """Return a network with dropout and, where examples may be mixed, BatchNorm."""
        with _seeded():
            middle = nn.Tanh() if self.algorithm.per_sample else nn.BatchNorm1d(5)
            # A bias before BatchNorm has no gradient but rounding errors, whose sign some step by.
            first, last = nn.Linear(4, 5, bias=False), nn.Linear(5, 3)
            model = nn.Sequential(first, middle, nn.Dropout(0.2), last)
        return Objective(model.to(self.device, dtype), l2=1e-3)

    def examples(
        self, client: int, count: int = 12, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Return a client's examples, of three classes."""
        x = torch.randn(count, 4, generator=generator(client), dtype=dtype)
        return x, x[:, :3].argmax(dim=1)

    def app(
        self,
        objective: Objective,
        examples: Callable[[int], tuple[Tree, Tree]] | None = None,
    ) -> TrainingApp:
        """Return the ClientApp of clients with these examples."""
        take = self.examples if examples is None else examples

        def load(context: Any) -> ClientTask:
            i = int(context.node_config["partition-id"])
            x, y = take(i)
            return ClientTask(objective, x, y, i, _BATCH, seed=3, device=self.device)

        return make_client_app(load, self.algorithm)

    def local_step(
        self, dtype: torch.dtype
    ) -> tuple[Objective, tuple[dict[str, Tensor], ...], LocalStep]:
        """Return an objective, the dictionaries passed to one local step, and its result."""
        objective = self.objective(dtype)
        app = self.app(objective, lambda i: self.examples(i, dtype=dtype))
        grid = InProcessGrid(app, 1)
        node = app.nodes.of(grid.contexts[1])
        params, buffers = node.objective.split(objective.initial())
        work = node.prepare(params, buffers, 1, grid.contexts[1])
        given = (params, buffers, {"x": work.batch.x, "y": work.batch.y}, work.state)
        before = [{name: value.clone() for name, value in part.items()} for part in given]
        step = self.algorithm.local_step(node.objective, params, buffers, work.batch, work.state)
        for what, part, old in zip(
            ("parameters", "buffers", "examples", "state"), given, before, strict=True
        ):
            same = all(torch.equal(part[name], old[name]) for name in old)
            require(same, f"a local step modifies the {what} that it is given")
        return objective, given, step


def train(
    objective: Objective,
    grid: InProcessGrid,
    model: Mapping[str, Tensor],
    rounds: range,
) -> tuple[dict[str, Tensor], list[dict[int, dict[str, Tensor]]], list[float]]:
    """Train for some rounds: return the model, every round's replies by node, the mean losses."""
    current, replies, losses = dict(model), list[dict[int, dict[str, Tensor]]](), list[float]()
    for number in rounds:
        content = RecordDict(
            {"arrays": to_record(current), "config": ConfigRecord({"server-round": number})}
        )
        messages = [Message(content, node, "train") for node in grid.get_node_ids()]
        answers = grid.send_and_receive(messages)
        require(len(answers) == len(messages), "a client does not reply")
        for answer in answers:
            if answer.has_error():
                reason = str(answer.error.reason).partition("\n")[0]
                require(False, f"node {answer.metadata.src_node_id} replies with {reason}")
        arrays = {
            answer.metadata.src_node_id: {
                name: to_tensor(array)
                for name, array in answer.content.array_records["arrays"].items()
            }
            for answer in answers
        }
        replies.append(arrays)
        reported = [answer.content.metric_records["metrics"]["train_loss"] for answer in answers]
        losses.append(float(np.mean(reported)))
        declared = answers[0].content.config_records["byzflower"]["payload"]
        current = _stepped(objective, current, list(arrays.values()), declared == "gradient")
    return current, replies, losses


def _stepped(
    objective: Objective,
    model: dict[str, Tensor],
    replies: list[dict[str, Tensor]],
    gradient: bool,
) -> dict[str, Tensor]:
    """Return the model after a server step with the mean of the replies."""
    stepped = {}
    for name, value in model.items():
        mean = torch.stack([reply[name].double() for reply in replies]).mean(dim=0)
        if gradient and name not in objective.buffer_names:
            mean = value - _SERVER_STEP * mean
        stepped[name] = mean.to(value.dtype)
    return stepped


class _seeded:  # noqa: N801  # reads as a statement
    """Seed torch's generator for a block, and restore it."""

    def __enter__(self) -> None:
        self._state = torch.get_rng_state()
        torch.manual_seed(0)

    def __exit__(self, *error: object) -> None:
        torch.set_rng_state(self._state)


def _layout(arrays: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _same(first: list[Any], second: list[Any]) -> bool:
    """Whether two runs' replies hold the same bits."""
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(one[node][name].nan_to_num(), two[node][name].nan_to_num())
        for one, two in pairs
        for node in one
        for name in one[node]
    )


def a_step_keeps_layouts_and_what_it_is_given(subject: Trainees) -> None:
    """Update, buffers and state come back in shape and dtype; no argument is modified."""
    for dtype in (torch.float32, torch.float64):
        _, (params, buffers, _, state), step = subject.local_step(dtype)
        for what, found, expected in (
            ("update", step.update, params),
            ("buffers", step.buffers, buffers),
            ("state", step.state, state),
        ):
            require(
                _layout(found) == _layout(expected),
                f"{what} of a {dtype} model need keys, shapes and dtypes of the "
                f"{'state' if what == 'state' else 'model'}; found {_layout(found)}",
            )
        loss = step.metrics.get("train_loss")
        scalar = isinstance(loss, Tensor) and loss.ndim == 0
        require(scalar, f"metrics need a 0-dimensional `train_loss`; found {loss!r}")
        parts = (step.update, step.buffers, step.state, step.metrics)
        tied = [name for part in parts for name, value in part.items() if value.requires_grad]
        require(not tied, f"detach what a step returns: {', '.join(tied)} need a gradient")


def one_seed_gives_one_result(subject: Trainees) -> None:
    """Two runs of the same rounds send the same bits."""
    runs = []
    for _ in range(2):
        objective = subject.objective()
        grid = InProcessGrid(subject.app(objective), _CLIENTS)
        runs.append(train(objective, grid, objective.initial(), range(1, 4))[1])
    require(_same(*runs), "two runs with one seed differ: draw from the batch's key alone")


def global_generators_stay_as_they_are(subject: Trainees) -> None:
    """Training neither draws from nor seeds the generators of torch, NumPy and Python."""
    objective = subject.objective()
    grid = InProcessGrid(subject.app(objective), _CLIENTS)
    before = (torch.get_rng_state(), np.random.get_state(), random.getstate())  # noqa: NPY002
    train(objective, grid, objective.initial(), range(1, 3))
    require(torch.equal(before[0], torch.get_rng_state()), "training draws from torch's generator")
    found = np.random.get_state()  # noqa: NPY002
    same = all(np.array_equal(one, two) for one, two in zip(before[1], found, strict=True))
    require(same, "training draws from NumPy's global generator")
    require(before[2] == random.getstate(), "training draws from Python's global generator")


def the_state_survives_a_checkpoint(subject: Trainees) -> None:
    """Clients of a new process go on from what a checkpoint holds of their state."""
    objective = subject.objective()
    grid = InProcessGrid(subject.app(objective), _CLIENTS)
    model, _, _ = train(objective, grid, objective.initial(), range(1, 3))
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder) / "state", grid.state_dict())
        kept = read_tree(Path(folder) / "state")
    _, expected, _ = train(objective, grid, model, range(3, 5))
    fresh = InProcessGrid(subject.app(objective), _CLIENTS)
    fresh.load_state_dict(kept)
    _, found, _ = train(objective, fresh, model, range(3, 5))
    text = "after a checkpoint clients send something else: keep what is remembered in the state"
    require(_same(expected, found), text)


def frozen_parameters_stay(subject: Trainees) -> None:
    """A parameter with ``requires_grad=False`` gets a gradient of zero, or its own value."""
    objective = subject.objective()
    objective.model[0].weight.requires_grad_(False)  # type: ignore[index]
    objective = Objective(objective.model, l2=1e-3)
    grid = InProcessGrid(subject.app(objective), _CLIENTS)
    model, _, _ = train(objective, grid, objective.initial(), range(1, 4))
    text = "a frozen parameter moves by {}"
    near(model["0.weight"], objective.initial()["0.weight"], text, rtol=1e-6, atol=1e-7)


def batches_of_dictionaries_train(subject: Trainees) -> None:
    """Models that take keywords, as language models do, train."""

    def examples(client: int) -> tuple[Tree, Tree]:
        rng = generator(client)
        tokens = torch.randint(9, (12, 6), generator=rng)
        mask = (torch.rand(12, 6, generator=rng) < 0.8).float()
        mask[:, 0] = 1.0
        return {"tokens": tokens, "mask": mask}, tokens[:, 0] % 3

    with _seeded():
        objective = Objective(_OfTokens().to(subject.device))
    grid = InProcessGrid(subject.app(objective, examples), _CLIENTS)
    model, _, losses = train(objective, grid, objective.initial(), range(1, 4))
    require(np.isfinite(losses).all(), f"losses on batches of dictionaries are {losses}")
    require(_layout(model) == objective.layout, f"the model becomes {_layout(model)}")


def a_client_with_few_examples_trains(subject: Trainees) -> None:
    """Fewer examples than a batch asks for make a smaller batch."""
    objective = subject.objective()
    app = subject.app(objective, lambda i: subject.examples(i, count=_BATCH - 1))
    _, _, losses = train(objective, InProcessGrid(app, 1), objective.initial(), range(1, 3))
    require(np.isfinite(losses).all(), f"losses of a client with three examples are {losses}")


def both_engines_train_alike(subject: Trainees) -> None:
    """The batched engine sends what clients send one after another, up to rounding."""
    runs = []
    for engine in (InProcessGrid, BatchedGrid):
        objective = subject.objective()
        grid = engine(subject.app(objective), _CLIENTS)
        runs.append(train(objective, grid, objective.initial(), range(1, 4))[1])
    for one, two in zip(*runs, strict=True):
        for node, arrays in one.items():
            for name, value in arrays.items():
                text = f"clients one by one and batched send `{name}` with {{}}"
                near(two[node][name], value, text, rtol=1e-4, atol=1e-5)


def data_of_nan_are_answered(subject: Trainees) -> None:
    """A diverged client replies; that its numbers are no numbers is the server's affair."""
    objective = subject.objective()

    def examples(client: int) -> tuple[Tree, Tree]:
        x, y = subject.examples(client)
        return x * torch.nan, y

    grid = InProcessGrid(subject.app(objective, examples), _CLIENTS)
    _, _, losses = train(objective, grid, objective.initial(), range(1, 2))
    require(not np.isfinite(losses).any(), f"data of NaN lead to the loss {losses[0]}")


def training_lowers_the_loss(subject: Trainees) -> None:
    """After sixty rounds the clients' loss is lower than in the first."""
    objective = subject.objective()
    grid = BatchedGrid(subject.app(objective), _CLIENTS)
    _, _, losses = train(objective, grid, objective.initial(), range(1, 61))
    last = float(np.mean(losses[-10:]))
    text = f"the loss goes from {losses[0]:.3g} to {last:.3g} in sixty rounds"
    require(last < 0.9 * losses[0], text)


def is_a_frozen_value(subject: Trainees) -> None:
    """Hyper-parameters only: hashes, pickles, compares, takes no attribute."""
    frozen_value(subject.algorithm, subject.algorithm.spec)


def its_spec_reads_back(subject: Trainees) -> None:
    """``parse_client(algorithm.spec)`` is the algorithm, where it is registered."""
    reads_back(subject.algorithm, "client", parse_client)


def says_what_it_does(subject: Trainees) -> None:
    """A docstring, and a payload."""
    documented(subject.algorithm, reference=False)
    found = getattr(subject.algorithm, "payload", None)
    require(found in {"model", "gradient"}, f"`payload` needs model or gradient; found {found!r}")


CLIENT_CHECKS: dict[str, Callable[[Trainees], None]] = by_name(
    says_what_it_does,
    is_a_frozen_value,
    its_spec_reads_back,
    a_step_keeps_layouts_and_what_it_is_given,
    one_seed_gives_one_result,
    global_generators_stay_as_they_are,
    the_state_survives_a_checkpoint,
    frozen_parameters_stay,
    batches_of_dictionaries_train,
    a_client_with_few_examples_trains,
    both_engines_train_alike,
    data_of_nan_are_answered,
    training_lowers_the_loss,
)
"""Name → check, in the order they run."""
