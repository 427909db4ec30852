"""An app in Flower's own simulation, by its own command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


def flwr_run(
    app: Path, *, home: Path, ports: tuple[int, int], run_config: str, nodes: int = 10
) -> str:
    """Run an app with ``flwr run``; return what it said once it has completed.

    Parameters
    ----------
    app
        The app's folder.
    home
        Folder for what Flower keeps; its SuperLink, which would outlive the test, is ended.
    ports
        Two free ports.
    run_config
        As ``--run-config`` takes it.
    nodes
        Number of simulated nodes.
    """
    environment = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(ports[0]),
        "FLWR_LOCAL_CONTROL_API_PORT": str(ports[1]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def flwr(*arguments: str) -> str:
        command = ["flwr", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout + done.stderr

    federation = f"num-supernodes={nodes} client-resources-num-cpus=1"
    options = ("--stream", "--federation-config", federation, "--run-config", run_config)
    try:
        said = flwr("run", str(app), *options)
        # A crashed app exits with 0, too: its status is asked for.
        assert '"status": "finished:completed"' in flwr("ls", "--format", "json")
    finally:
        _end_the_superlink_of(home)
    return said


def _end_the_superlink_of(home: Path) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_text(errors="replace")
                if "flower-superlink" in command and str(home) in command:
                    os.kill(int(entry.name), signal.SIGTERM)
