"""``byzflower bench attacks``: a search over the factor, against one aggregation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch

import byzflower as bf

from .measure import Row, compare

__all__ = ["CASES", "bench_attacks"]

CASES = ((17, 1_310_922, 3),)
"""(n, d, f): a ResNet-20-sized round of which three nodes collude."""

_ATTACKS = ("alie(tau=adaptive)", "foe(tau=adaptive)")
_RULES = (
    "multi_krum_star",
    "geometric_median",
    "nnm > geometric_median",
    "arc > nnm > multi_krum_star",
    "median",
    "trimmed_mean",
    "meamed",
    "nnm > trimmed_mean",
    "arc > nnm > trimmed_mean",
)


def bench_attacks(
    cases: tuple[tuple[int, int, int], ...],
    *,
    device: str = "cpu",
    repeats: int = 5,
    rules: tuple[str, ...] = _RULES,
) -> Iterator[list[Row]]:
    """Yield the rows of one rule at a time; the reference is one aggregation by it.

    Both attacks try 50 candidates, each of which would cost an aggregation of its own if they
    shared nothing.
    """
    for n, d, f in cases:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(n - f, d, generator=generator)
        honest = (0.003 * torch.randn(d, generator=generator) + 0.01 * noise).to(device)
        for spec in rules:
            yield _against(spec, honest, f, repeats)


def _against(spec: str, honest: torch.Tensor, f: int, repeats: int) -> list[Row]:
    rule = bf.parse(spec)
    rows = torch.cat([honest, (honest.mean(dim=0) + honest.std(dim=0)).expand(f, -1)])
    subjects: dict[str, Callable[[], torch.Tensor | None]] = {
        "one aggregation": functools.partial(rule, rows, f)
    }
    for attack in _ATTACKS:
        subjects[attack] = functools.partial(_search, attack, honest, f, rule)
    (n, d), case = rows.shape, f"{spec}, 50 candidates"
    return compare("attacks", f"n={n} d={d:,} f={f} {case}", subjects, repeats=repeats)


def _search(attack: str, honest: torch.Tensor, f: int, rule: bf.Aggregator) -> None:
    bf.parse_attack(attack)(honest, f, rule=rule)
