"""docs/migrating.md: every diff runs before and after, and the results are as it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays

import byzflower as bf

PAGE = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
DIFFS = dict(re.findall(r"^## From ([^\n]*)\n.*?```diff\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
SAME_RULE = ("Krum", "MultiKrum", "FedMedian", "FedTrimmedAvg")
MESSAGE_API = [name for name in DIFFS if name != "the former interface"]
N = 9
MODEL = np.linspace(-1, 1, 6).astype(np.float32)


def strategy(name: str, side: str) -> Any:
    """Run one side of a diff and return the strategy it makes."""
    lines = [line[1:] for line in DIFFS[name].splitlines() if line[0] in (" ", side)]
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), f"diff of {name}, {side}", "exec", dont_inherit=True), names)
    return names["strategy"]


def update(i: int) -> Any:
    return np.random.default_rng(i).normal(size=MODEL.shape).astype(np.float32)


def train(strategy: Any, liars: int = 0, rounds: int = 1) -> Any:
    """Train on clients that answer with the model and a fixed update; return the last model."""
    engines = pytest.importorskip("byzflower.simulations.engines")
    app = ClientApp()

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        i = int(context.node_config["partition-id"])
        sent = message.content["arrays"]["w"].numpy()
        factor = 1e6 if i >= N - liars else 1.0
        arrays = ArrayRecord({"w": Array(sent + np.float32(factor) * update(i))})
        metrics = MetricRecord({"num-examples": 10, "train_loss": 1.0})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    strategy.fraction_evaluate = 0.0
    getattr(strategy, "inner", strategy).fraction_evaluate = 0.0

    def serve(grid: Any, context: Any) -> Any:
        return strategy.start(grid, ArrayRecord({"w": Array(MODEL)}), num_rounds=rounds)

    return engines.run_in_process(serve, app, N).arrays["w"].numpy()


def test_every_section_has_a_diff() -> None:
    assert set(DIFFS) == {
        "FedAvg", "FedAdam", "Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg",
        "the former interface",
    }  # fmt: skip


@pytest.mark.parametrize("name", MESSAGE_API)
def test_each_diff_runs_before_and_after_and_then_survives_liars(name: str) -> None:
    assert np.isfinite(train(strategy(name, "-"))).all()
    after = strategy(name, "+")
    liars = 1 if name == "Bulyan" else 2
    found = train(after, liars)
    assert np.abs(found - MODEL).max() < 5
    assert not after.history[-1].skipped


@pytest.mark.parametrize("name", SAME_RULE)
def test_where_the_rule_is_the_same_so_is_the_model(name: str) -> None:
    before, after = (train(strategy(name, side)) for side in "-+")
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


def test_the_former_interface_keeps_its_loop() -> None:
    from flwr.server import SimpleClientManager
    from flwr.server.client_proxy import ClientProxy

    class Proxy(ClientProxy):
        def get_properties(self, *_: Any) -> Any: ...
        def get_parameters(self, *_: Any) -> Any: ...
        def fit(self, *_: Any) -> Any: ...
        def evaluate(self, *_: Any) -> Any: ...
        def reconnect(self, *_: Any) -> Any: ...

    manager = SimpleClientManager()
    for i in range(N):
        manager.register(Proxy(str(i)))
    found = {}
    for side in "-+":
        made = strategy("the former interface", side)
        asked = made.configure_fit(1, ndarrays_to_parameters([MODEL]), manager)
        results = []
        for client, _ in asked:
            i = int(client.cid)
            array = MODEL + np.float32(1e6 if i >= N - 2 else 1) * update(i)
            sent = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([array]), 10, {})
            results.append((client, sent))
        parameters, _ = made.aggregate_fit(1, results, [])
        found[side] = parameters_to_ndarrays(parameters)[0]
    assert np.abs(found["-"] - MODEL).max() > 1e4
    assert np.abs(found["+"] - MODEL).max() < 5


TABLE = re.findall(r"^\| `(\w+\([^`]*\))` \| `([^`]*)` \| ([^|]*) \|$", PAGE, re.MULTILINE)
ATTACKS = ("SignFlipping", "InnerProductManipulation", "ALittleIsEnough")


@pytest.mark.parametrize(("theirs", "ours", "result"), TABLE)
def test_what_the_table_says_of_byzfl_is_so(theirs: str, ours: str, result: str) -> None:
    byzfl = pytest.importorskip("byzfl", reason="byzfl is not installed")
    call = ast.parse(theirs, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    other = getattr(byzfl, call.func.id)(**options)
    x = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    x[0] *= 5
    with torch.random.fork_rng(devices=[]):  # its power iteration starts from torch's generator
        torch.manual_seed(0)
        expected = other(x.clone())
    if call.func.id in ATTACKS:
        value = bf.parse_attack(ours)(x, f=1)[0]
    elif ours.partition("(")[0] in bf.preaggregators():
        value, expected = bf.parse(f"{ours} > mean")(x, f=2), expected.mean(dim=0)
    else:
        value = bf.parse(ours)(x, f=2)
    same = torch.allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert same == result.startswith("the same"), result
    assert same or result.startswith("differs")


def test_the_table_is_read_whole() -> None:
    assert len(TABLE) == 19
