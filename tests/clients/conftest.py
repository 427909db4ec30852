from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.metadata import Metadata
from torch import Tensor

from byzflower.wire.arrays import to_record


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def make_message() -> Callable[..., Message]:
    """A message as a node receives it: content is records, or a state_dict and a round."""

    def make(
        model: dict[str, Tensor] | RecordDict, server_round: int = 1, kind: str = "train"
    ) -> Message:
        if isinstance(model, RecordDict):
            content = model
        else:
            content = RecordDict({"config": ConfigRecord({"server-round": server_round})})
            content["arrays"] = to_record(model)
        metadata = Metadata(
            run_id=1,
            message_id="m",
            src_node_id=1,
            dst_node_id=7,
            reply_to_message_id="",
            group_id=str(server_round),
            created_at=time.time(),
            ttl=3600.0,
            message_type=kind,
        )
        return Message(content, metadata=metadata)

    return make


@pytest.fixture
def make_context() -> Callable[..., Context]:
    def make(partition_id: int = 0, run_id: int = 1, node_id: int | None = None) -> Context:
        node = 100 + partition_id if node_id is None else node_id
        return Context(run_id, node, {"partition-id": partition_id}, RecordDict(), {})

    return make
