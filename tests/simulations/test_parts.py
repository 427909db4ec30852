"""Parts of a model in actors of Ray."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
import torch

import byzflower as bf
from byzflower.parts import Part, aggregate_parts
from byzflower.simulations.engines.ray import ray_running
from byzflower.simulations.parts import on_actors
from byzflower.updates import Updates

pytest.importorskip("ray")

N, F, WIDTHS = 9, 2, (3000, 1, 20)


@pytest.mark.ray
def test_three_actors_aggregate_as_one_process_does(
    tolerating_ray: Callable[[], AbstractContextManager[None]],
) -> None:
    n, f = N, F

    def columns(index: int, width: int) -> torch.Tensor:  # a closure, so that it pickles by value
        rows = torch.randn(n, width, generator=torch.Generator().manual_seed(index))
        rows[-f:] = 3 - 2 * rows[-f:]
        return rows

    def make(index: int, width: int) -> Part:
        return Part(Updates.of(columns(index, width)))

    x = torch.cat([columns(*place) for place in enumerate(WIDTHS)], dim=1)
    with tolerating_ray(), ray_running({"num_cpus": 2}):
        parts = on_actors([partial(make, *place) for place in enumerate(WIDTHS)], num_cpus=0.5)
        for spec in ("arc > nnm > geometric_median", "arc > nnm > trimmed_mean", "krum(p=3)"):
            rule = bf.parse(spec)
            aggregate_parts(rule, parts, F)
            found = torch.cat([ask("use", torch.Tensor.clone)() for ask in parts])
            torch.testing.assert_close(found, rule(x, F), rtol=1e-5, atol=1e-6)
        squares = [ask("use", lambda value: float(value.square().sum()))() for ask in parts]
        assert sum(squares) == pytest.approx(float(found.square().sum()))
