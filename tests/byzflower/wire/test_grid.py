"""The one grid that forwards, on Flower's interface of today and of 1.43."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from byzflower.clients.adversary import Adversary
from byzflower.simulations.engines import InProcessGrid
from byzflower.wire.grid import ForwardingGrid, ids_to_pull


class Recording:
    """Stands in for a grid and notes what it is asked; `pull_messages` differs by version."""

    run = "the run"
    pull_interval = 7

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"calls", "unknown"}:
            raise AttributeError(name)

        def call(*args: object, **kwargs: object) -> str:
            self.calls.append((name, *args, *kwargs.items()))
            return f"what {name} returns"

        return call


class Old(Recording):
    def pull_messages(self, message_ids: Iterable[str]) -> object:
        self.calls.append(("pull_messages", message_ids))
        return "what pull_messages returns"


class New(Recording):
    def pull_messages(
        self,
        reply_to_message_ids: Iterable[str] | None = None,
        *,
        message_ids: Iterable[str] | None = None,
    ) -> object:
        assert message_ids is None
        self.calls.append(("pull_messages", reply_to_message_ids))
        return "what pull_messages returns"


@pytest.fixture(params=[Old, New])
def inner(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_every_call_goes_through(inner):
    grid = ForwardingGrid(inner)
    grid.set_run("another")
    assert grid.run == "the run"
    assert grid.get_node_ids() == "what get_node_ids returns"
    assert grid.get_nodes() == "what get_nodes returns"
    assert grid.push_messages(["m"]) == "what push_messages returns"
    assert grid.send_and_receive(["m"], timeout=3) == "what send_and_receive returns"
    assert grid.create_message("c", "train", 4, "g", 5.0) == "what create_message returns"
    assert inner.calls == [
        ("set_run", "another"),
        ("get_node_ids",),
        ("get_nodes",),
        ("push_messages", ["m"]),
        ("send_and_receive", ["m"], ("timeout", 3)),
        ("create_message", "c", "train", 4, "g", 5.0),
    ]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((["a", "b"],), {}),
        ((), {"reply_to_message_ids": ["a", "b"]}),
        ((), {"message_ids": ["a", "b"]}),
    ],
)
def test_messages_are_pulled_under_the_old_and_the_new_name(inner, args, kwargs):
    grid = ForwardingGrid(inner)
    assert grid.pull_messages(*args, **kwargs) == "what pull_messages returns"
    assert inner.calls == [("pull_messages", ["a", "b"])]


def test_no_ids_mean_what_the_inner_grid_takes_them_for():
    grid = New()
    ForwardingGrid(grid).pull_messages()
    assert grid.calls == [("pull_messages", None)]
    with pytest.raises(TypeError, match="message_ids"):
        ForwardingGrid(Old()).pull_messages()


def test_ids_under_both_names_are_refused():
    with pytest.raises(TypeError, match="only one of `reply_to_message_ids` and `message_ids`"):
        ids_to_pull(["a"], ["a"])


def test_an_unknown_attribute_is_the_inner_grid_s():
    grid = ForwardingGrid(Old())
    assert grid.pull_interval == 7
    with pytest.raises(AttributeError, match="unknown"):
        _ = grid.unknown


def test_grids_nest_and_pickle():
    grid = ForwardingGrid(ForwardingGrid(New()))
    assert pickle.loads(pickle.dumps(grid)).pull_interval == 7


def test_no_method_of_flower_s_grid_is_left_behind():
    own = {name for name in dir(Grid) if not name.startswith("_")}
    assert own <= set(vars(ForwardingGrid))


@pytest.mark.parametrize("name", ["message_ids", "reply_to_message_ids"])
def test_the_in_process_grid_is_pulled_under_either_name(name):
    app = ClientApp()

    @app.train()
    def train(message, context):
        return Message(RecordDict(), reply_to=message)

    grid = Adversary(InProcessGrid(app, 3), "sign_flip", nodes={3})
    ids = list(grid.push_messages([Message(RecordDict(), node, "train") for node in (1, 2)]))
    replies = list(grid.pull_messages(**{name: ids[:1]}))
    assert [reply.metadata.reply_to_message_id for reply in replies] == ids[:1]
    assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages()] == ids[1:]
