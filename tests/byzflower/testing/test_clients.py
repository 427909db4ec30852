"""Each check of a client algorithm fails for one that breaks what it checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from byzflower import registry
from byzflower.clients.algorithms import Gradient, LocalSGD, LocalStep, Momentum
from byzflower.testing import CLIENT_CHECKS, ContractError, check_client


@dataclass(frozen=True)
class Sends(Gradient):
    """Send the gradient, to be broken."""

    name = "sends"

    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        step = super().local_step(objective, params, buffers, batch, state)
        return step._replace(update=self.changed(step.update, params, batch))

    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return update


class Undocumented(Sends):
    __doc__ = None


class Writable(Sends):
    __setattr__ = object.__setattr__


@dataclass(frozen=True)
class ChangesItsParameter(Sends):
    """A spec that reads back as another algorithm."""

    name = "changes_its_parameter"
    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", self.factor + 1)


class Widens(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return {name: value.double() for name, value in update.items()}


class DrawsUnseeded(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        noise = torch.rand((), generator=torch.Generator().manual_seed(torch.seed() % 2**31))
        return {name: value + noise for name, value in update.items()}


class SeedsNumPy(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        import numpy as np

        np.random.seed(0)  # noqa: NPY002
        return update


_PAST: list[int] = []


class RemembersRounds(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        _PAST.append(1)
        return {name: value + len(_PAST) for name, value in update.items()}


class DecaysAll(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return {name: value + 0.1 * params[name] for name, value in update.items()}


class TakesTensorsOnly(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return {name: value + 0 * batch.x.sum() for name, value in update.items()}


class NeedsFullBatches(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        weights = torch.ones(4) / 4
        return {name: value + 0 * (weights @ batch.y.float()) for name, value in update.items()}


class KnowsTheEngine(Sends):
    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        step = super().local_step(objective, params, buffers, batch, state)
        factor = 1.0 if objective.eager else 2.0
        return step._replace(update={name: factor * v for name, v in step.update.items()})


class RefusesNaN(Sends):
    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        step = super().local_step(objective, params, buffers, batch, state)
        loss = step.metrics["train_loss"].nan_to_num()
        return step._replace(metrics={"train_loss": loss})


class Ascends(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return {name: -value for name, value in update.items()}


BROKEN: dict[str, Any] = {
    "says_what_it_does": Undocumented,
    "is_a_frozen_value": Writable,
    "its_spec_reads_back": ChangesItsParameter,
    "a_step_keeps_layouts_and_what_it_is_given": Widens,
    "one_seed_gives_one_result": DrawsUnseeded,
    "global_generators_stay_as_they_are": SeedsNumPy,
    "the_state_survives_a_checkpoint": RemembersRounds,
    "frozen_parameters_stay": DecaysAll,
    "batches_of_dictionaries_train": TakesTensorsOnly,
    "a_client_with_few_examples_trains": NeedsFullBatches,
    "both_engines_train_alike": KnowsTheEngine,
    "data_of_nan_are_answered": RefusesNaN,
    "training_lowers_the_loss": Ascends,
}


def test_an_algorithm_of_one_s_own_passes_unregistered() -> None:
    check_client(Sends, skip={"training_lowers_the_loss"})


@pytest.mark.parametrize("check", CLIENT_CHECKS)
def test_an_algorithm_that_breaks_it_fails_the_check_in_one_line(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {**registry.registered("client"), "changes_its_parameter": ChangesItsParameter}
    monkeypatch.setitem(registry._REGISTRIES, "client", known)
    with pytest.raises(ContractError) as error:
        check_client(BROKEN[check], only={check})
    title, line = str(error.value).split("\n")
    assert title.endswith("fails 1 of 1 checks:")
    assert line.startswith(f"  {check}: ")


class AddsInPlace(Sends):
    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        step = super().local_step(objective, params, buffers, batch, state)
        for value in params.values():
            value.add_(1.0)
        return step


class KeepsTheGraph(Sends):
    def changed(self, update: Any, params: Any, batch: Any) -> Any:
        return {name: value.clone().requires_grad_() for name, value in update.items()}


class LosesTheLoss(Sends):
    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        return super().local_step(objective, params, buffers, batch, state)._replace(metrics={})


class ForgetsAMomentum(Momentum):
    def local_step(
        self, objective: Any, params: Any, buffers: Any, batch: Any, state: Any
    ) -> LocalStep:
        return super().local_step(objective, params, buffers, batch, state)._replace(state={})


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        (AddsInPlace, "modifies the parameters that it is given"),
        (KeepsTheGraph, "detach what a step returns"),
        (LosesTheLoss, "0-dimensional `train_loss`; found None"),
        (ForgetsAMomentum, "keys, shapes and dtypes of the state"),
    ],
)
def test_what_is_wrong_with_a_step_is_said(algorithm: Any, text: str) -> None:
    with pytest.raises(ContractError, match=text):
        check_client(algorithm, only={"a_step_keeps_layouts_and_what_it_is_given"})


def test_what_is_no_algorithm_is_said() -> None:
    with pytest.raises(ValueError, match="unknown client `median`"):
        check_client("median")
    with pytest.raises(TypeError, match="`algorithm` needs a spec or a client algorithm; found 3"):
        check_client(3)  # type: ignore[arg-type]


def test_a_class_with_parameters_is_said() -> None:
    @dataclass(frozen=True)
    class Steps(LocalSGD):
        rate: float = 0.0

        def __post_init__(self) -> None:
            raise ValueError("rate needs a value > 0")

    with pytest.raises(ValueError, match="`Steps` needs parameters: pass an object"):
        check_client(Steps)
