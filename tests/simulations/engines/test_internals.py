from __future__ import annotations

import logging
import os
import signal
import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest
from flwr.app import Message, RecordDict

from byzflower.simulations.engines import internals
from byzflower.simulations.engines.internals import (
    _TELEMETRY_MODULES,
    Stamp,
    UnsupportedFlowerError,
    assume_identity,
    disable_telemetry,
    empty_run,
)
from byzflower.simulations.engines.quiet import quiet, worker_environment


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


def test_telemetry_is_off_for_good(monkeypatch):
    telemetry = import_module(next(name for name in _TELEMETRY_MODULES if find_spec(name)))
    monkeypatch.setattr(telemetry, "FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    disable_telemetry()
    assert telemetry.FLWR_TELEMETRY_ENABLED == "0"
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"


def test_worker_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "here")
    before = dict(os.environ)
    on_terminate = signal.getsignal(signal.SIGTERM)
    with worker_environment():
        assert os.environ["PYTHONPATH"].endswith(os.pathsep + "here")
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        os.environ["PYTHONPATH"] = "changed"
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGTERM) is on_terminate


def test_quiet_drops_the_machinery_and_keeps_the_rest(caplog):
    logger = logging.getLogger("flwr")

    def emit(path: str, text: str) -> None:
        logger.handle(logger.makeRecord("flwr", logging.WARNING, path, 1, text, (), None))

    with caplog.at_level(logging.INFO, logger="flwr"):
        with quiet():
            emit("/x/flwr/server/superlink/fleet/vce/vce_api.py", "client failed")
            emit("/x/flwr/simulation/run_simulation.py", "stopping")
            emit("/x/flwr/supercore/logger.py", "`run_simulation` is deprecated")
            emit("/x/flwr/supercore/logger.py", "another deprecation")
            emit("/x/flwr/serverapp/strategy/fedavg.py", "round 1")
        emit("/x/flwr/simulation/run_simulation.py", "afterwards")

    assert [r.getMessage() for r in caplog.records] == [
        "another deprecation",
        "round 1",
        "afterwards",
    ]


def test_quiet_ignores_warnings_of_ray_and_flower_alone():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            for module in ("ray._private.worker", "flwr.simulation", "rayon", "mine"):
                warnings.warn_explicit(module, UserWarning, "file.py", 1, module=module)
    assert [str(warning.message) for warning in caught] == ["rayon", "mine"]
