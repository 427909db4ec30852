"""A SuperNode that uploads what no ClientApp makes, against a real SuperLink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from byzflower.simulations.deployment import Deployment

HONEST = 3
ROUNDS = 4
TIMEOUT = 60.0

PROJECT = """
[project]
name = "hostile"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = []

[tool.hatch.build.targets.wheel]
packages = ["hostile"]

[tool.flwr.app]
publisher = "byzflower"

[tool.flwr.app.components]
serverapp = "hostile.server_app:app"
clientapp = "hostile.client_app:app"

[tool.flwr.app.config]
out = ""
rounds = 0
nodes = 0
timeout = 0.0
"""

SERVER = """
import json
import time
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from byzflower.strategies import Robust

app = ServerApp()

@app.main()
def main(grid, context):
    n, timeout = context.run_config["nodes"], context.run_config["timeout"]
    inner = FedAvg(fraction_evaluate=0.0, min_train_nodes=n, min_available_nodes=n)
    strategy = Robust(inner, "median", 1)
    initial = ArrayRecord({"w": Array(np.zeros(3, np.float32))})
    ends = []
    result = strategy.start(
        grid,
        initial,
        context.run_config["rounds"],
        timeout=timeout,
        evaluate_fn=lambda server_round, arrays: ends.append(time.monotonic()),
    )
    found = {
        "seconds": [end - start for start, end in zip(ends, ends[1:])],
        "w": result.arrays["w"].numpy().tolist(),
        "skipped": [record.skipped for record in strategy.history],
        "rejections": [[r.detail for r in record.rejections] for record in strategy.history],
        "conduct": strategy.conduct.to_rows(),
    }
    with open(context.run_config["out"], "w") as file:
        json.dump(found, file, default=float)
"""

CLIENT = '''
import os
from copy import copy
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supernode.runtime import run_clientapp
from flwr.supercore.inflatable.inflatable_object import add_header_to_object_body

app = ClientApp()
FRAMED = 4711

class Broken(Array):
    """Bytes under the name of an array that are no JSON."""

    def deflate(self):
        plain = Array(self.dtype, self.shape, self.stype, self.data)
        return add_header_to_object_body(b"{not json", plain)

class Framing(Message):
    """An object that says another node has sent it, in answer to nothing."""

    def deflate(self):
        lie = copy(self)
        lie.__class__ = Message
        lie.__dict__["_metadata"] = copy(self.metadata)
        lie.metadata.__dict__.update(_src_node_id=FRAMED, _reply_to_message_id="")
        return lie.deflate()

def amplified():
    array = Array("uint8", (4 << 20,), "numpy.ndarray", bytes(4 << 20))
    array.__dict__["_chunks"] = array.slice_array()[:1] * 500
    return array

@app.train()
def train(message, context):
    server_round = message.content["config"]["server-round"]
    arrays = ArrayRecord()
    value = np.ones(3, np.float32)
    if context.node_config.get("hostile") and server_round == 1:
        arrays["w"] = Broken("float32", (3,), "numpy.ndarray", Array(value).data)
    elif context.node_config.get("hostile") and server_round == 2:
        arrays["w"] = amplified()
    else:
        arrays["w"] = Array(value * server_round)
    content = RecordDict({"metrics": MetricRecord({"num-examples": 1})})
    content["arrays"] = arrays
    if context.node_config.get("hostile") and server_round == 4:
        # The reply is announced before its objects are pushed.
        run_clientapp.push_objects = lambda *args, **options: os._exit(0)
    reply = Message(content, reply_to=message)
    if context.node_config.get("hostile") and server_round == 3:
        content["metrics"] = MetricRecord({})
        reply.__class__ = Framing
    return reply
'''


@pytest.mark.slow
@pytest.mark.deployment
def test_hostile_uploads_end_no_run_and_cost_no_honest_node(tmp_path: Path) -> None:
    app, out = tmp_path / "hostile-app", tmp_path / "found.json"
    (app / "hostile").mkdir(parents=True)
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "hostile" / "__init__.py").write_text("")
    (app / "hostile" / "server_app.py").write_text(SERVER)
    (app / "hostile" / "client_app.py").write_text(CLIENT)
    config = {"out": str(out), "rounds": ROUNDS, "nodes": HONEST + 1, "timeout": TIMEOUT}
    with Deployment(tmp_path / "deployment") as deployment:
        for number in range(HONEST):
            deployment.start_node(number, {"hostile": 0})
        deployment.start_node(HONEST, {"hostile": 1})
        run = deployment.run(app, config)
        deployment.wait(
            lambda: deployment.status(run).startswith("finished"),
            "the run's end",
            2 * ROUNDS * TIMEOUT,
        )
        assert deployment.status(run) == "finished:completed"
    found = json.loads(out.read_text())
    assert found["w"] == [ROUNDS] * 3
    assert not any(found["skipped"])
    worst, *honest = found["conduct"]
    assert [row["accepted"] for row in honest] == [ROUNDS] * HONEST
    assert [row["offences"] for row in honest] == [0] * HONEST
    assert (worst["accepted"], worst["offences"]) == (0, 3)
    broken, amplified, framing, withheld = found["rejections"]
    assert "JSONDecodeError" in broken[0]
    assert "needs at most" in amplified[0]
    assert "num-examples" in framing[0]
    assert "the upload was not complete in time" in withheld[0]
    # Flower would wait for its objects for hours.
    assert TIMEOUT <= found["seconds"][-1] < 2 * TIMEOUT
