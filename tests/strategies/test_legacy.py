"""The adapter for Flower's former interface: the same rules, the same vetting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server import ServerApp, ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.server import strategy as former
from flwr.server.client_proxy import ClientProxy
from flwr.serverapp.strategy import FedAvg

import byzflower as bf
from byzflower.simulations.engines import run_in_process
from byzflower.strategies import Robust
from byzflower.strategies.legacy import LegacyRobust

N, F = 7, 2
RNG = np.random.default_rng(3)
MODEL = [RNG.normal(size=(2, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)]
UPDATES = [[RNG.normal(size=a.shape).astype(np.float32) for a in MODEL] for _ in range(N)]
OK = Status(Code.OK, "")
NUMPY = "numpy.ndarray"


class Proxy(ClientProxy):
    """A client that is never called: its results are the test's."""

    def get_properties(self, *_: Any) -> Any: ...
    def get_parameters(self, *_: Any) -> Any: ...
    def fit(self, *_: Any) -> Any: ...
    def evaluate(self, *_: Any) -> Any: ...
    def reconnect(self, *_: Any) -> Any: ...


@pytest.fixture
def manager() -> SimpleClientManager:
    manager = SimpleClientManager()
    for i in range(N):
        manager.register(Proxy(f"client-{i}"))
    return manager


def reply(i: int, **metrics: Any) -> FitRes:
    arrays = [a + u for a, u in zip(MODEL, UPDATES[i], strict=True)]
    return FitRes(OK, ndarrays_to_parameters(arrays), 10, metrics)


def one_round(
    strategy: former.Strategy, manager: Any, replies: list[FitRes] | None = None, number: int = 1
) -> tuple[list[Any] | None, dict[str, Any]]:
    """Play one round as Flower's server does."""
    asked = strategy.configure_fit(number, ndarrays_to_parameters(MODEL), manager)
    clients = sorted((client for client, _ in asked), key=lambda client: client.cid)
    answers = [reply(i) for i in range(N)] if replies is None else replies
    model, metrics = strategy.aggregate_fit(number, list(zip(clients, answers, strict=False)), [])
    return (None if model is None else parameters_to_ndarrays(model)), metrics


def rows() -> torch.Tensor:
    return torch.stack([torch.cat([torch.from_numpy(u).flatten() for u in row]) for row in UPDATES])


def aggregate(rule: str) -> list[Any]:
    """What the rule makes of the updates, added to the model."""
    value = bf.parse(rule)(rows(), f=F).numpy()
    return [MODEL[0] + value[:6].reshape(2, 3), MODEL[1] + value[6:]]


@pytest.mark.parametrize("rule", ["median", "nnm > trimmed_mean", "arc > geometric_median", "krum"])
def test_a_round_ends_with_the_rule_s_aggregate_in_the_model_s_layout(
    rule: str, manager: Any
) -> None:
    model, metrics = one_round(LegacyRobust(former.FedAvg(), rule, F), manager)
    assert model is not None
    for found, expected, sent in zip(model, aggregate(rule), MODEL, strict=True):
        assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert metrics["robust-f"] == F
    assert metrics["robust-rejected"] == 0


