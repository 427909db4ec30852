"""What a run of `Robust` remembers from round to round, and how a checkpoint keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from .conduct import Conduct
from .history import RoundRecord

__all__ = ["RunState"]


@dataclass
class RunState:
    """The memory of one run.

    Attributes
    ----------
    generator : torch.Generator or None
        Randomness of the rule; ``None`` draws from the operating system.
    history : list of RoundRecord
        What happened in each round.
    conduct : Conduct
        What each node did.
    center : Tensor or None
        Previous aggregate, for rules that measure against it.
    last_round : int
        Number of the latest round; 0 before the first.
    skipped : int
        How many rounds in a row left the model unchanged.
    """

    generator: torch.Generator | None = None
    history: list[RoundRecord] = field(default_factory=list)
    conduct: Conduct = field(default_factory=Conduct)
    center: Tensor | None = None
    last_round: int = 0
    skipped: int = 0

    @classmethod
    def begin(cls, seed: int | None) -> Self:
        """Return the memory of a run that has not begun."""
        return cls(None if seed is None else torch.Generator().manual_seed(seed))

    def to_tree(self) -> dict[str, Any]:
        """Return the memory as a tree of tensors and plain values."""
        return {
            "generator": None if self.generator is None else self.generator.get_state(),
            "history": [record.to_state() for record in self.history],
            "conduct": self.conduct.to_state(),
            "center": self.center,
            "last_round": self.last_round,
            "skipped": self.skipped,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any], seed: int | None) -> Self:
        """Return the memory that `to_tree` was taken from."""
        state = cls.begin(seed)
        if state.generator is not None and tree["generator"] is not None:
            state.generator.set_state(tree["generator"])
        state.history = [RoundRecord.from_state(record) for record in tree["history"]]
        state.conduct = Conduct.from_state(tree["conduct"])
        state.center, state.last_round = tree["center"], tree["last_round"]
        state.skipped = tree["skipped"]
        return state
