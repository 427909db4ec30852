"""Each check of an attack fails for an attack that breaks what it checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

import byzflower as bf
from byzflower.testing import ATTACK_CHECKS, ContractError, check_attack


@dataclass(frozen=True)
class Mean(bf.Attack):
    """Send the honest mean, to be broken."""

    name = "honest_mean"
    reference = "this file"

    def forge(self, seen: Any, state: Any) -> tuple[torch.Tensor, Any]:
        return seen.honest.double().mean(dim=0), state


class Infinite(Mean):
    finite = True

    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        rows, state = super().step(honest, f, **options)
        return rows + torch.inf, state


class SharesMemory(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        return honest[:f], options.get("state")


class KeepsGraph(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        return honest[:f] * 1.0, options.get("state")


class ForgetsWithoutColluders(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        rows, state = super().step(honest, f, **options)
        return rows, None if f == 0 else state


class Deviates(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        rows, state = super().step(honest, f, **options)
        return rows / (len(honest) - 1), state


class Overflows(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        rows, state = super().step(honest, f, **options)
        return 1e3 * rows, state


class GloballyRandom(Mean):
    def forge(self, seen: Any, state: Any) -> tuple[torch.Tensor, Any]:
        return torch.randn(seen.honest.shape[1]), state


_PAST: list[int] = []


class RemembersRounds(Mean):
    def forge(self, seen: Any, state: Any) -> tuple[torch.Tensor, Any]:
        _PAST.append(1)
        return seen.honest.double().mean(dim=0) * len(_PAST), state


class MeansOfAList(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        rows, state = super().step(honest, f, **options)
        return rows * 2 if isinstance(honest, list) else rows, state


class Writable(Mean):
    __setattr__ = object.__setattr__


@dataclass(frozen=True)
class ChangesItsParameter(bf.Attack):
    """A spec that reads back as another attack."""

    name = "changes_its_parameter"
    reference = "this file"
    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", self.factor + 1)

    def forge(self, seen: Any, state: Any) -> tuple[torch.Tensor, Any]:
        return seen.honest[0] * self.factor, state


class NeedsNoRuleAfterAll(Mean):
    needs_rule = True  # type: ignore[assignment]

    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        return super().step(honest, f, **(options | {"rule": "mean"}))


class TakesAnything(Mean):
    def step(self, honest: Any, f: int, **options: Any) -> tuple[torch.Tensor, Any]:
        return torch.zeros(max(f, 0), 40), options.get("state")


class ForgesData(Mean):
    level = "data"


class FromNowhere(Mean):
    reference = ""


BROKEN: dict[str, Any] = {
    "rows_are_as_the_honest_ones": Infinite,
    "honest_updates_stay_as_they_are": SharesMemory,
    "honest_updates_are_read_outside_autograd": KeepsGraph,
    "no_colluders_send_nothing": ForgetsWithoutColluders,
    "one_honest_worker_is_enough": Deviates,
    "huge_updates_stay_finite": Overflows,
    "one_seed_gives_one_result": GloballyRandom,
    "rounds_follow_each_other": RemembersRounds,
    "listed_updates_and_a_rule_s_spec_are_taken": MeansOfAList,
    "is_a_frozen_value": Writable,
    "its_spec_reads_back": ChangesItsParameter,
    "a_search_asks_for_the_rule": NeedsNoRuleAfterAll,
    "what_are_no_honest_updates_is_refused": TakesAnything,
    "an_attack_on_the_data_forges_nothing": ForgesData,
    "says_where_it_comes_from": FromNowhere,
}


def test_an_attack_of_one_s_own_passes_unregistered() -> None:
    check_attack(Mean)


@pytest.mark.parametrize("check", ATTACK_CHECKS)
def test_an_attack_that_breaks_it_fails_the_check_in_one_line(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byzflower import registry

    known = {**bf.attacks(), "changes_its_parameter": ChangesItsParameter}
    monkeypatch.setitem(registry._REGISTRIES, "attack", known)
    with pytest.raises(ContractError) as error:
        check_attack(BROKEN[check], only={check})
    title, line = str(error.value).split("\n")
    assert title.endswith("fails 1 of 1 checks:")
    assert line.startswith(f"  {check}: ")
    assert "raised" not in line


def test_what_is_no_attack_is_said() -> None:
    with pytest.raises(ValueError, match="`FOE` needs parameters: pass an object"):
        check_attack(bf.attacks()["foe"])