@pytest.mark.parametrize("kind", [former.FedAdam, former.FedYogi, former.FedAdagrad])
def test_server_optimisers_step_with_the_aggregate(kind: Any, manager: Any) -> None:
    def make() -> former.Strategy:
        return kind(initial_parameters=ndarrays_to_parameters(MODEL), eta=0.1)

    found, _ = one_round(LegacyRobust(make(), "median", F), manager)
    alone = FitRes(OK, ndarrays_to_parameters(aggregate("median")), 1, {})
    expected, _ = make().aggregate_fit(1, [(Proxy("a"), alone)], [])
    assert found is not None
    assert expected is not None
    for mine, theirs in zip(found, parameters_to_ndarrays(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def hostile() -> dict[str, FitRes]:
    good = ndarrays_to_parameters(MODEL)

    def with_tensors(*tensors: Any, kind: str = NUMPY) -> FitRes:
        return FitRes(OK, Parameters(list(tensors), kind), 10, {})

    def with_arrays(*arrays: Any) -> FitRes:
        return FitRes(OK, ndarrays_to_parameters(list(arrays)), 10, {})

    first, second = good.tensors
    return {
        "no arrays": with_tensors(),
        "one array fewer": with_tensors(first),
        "a million arrays": with_tensors(*[b""] * 1_000_000),
        "garbage": with_tensors(first, b"garbage"),
        "truncated": with_tensors(first, second[:-3]),
        "no bytes": with_tensors(first, None),
        "another kind": with_tensors(first, second, kind="pickle"),
        "transposed": with_arrays(MODEL[0].T, MODEL[1]),
        "float64": with_arrays(*(a.astype(np.float64) for a in MODEL)),
        "objects": with_arrays(MODEL[0], np.array(["x"] * 3)),
        "NaN": with_arrays(MODEL[0] * np.nan, MODEL[1]),
        "Inf": with_arrays(MODEL[0] * np.inf, MODEL[1]),
        "negative examples": FitRes(OK, good, -5, {}),
        "NaN examples": FitRes(OK, good, math.nan, {}),  # type: ignore[arg-type]
        "text for examples": FitRes(OK, good, "10", {}),  # type: ignore[arg-type]
        "an integer no record holds": FitRes(OK, good, 10**400, {}),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_replies_are_turned_away_and_held_against_their_sender(
    name: str, manager: Any
) -> None:
    strategy = LegacyRobust(former.FedAvg(), "median", F)
    replies = [reply(i) for i in range(N - 1)] + [hostile()[name]]
    model, metrics = one_round(strategy, manager, replies)
    assert metrics["robust-rejected"] == 1
    assert model is not None
    expected = np.median([r[1] for r in UPDATES[:-1]], axis=0) + MODEL[1]
    np.testing.assert_allclose(model[1], expected, rtol=1e-5, atol=1e-6)
    assert strategy.conduct.to_rows()[0]["offences"] == 1


@pytest.mark.parametrize("metrics", [{"note": "text"}, {"flag": True}, {"raw": b"x"}, {"x": 1.5}])
def test_metrics_that_are_no_numbers_cost_nobody_the_reply(metrics: Any, manager: Any) -> None:
    replies = [reply(i, **metrics) for i in range(N)]
    _, found = one_round(LegacyRobust(former.FedAvg(), "median", F), manager, replies)
    assert found["robust-rejected"] == 0


def test_what_clients_claim_is_capped_before_it_is_averaged(manager: Any) -> None:
    seen = []

    def mean(claims: list[tuple[int, Any]]) -> dict[str, Any]:
        seen.extend(claims)
        return {"loss": sum(n * m["loss"] for n, m in claims) / sum(n for n, _ in claims)}

    inner = former.FedAvg(fit_metrics_aggregation_fn=mean, evaluate_metrics_aggregation_fn=mean)
    strategy = LegacyRobust(inner, "median", F)
    replies = [reply(i, loss=1.0 + i / 10) for i in range(N)]
    replies[0] = FitRes(OK, reply(0).parameters, 2**50, {"loss": 1e30})
    _, metrics = one_round(strategy, manager, replies)
    assert 1.1 <= metrics["loss"] <= 1.6
    assert len(seen) == N
    assert inner.fit_metrics_aggregation_fn is mean

    asked = strategy.configure_evaluate(1, ndarrays_to_parameters(MODEL), manager)
    answers = [EvaluateRes(OK, 2.0 + i / 10, 10, {"loss": 1.0}) for i in range(N)]
    answers[0] = EvaluateRes(OK, -1e30, 2**50, {"loss": 1e30})
    answers[1] = EvaluateRes(OK, math.nan, 10, {"loss": 1.0})
    results = [(client, a) for (client, _), a in zip(asked, answers, strict=True)]
    loss, metrics = strategy.aggregate_evaluate(1, results, [])
    assert loss is not None
    assert 2.2 <= loss <= 2.6
    assert metrics["loss"] == 1.0
    assert metrics["robust-rejected"] == 1


def test_a_skipped_round_keeps_the_model_and_the_optimiser_s_memory(manager: Any) -> None:
    inner = former.FedAvgM(initial_parameters=ndarrays_to_parameters(MODEL), server_momentum=0.9)
    strategy = LegacyRobust(inner, "median", F)
    one_round(strategy, manager)
    memory = [np.copy(m) for m in inner.momentum_vector]
    bad = [hostile()["NaN"]] * 3 + [reply(i) for i in range(3, N)]  # more than f
    model, metrics = one_round(strategy, manager, bad, number=2)
    assert model is None
    assert metrics["robust-skipped"] == 1
    assert strategy.history[-1].skipped
    for now, before in zip(inner.momentum_vector, memory, strict=True):
        np.testing.assert_array_equal(now, before)


def test_failures_lower_n_and_prove_nothing(manager: Any) -> None:
    strategy = LegacyRobust(former.FedAvg(), "median", F)
    asked = strategy.configure_fit(1, ndarrays_to_parameters(MODEL), manager)
    clients = [client for client, _ in asked]
    results = [(client, reply(i)) for i, client in enumerate(clients[:-2])]
    crashed = FitRes(Status(Code.FIT_NOT_IMPLEMENTED, "no"), Parameters([], ""), 0, {})
    failures = [(clients[-2], crashed), RuntimeError("somebody's")]
    model, metrics = strategy.aggregate_fit(1, results, failures)
    assert model is not None
    assert (metrics["robust-rows"], metrics["robust-f"]) == (N - 2, F)
    assert all(row["offences"] == 0 for row in strategy.conduct.to_rows())


def test_buffers_are_known_by_their_names(manager: Any) -> None:
    # Each coordinate's median is a row's own value, where krum picks one row for all.
    names = ["weight", "running_mean"]
    model, _ = one_round(LegacyRobust(former.FedAvg(), "krum", F, array_names=names), manager)
    assert model is not None
    middle = np.median([row[1] for row in UPDATES], axis=0)
    np.testing.assert_allclose(model[1], MODEL[1] + middle, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="needs a name for each of the model's 2 arrays; found 1"):
        one_round(LegacyRobust(former.FedAvg(), "krum", F, array_names=["weight"]), manager)


class Learner(NumPyClient):
    """Half a step towards the target; a liar ten steps away from it."""

    def __init__(self, partition: int) -> None:
        self.liar = partition >= 8

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> Any:
        step = -10.0 if self.liar else 0.5
        return [p + np.float32(step) * (1 - p) for p in parameters], 10, {"train_loss": 1.0}

    def evaluate(self, parameters: list[Any], config: dict[str, Any]) -> Any:
        return float(np.abs(1 - parameters[0]).max()), 10, {"accuracy": 0.5}


@pytest.mark.parametrize(("rule", "learns"), [("mean", False), ("nnm > median", True)])
def test_a_whole_app_of_the_former_interface_survives_its_liars(rule: str, learns: bool) -> None:
    first = ndarrays_to_parameters([np.zeros((2, 2), np.float32), np.zeros(3, np.float32)])
    losses = []

    def evaluate(server_round: int, arrays: list[Any], config: Any) -> Any:
        losses.append(float(np.abs(1 - arrays[0]).max()))
        return losses[-1], {}

    def serve(context: Any) -> ServerAppComponents:
        inner = former.FedAvg(
            initial_parameters=first,
            min_fit_clients=10,
            min_available_clients=10,
            evaluate_fn=evaluate,
        )
        return ServerAppComponents(
            strategy=LegacyRobust(inner, rule, 2), config=ServerConfig(num_rounds=3)
        )

    def client(context: Any) -> Any:
        return Learner(int(context.node_config["partition-id"])).to_client()

    run_in_process(ServerApp(server_fn=serve), ClientApp(client_fn=client), 10)
    assert losses[0] == 1
    assert (losses[-1] < 0.2) == learns


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LegacyRobust(FedAvg(), "median", 1), "go into `Robust`"),  # type: ignore[arg-type]
        (lambda: LegacyRobust(former.Krum(), "median", 1), "without a rule of its own"),
        (lambda: LegacyRobust(former.FedMedian(), "median", 1), "LegacyRobust.FedAvg.*'median'"),
        (
            lambda: LegacyRobust(
                former.DifferentialPrivacyServerSideFixedClipping(former.FedAvg(), 1.0, 1.0, 5),
                "median",
                1,
            ),
            "adds noise, aggregates trees or is robust already",
        ),
        (lambda: LegacyRobust(former.FedAvg(), "median", 1, payload="model"), "no `payload`"),
        (lambda: LegacyRobust(former.FedAvg(), "median", 1, sed=1), "'sed'"),
        (lambda: Robust(former.FedAvg(), "median", 1), "LegacyRobust"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_write(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_a_privacy_wrapper_around_it_is_refused(manager: Any) -> None:
    inner = LegacyRobust(former.FedAvg(), "median", 1)
    wrapped = former.DifferentialPrivacyServerSideFixedClipping(inner, 1.0, 1.0, N)
    with pytest.raises(TypeError, match="needs to be the outermost strategy"):
        wrapped.configure_fit(1, ndarrays_to_parameters(MODEL), manager)
