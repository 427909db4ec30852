from __future__ import annotations

import gc
import logging

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.simulations.engines import InProcessGrid, run_in_process
from byzflower.wire.arrays import SharedArray, to_record, to_tensor

NODES = 4


def train_message(content: RecordDict, node: int) -> Message:
    return Message(content, dst_node_id=node, message_type="train")


def broadcast(grid: InProcessGrid, arrays: ArrayRecord) -> list[Message]:
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
    return grid.send_and_receive([train_message(content, node) for node in grid.get_node_ids()])


@pytest.fixture
def adder() -> ClientApp:
    """Adds 1 + partition-id to the model; keeps count of its rounds in its context."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        partition = context.node_config["partition-id"]
        calls = int(context.state.get("calls", MetricRecord({"n": 0}))["n"]) + 1
        context.state["calls"] = MetricRecord({"n": calls})
        arrays = {k: to_tensor(a) + 1 + partition for k, a in message.content["arrays"].items()}
        metrics = MetricRecord({"num-examples": 1, "calls": calls})
        content = RecordDict({"arrays": to_record(arrays), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        total = sum(a.numpy().sum() for a in message.content["arrays"].values())
        metrics = MetricRecord({"num-examples": 1, "total": float(total)})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


@pytest.mark.parametrize(
    "initial",
    [ArrayRecord({"w": Array(np.zeros(3, np.float32))}), to_record({"w": torch.zeros(3)})],
    ids=["plain", "shared"],
)
def test_fedavg_runs_unmodified_with_persistent_contexts(adder, initial):
    result = FedAvg().start(InProcessGrid(adder, NODES), initial, num_rounds=3)

    # Each round adds the mean of 1 … 4.
    np.testing.assert_allclose(result.arrays["w"].numpy(), 7.5)
    assert result.train_metrics_clientapp[3]["calls"] == 3
    assert result.evaluate_metrics_clientapp[3]["total"] == pytest.approx(22.5)
    np.testing.assert_array_equal(initial["w"].numpy(), 0)


def test_nodes_are_numbered_in_partition_order_and_configured():
    def client(message, context):
        seen = {**context.node_config, **context.run_config, "node": context.node_id}
        return Message(RecordDict({"seen": ConfigRecord(seen)}), reply_to=message)

    grid = InProcessGrid(client, 3, run_config={"rounds": 7})
    messages = [Message(RecordDict(), node, "query") for node in (3, 1, 2)]
    replies = grid.send_and_receive(messages)

    assert [reply.metadata.src_node_id for reply in replies] == [1, 2, 3]
    assert [dict(reply.content["seen"]) for reply in replies] == [
        {"partition-id": i, "num-partitions": 3, "rounds": 7, "node": i + 1} for i in range(3)
    ]


def test_ids_are_unique_and_replies_answer_them(adder):
    grids = [InProcessGrid(adder, NODES) for _ in range(2)]
    sent, ids = [], []
    for grid in grids:
        for _ in range(2):
            content = RecordDict({"arrays": to_record({"w": torch.zeros(1)})})
            messages = [train_message(content, node) for node in grid.get_node_ids()]
            replies = grid.send_and_receive(messages)
            sent += [message.metadata.message_id for message in messages]
            assert [r.metadata.reply_to_message_id for r in replies] == [
                m.metadata.message_id for m in messages
            ]
            ids += [reply.metadata.message_id for reply in replies]
            assert {m.metadata.run_id for m in [*messages, *replies]} == {grid.run_id}

    assert "" not in sent
    assert len(set(sent + ids)) == 32
    assert grids[0].run_id != grids[1].run_id


def test_push_and_pull_deliver_each_reply_once(adder):
    grid = InProcessGrid(adder, NODES)
    content = RecordDict({"arrays": to_record({"w": torch.zeros(1)})})
    ids = grid.push_messages(train_message(content, node) for node in (2, 1))

    assert [r.metadata.src_node_id for r in grid.pull_messages(ids[:1])] == [2]
    assert [r.metadata.src_node_id for r in grid.pull_messages(ids)] == [1]
    assert grid.pull_messages(ids) == []


def test_client_exception_becomes_an_error_reply_and_the_run_goes_on(adder, caplog):
    app = ClientApp()

    @app.train()
    def train(message, context):
        if context.node_config["partition-id"] == 2:
            raise ValueError("no data\nin this partition")
        return adder(message, context)

    grid = InProcessGrid(app, NODES)
    with caplog.at_level(logging.ERROR, logger="byzflower"):
        result = FedAvg(fraction_evaluate=0.0).start(
            grid, to_record({"w": torch.zeros(2)}), num_rounds=2
        )
        replies = broadcast(grid, result.arrays)

    assert [reply.has_error() for reply in replies] == [False, False, True, False]
    assert replies[2].error.reason == "ValueError: no data"
    # Each round adds the mean of 1, 2 and 4.
    np.testing.assert_allclose(result.arrays["w"].numpy(), 14 / 3, rtol=1e-6)
    failures = [r.getMessage() for r in caplog.records if "failed" in r.getMessage()]
    assert len(failures) == 1
    assert "node 3" in failures[0]
    assert "in train" in failures[0]


def test_a_reply_that_is_no_message_is_the_clients_error():
    replies = broadcast(InProcessGrid(lambda message, context: None, 1), to_record({}))
    assert replies[0].error.reason == "TypeError: the ClientApp returned NoneType, not a Message"


def test_an_error_reply_of_the_client_itself_passes():
    grid = InProcessGrid(lambda message, context: Message(Error(77, "mine"), reply_to=message), 1)
    replies = broadcast(grid, to_record({}))
    assert (replies[0].error.code, replies[0].error.reason) == (77, "mine")


def test_unknown_node_is_an_error_reply(adder):
    grid = InProcessGrid(adder, 2)
    replies = grid.send_and_receive([train_message(RecordDict(), 9)])
    assert replies[0].error.reason == "no node 9: the nodes are 1 … 2"
    assert replies[0].metadata.src_node_id == 9


def vandalise_tensor(message, context):
    to_tensor(message.content["arrays"]["w"]).fill_(666.0)


def vandalise_record(message, context):
    message.content["arrays"].pop("w")
    message.content["config"]["server-round"] = 666
    message.content["config"]["list"].append(666)
    del message.content["blob"]


def vandalise_array(message, context):
    message.content["blob"]["x"].data = b""
    message.content["arrays"]["w"].dtype = "float8"


def vandalise_metadata(message, context):
    message.metadata.dst_node_id = 666
    message.metadata.group_id = "666"


def vandalise_numpy(message, context):
    message.content["arrays"]["w"].numpy()[:] = 666.0


@pytest.mark.parametrize(
    "vandal",
    [
        vandalise_tensor,
        vandalise_record,
        vandalise_array,
        vandalise_metadata,
        vandalise_numpy,
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_a_client_cannot_touch_what_others_receive(vandal, shared):
    seen = []

    def client(message, context):
        content = message.content
        seen.append(
            (
                content["arrays"]["w"].numpy().tolist(),
                content["arrays"]["w"].dtype,
                dict(content["config"], list=list(content["config"]["list"])),
                content["blob"]["x"].data,
                message.metadata.dst_node_id,
                message.metadata.group_id,
            )
        )
        vandal(message, context)
        return Message(RecordDict(), reply_to=message)

    weights = torch.ones(2)
    arrays = to_record({"w": weights}) if shared else ArrayRecord({"w": weights.clone()})
    # Bytes that no tensor holds travel as they are.
    blob = ArrayRecord({"x": Array("uint8", (3,), "trees", b"abc")})
    config = ConfigRecord({"server-round": 1, "list": [1, 2]})
    content = RecordDict({"arrays": arrays, "config": config, "blob": blob})
    grid = InProcessGrid(client, 3)
    messages = [
        Message(content, dst_node_id=node, message_type="train", group_id="1") for node in (1, 2, 3)
    ]
    replies = grid.send_and_receive(messages)

    expected = ([1.0, 1.0], "float32", {"server-round": 1, "list": [1, 2]}, b"abc")
    assert seen == [(*expected, node, "1") for node in (1, 2, 3)]
    assert [m.metadata.dst_node_id for m in messages] == [1, 2, 3]
    assert [reply.metadata.src_node_id for reply in replies] == [1, 2, 3]
    assert torch.equal(weights, torch.ones(2))
    assert dict(config) == {"server-round": 1, "list": [1, 2]}
    assert arrays["w"].numpy().tolist() == [1.0, 1.0]


def test_a_client_cannot_answer_for_another_node():
    def forger(message, context):
        message.metadata.dst_node_id = 2
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(forger, 2)
    (reply,) = grid.send_and_receive([train_message(RecordDict(), 1)])
    assert reply.metadata.src_node_id == 1


def test_emptying_a_reply_leaves_the_clients_state_alone():
    def client(message, context):
        context.state["kept"] = to_record({"w": torch.ones(1)})
        return Message(RecordDict({"arrays": context.state["kept"]}), reply_to=message)

    grid = InProcessGrid(client, 1)
    broadcast(grid, to_record({}))[0].content["arrays"].pop("w")
    assert list(grid.contexts[1].state["kept"]) == ["w"]


def test_broadcast_arrays_are_decoded_once(monkeypatch):
    decoded = []
    original = Array.numpy

    def counting(array):
        decoded.append(array)
        return original(array)

    monkeypatch.setattr(Array, "numpy", counting)

    def client(message, context):
        assert isinstance(message.content["arrays"]["w"], SharedArray)
        return Message(RecordDict(), reply_to=message)

    replies = broadcast(InProcessGrid(client, 5), ArrayRecord({"w": torch.ones(2)}))
    assert not any(reply.has_error() for reply in replies)
    assert len(decoded) == 1


def test_deposited_replies_are_pulled_like_executed_ones():
    grid = InProcessGrid(lambda message, context: Message(RecordDict(), reply_to=message), 2)
    message = train_message(RecordDict(), 2)
    grid.deposit(message, RecordDict({"metrics": MetricRecord({"x": 1})}))
    (reply,) = grid.pull_messages([message.metadata.message_id])
    assert reply.metadata.src_node_id == 2
    assert reply.content["metrics"]["x"] == 1


def test_run_in_process_returns_what_the_function_returns(adder):
    def server(grid, context):
        assert context.run_config == {"rounds": 2}
        rounds = context.run_config["rounds"]
        return FedAvg().start(grid, to_record({"w": torch.zeros(1)}), num_rounds=rounds).arrays

    arrays = run_in_process(server, adder, NODES, run_config={"rounds": 2})
    np.testing.assert_allclose(arrays["w"].numpy(), 5.0)


def test_many_clients_make_the_garbage_collector_patient_while_they_run(adder):
    before = gc.get_threshold()
    assert run_in_process(lambda *_: gc.get_threshold()[0], adder, 1000) >= 50 * 1000
    assert run_in_process(lambda *_: gc.get_threshold(), adder, 2) == before
    with pytest.raises(ZeroDivisionError):
        run_in_process(lambda *_: 1 // 0, adder, 1000)
    assert gc.get_threshold() == before


def test_run_in_process_returns_the_context_of_a_server_app(adder):
    app = ServerApp()

    @app.main()
    def main(grid, context):
        context.state["nodes"] = MetricRecord({"n": len(list(grid.get_node_ids()))})

    assert run_in_process(app, adder, NODES).state["nodes"]["n"] == NODES


def test_errors_and_ctrl_c_come_through(adder):
    def failing(grid, context):
        raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        run_in_process(failing, adder, NODES)

    def interrupted(message, context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broadcast(InProcessGrid(interrupted, 2), to_record({}))


def test_no_nodes():
    with pytest.raises(ValueError, match="`num_nodes` needs a value ≥ 1; found 0"):
        InProcessGrid(ClientApp(), 0)


def test_other_grid_duties(adder):
    grid = InProcessGrid(adder, 1)
    assert grid.run.run_id == grid.run_id
    grid.set_run("a run")
    assert grid.run == "a run"
    message = grid.create_message(RecordDict(), "train", 1, "group")
    assert (message.metadata.dst_node_id, message.metadata.group_id) == (1, "group")
