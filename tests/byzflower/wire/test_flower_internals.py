from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from byzflower.simulations.engines import InProcessGrid
from byzflower.wire import flower_internals as internals
from byzflower.wire.flower_internals import (
    SUPERLINK_NODE_ID,
    Allowance,
    OverAllowanceError,
    Stamp,
    UnsupportedFlowerError,
    assume_identity,
    bound_transfers,
    empty_run,
    is_count_of_replies,
    is_from_flower,
    is_of_the_transport,
    relabel_source,
    valid_replies,
)

GRID_MODULES = ("flwr.superlink.grid.http_grid", "flwr.server.grid.grpc_grid")


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture
def message() -> Message:
    assume_identity(1)
    return Message(RecordDict(), dst_node_id=1, message_type="train")


def test_a_flower_without_the_private_name_is_refused(message):
    del message.metadata.__dict__["_message_id"]
    with pytest.raises(
        UnsupportedFlowerError, match=r"need `Metadata._message_id`, which flwr 1\."
    ):
        Stamp(1).mark(message)


def test_a_flower_without_runs_is_refused(monkeypatch):
    monkeypatch.setattr(internals, "_RUN_MODULES", ("flwr.nowhere",))
    with pytest.raises(UnsupportedFlowerError, match=r"Run\.create_empty"):
        empty_run(1)


def test_fedavg_logs_and_checks_replies_as_it_did(message, caplog):
    reply = Message(
        RecordDict({"arrays": ArrayRecord(), "m": MetricRecord({"num-examples": 1})}),
        reply_to=message,
    )
    with caplog.at_level(logging.INFO, logger="flwr"):
        assert valid_replies(FedAvg(), [reply]) == [reply]
    assert [is_count_of_replies(record) for record in caplog.records] == [True]


def test_a_fedavg_without_its_check_is_refused():
    with pytest.raises(UnsupportedFlowerError, match=r"FedAvg\._check_and_log_replies"):
        valid_replies(object(), [])


def test_the_server_has_an_id_that_no_node_gets():
    assert SUPERLINK_NODE_ID == 1


def test_flower_s_grid_pulls_objects_through_the_name_that_is_bounded():
    module = import_module(next(name for name in GRID_MODULES if _exists(name)))
    grid_type = next(
        kind for name, kind in vars(module).items() if name in {"HttpGrid", "GrpcGrid"}
    )
    pulled = []

    def make(limit: int) -> Callable[[str], bytes]:
        return lambda object_id: pulled.append(object_id) or bytes(limit)

    original = module.make_pull_object_fn_protobuf
    module.make_pull_object_fn_protobuf = make
    try:
        bound_transfers(object.__new__(grid_type))
        assert module.make_pull_object_fn_protobuf(9)("a") == bytes(9)
        with Allowance(10) as allowance:
            pull = module.make_pull_object_fn_protobuf(9)
            assert pull("b") == bytes(9)
            with pytest.raises(OverAllowanceError, match="at most 10 bytes; found 18 uploaded"):
                pull("c")
            allowance.cancel()
            with pytest.raises(OverAllowanceError, match="not complete in time"):
                pull("d")
        assert pulled == ["a", "b", "c"]
    finally:
        module.make_pull_object_fn_protobuf = original
    assert "make_pull_object_fn_protobuf" in grid_type.pull_messages.__code__.co_names


def test_a_grid_of_flower_s_and_its_errors_are_told_from_ours():
    module = import_module(next(name for name in GRID_MODULES if _exists(name)))
    kind = getattr(module, "HttpGrid", None) or module.GrpcGrid
    assert is_from_flower(object.__new__(kind))
    assert not is_from_flower(InProcessGrid(ClientApp(), 1))
    unavailable = import_module("flwr.supercore.inflatable.inflatable_utils").ObjectUnavailableError
    assert is_of_the_transport(unavailable("an id"))
    assert is_of_the_transport(ConnectionError())
    assert not is_of_the_transport(ValueError())


def test_a_reply_can_come_from_nobody(message):
    reply = Message(RecordDict(), reply_to=message)
    relabel_source(reply, 0)
    assert reply.metadata.src_node_id == 0
