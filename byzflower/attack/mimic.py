"""Mimic: copy one honest worker, so that it is over-represented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import integer_at_least

__all__ = ["Mimic", "MimicState"]

_COLUMNS = {"cpu": 1 << 16, "cuda": 1 << 20}


@dataclass(frozen=True)
class MimicState:
    """The state after ``rounds`` rounds: ``mean`` μ and ``direction`` z, both of shape (d,).

    ``worker`` is the index, among ``h`` honest updates, of the worker copied last.
    """

    rounds: int
    mean: torch.Tensor
    direction: torch.Tensor
    worker: int
    h: int


@register("attack")
@dataclass(frozen=True)
class Mimic(Attack):
    """Every colluder copies the same honest worker: undetectable, and biased if data differ.

    During ``warmup`` rounds, online power iteration estimates the direction z in which honest
    workers differ most. From z_0 ~ N(0, I), round t = 0, 1 … computes μ ← (t μ + x̄)/(1 + t) and
    z ← t z + s/‖s‖, scaled to length one, with s = Σ_i ⟨x_i − μ, z⟩ (x_i − μ). It copies worker
    i* = argmax_i ⟨z, x_i⟩; after the warm-up i* stays that of its last round. Scaling s follows the
    authors' experiments; by the recursion as printed, z would hardly move for small updates.

    Honest updates must be in the same order of workers every round. If their number changes, i* is
    computed again. Costs O(hd) a round.

    Parameters
    ----------
    warmup
        Number of rounds of estimation, ≥ 1.

    Examples
    --------
    >>> import torch
    >>> honest = torch.tensor([[1.0, 0.0], [2.0, 0.1], [9.0, 0.0]])
    >>> rows, state = Mimic().step(honest, f=1, rng=torch.Generator().manual_seed(0))
    >>> state.worker, state.direction.abs().round(decimals=2)
    (2, tensor([1.0000, 0.0100]))
    """

    name: ClassVar[str] = "mimic"
    state_type: ClassVar[type[MimicState]] = MimicState
    reference: ClassVar[str] = "Karimireddy et al. 2022, appendix; ARC D.3"

    warmup: int = 100

    def __post_init__(self) -> None:
        integer_at_least(self.warmup, 1, self.name, "warmup")

    def forge(self, seen: Observation, state: MimicState | None) -> tuple[torch.Tensor, MimicState]:
        """Update z during the warm-up, then copy."""
        t = 0 if state is None else state.rounds
        if state is None:
            mean, direction = seen.mean, seen.normal(seen.honest.shape[1])
        else:
            mean, direction = state.mean, state.direction
        if t < self.warmup:
            mean = (mean * t + seen.mean) / (1 + t)
            direction = _iterate(seen.honest, mean, direction, t)
        if state is None or t < self.warmup or state.h != seen.h:
            worker = int(torch.argmax(_project(seen.honest, direction)))
        else:
            worker = state.worker
        return seen.honest[worker], MimicState(t + 1, mean, direction, worker, seen.h)


def _project(
    honest: torch.Tensor, direction: torch.Tensor, mean: torch.Tensor | None = None
) -> torch.Tensor:
    """⟨x_i − μ, z⟩ for every row, shape (h,)."""
    out = torch.zeros(len(honest), dtype=torch.float64, device=honest.device)
    for part in _tiles(honest):
        rows = honest[:, part].to(direction.dtype)
        out += (rows if mean is None else rows - mean[part]) @ direction[part]
    return out


def _iterate(
    honest: torch.Tensor, mean: torch.Tensor, direction: torch.Tensor, t: int
) -> torch.Tensor:
    """Return z after one step of the power iteration."""
    weights = _project(honest, direction, mean)
    weights /= weights.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    step = torch.empty_like(direction)
    for part in _tiles(honest):
        rows = honest[:, part].to(direction.dtype) - mean[part]
        step[part] = weights.to(direction.dtype) @ rows
    if not bool(step.any()):  # all honest updates coincide
        return _unit(direction)
    return _unit(_unit(step) + direction * t)


def _unit(vector: torch.Tensor) -> torch.Tensor:
    length = torch.linalg.vector_norm(vector, dtype=torch.float64)
    return vector / length if float(length) > 0 else vector


def _tiles(honest: torch.Tensor) -> list[slice]:
    width = _COLUMNS.get(honest.device.type, 1 << 16)
    return [slice(start, start + width) for start in range(0, honest.shape[1], width)]
