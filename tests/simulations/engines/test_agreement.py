"""One experiment, three engines: the same model after twenty rounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn

from byzflower.clients import ClientTask, Gradient, LocalSGD, Momentum, Objective, make_client_app
from byzflower.clients.algorithms import Algorithm
from byzflower.simulations.engines import BatchedGrid, partition_ids, run_in_process, run_on_ray
from byzflower.strategies import Robust, ServerSGD, to_record, to_tensor

pytest.importorskip("ray")

NODES, ROUNDS = 4, 20
ALGORITHMS = [Gradient(), Momentum(beta=0.9), LocalSGD(steps=2, learning_rate=0.2, momentum=0.5)]
CASES = [(algorithm, norm) for algorithm in ALGORITHMS for norm in (False, True)]


def make_model(norm: bool) -> nn.Module:
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(8)] if norm else []
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *middle, nn.Linear(8, 3))


def make_app(algorithm: Algorithm, norm: bool) -> Any:
    model = make_model(norm)

    def load(context):
        i = context.node_config["partition-id"] % 4
        x = torch.randn(30, 6, generator=torch.Generator().manual_seed(i))
        return ClientTask(Objective(model), x, x[:, :3].argmax(1), partition_id=i, batch_size=6)

    return make_client_app(load, algorithm)


def train(grid: Any, algorithm: Algorithm, norm: bool) -> dict[str, torch.Tensor]:
    options: dict[str, Any] = {"fraction_evaluate": 0.0, "min_available_nodes": NODES}
    if isinstance(algorithm, LocalSGD):
        strategy = Robust(FedAvg(**options), "trimmed_mean", 1)
    else:
        strategy = Robust(ServerSGD(0.5, **options), "trimmed_mean", 1, payload="gradient")
    result = strategy.start(grid, to_record(make_model(norm).state_dict()), ROUNDS)
    return {name: to_tensor(array) for name, array in result.arrays.items()}


@pytest.fixture(scope="module")
def on_ray(tolerating_ray: Any) -> list[dict[str, torch.Tensor]]:
    """Train all cases on one start of Ray, each on four nodes of its own."""
    apps = [make_app(algorithm, norm) for algorithm, norm in CASES]
    cases = list(CASES)

    def client(message, context):
        return apps[context.node_config["partition-id"] // 4](message, context)

    def serve(grid, context):
        found = []
        for case, (algorithm, norm) in enumerate(cases):
            own = [node for node, partition in partitions(grid) if partition // 4 == case]
            part = SimpleNamespace(
                get_node_ids=lambda own=own: own, send_and_receive=grid.send_and_receive
            )
            found.append(train(part, algorithm, norm))
        return found

    def partitions(grid):
        return sorted(partition_ids(grid).items())

    with tolerating_ray():
        return run_on_ray(serve, client, NODES * len(CASES), ray_init={"num_cpus": 2})


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("case", range(len(CASES)))
def test_same_model_on_every_engine(case: int, on_ray: list[dict[str, torch.Tensor]]) -> None:
    algorithm, norm = CASES[case]

    def serve(grid, context):
        return train(grid, algorithm, norm)

    app = make_app(algorithm, norm)
    one_by_one = run_in_process(serve, app, NODES)
    batched = run_in_process(serve, app, NODES, grid_type=BatchedGrid)
    start = make_model(norm).state_dict()
    moved = [(one_by_one[key].double() - start[key].double()).norm() for key in start]
    assert sum(moved) > 0.1
    for found in (batched, on_ray[case]):
        assert found.keys() == one_by_one.keys()
        for key, value in one_by_one.items():
            gap = (found[key].double() - value.double()).norm()
            assert gap <= 1e-4 * value.double().norm() + 1e-12
