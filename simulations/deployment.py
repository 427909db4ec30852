"""A real deployment on this machine: SuperLink and SuperNodes as processes on loopback.

With TLS, a certificate authority of its own, authenticated SuperNodes and a state database: what
``docs/deployment.md`` describes, made by a program. ``python -m byzflower.simulations.deployment
APP`` puts the app through the drill: a malicious node, a node killed in mid-run, a stranger that is
refused, the ServerApp and then the SuperLink killed and started again; the run has to end with a
good model.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Deployment", "DeploymentError"]

_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.2


class DeploymentError(RuntimeError):
    """A process of the deployment did not do its part; the message names its log."""


class Deployment:
    """A SuperLink and SuperNodes that run as long as the ``with`` block.

    Parameters
    ----------
    folder : Path
        Certificates, keys, the state database, logs (``*.log``) and Flower's own configuration;
        made if needed. Keys in it are for tests: whoever reads the folder can be any node.

    Examples
    --------
    ::

        with Deployment(Path("deployment")) as deployment:
            for partition in range(5):
                deployment.start_node(partition, {"partition-id": partition, "num-partitions": 5})
            run = deployment.run("simulations/quickstart", {"num-nodes": 5})
            deployment.wait(lambda: deployment.status(run).startswith("finished"), "the run")
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = _free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[int, int] = {}
        home = self.folder / "flwr"
        home.mkdir(parents=True, exist_ok=True)
        self._make_authority()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "{_LOOPBACK}:{self.port}"\n'
            f'root-certificates = "{self.folder / "ca.crt"}"\n'
        )
        self._environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }

    def __enter__(self) -> Self:
        self.start_superlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in reversed(list(self._processes)):
            self.kill(name)

    def start_superlink(self) -> None:
        """Start the SuperLink on the state database, anew after it was killed."""
        self._start(
            "superlink",
            "flower-superlink",
            f"--ssl-certfile={self.folder / 'server.crt'}",
            f"--ssl-keyfile={self.folder / 'server.key'}",
            f"--ssl-ca-certfile={self.folder / 'ca.crt'}",
            f"--database={self.folder / 'state.db'}",
            "--enable-supernode-auth",
            f"--host={_LOOPBACK}",
            f"--port={self.port}",
        )
        self.wait(lambda: _listens(self.port), "the SuperLink to listen")

    def start_node(
        self, number: int, config: dict[str, int | str], *, register: bool = True
    ) -> str:
        """Start a SuperNode with a key of its own, registered or not; return its name."""
        name = f"node-{number}"
        key = self.folder / name
        if not key.exists():
            _write_key(ec.generate_private_key(ec.SECP384R1()), key, ssh=True)
            if register:
                self.flwr("supernode", "register", f"{key}.pub", "here")
        port = self._ports.setdefault(number, _free_port())
        self._start(
            name,
            "flower-supernode",
            f"--superlink={_LOOPBACK}:{self.port}",
            f"--root-certificates={self.folder / 'ca.crt'}",
            f"--auth-supernode-private-key={key}",
            f"--node-config={' '.join(f'{k}={json.dumps(v)}' for k, v in config.items())}",
            f"--port={port}",
        )
        return name

    def kill(self, name: str) -> None:
        """SIGKILL a process started here, and all that it started."""
        process = self._processes.pop(name)
        for pid in [process.pid, *_descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def kill_server_app(self) -> None:
        """SIGKILL the process in which the SuperLink runs the ServerApp."""
        started = _descendants(self._processes["superlink"].pid)
        apps = [pid for pid, command in started.items() if "flwr-serverapp" in command]
        if not apps:
            raise DeploymentError(f"no ServerApp is running; see {self.folder / 'superlink.log'}")
        for pid in apps:
            os.kill(pid, signal.SIGKILL)

    def has_ended(self, name: str) -> bool:
        """Whether a process started here has ended by itself."""
        return self._processes[name].poll() is not None

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def run(self, app: str | Path, config: dict[str, Any]) -> str:
        """Start a run of the app; return its id."""
        overrides = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
        answer = self.flwr("run", str(app), "here", "--run-config", overrides, "--format", "json")
        return str(json.loads(answer)["run-id"])

    def status(self, run: str) -> str:
        """Return a run's status, for instance ``finished:completed``."""
        answer = json.loads(self.flwr("ls", "here", "--format", "json"))
        return next(str(found["status"]) for found in answer["runs"] if found["run-id"] == run)

    def flwr(self, *arguments: str) -> str:
        """Run Flower's command line against this deployment and return what it prints."""
        done = subprocess.run(
            ["flwr", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise DeploymentError(f"flwr {arguments[0]} failed: {done.stderr or done.stdout}")
        return done.stdout

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 180.0) -> None:
        """Wait until a condition holds.

        Raises
        ------
        DeploymentError
            If it does not within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise DeploymentError(f"waited {timeout:.0f} s for {what}; see {self.folder}/*.log")
            time.sleep(_POLL_SECONDS)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _make_authority(self) -> None:
        """Make a certificate authority and the SuperLink's certificate for loopback."""
        if (self.folder / "server.crt").exists():
            return
        authority, server = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "byzflower test authority")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        root = _certificate(issuer, authority, issuer, authority, [])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(_LOOPBACK))]
        leaf = _certificate(subject, server, issuer, authority, names)
        (self.folder / "ca.crt").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        _write_key(server, self.folder / "server.key", ssh=False)
        (self.folder / "server.crt").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _write_key(key: ec.EllipticCurvePrivateKey, path: Path, *, ssh: bool) -> None:
    kind = serialization.PrivateFormat.OpenSSH if ssh else serialization.PrivateFormat.PKCS8
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    )
    if ssh:
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        path.with_name(f"{path.name}.pub").write_bytes(public)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_LOOPBACK, port)) == 0


def _descendants(ancestor: int) -> dict[int, str]:
    """Return the processes that one has started, directly or not: id to command line (Linux).

    By parents, not by session or group: the SuperLink starts its helpers in sessions of their own.
    """
    children: dict[int, list[int]] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state ppid …; a name may hold spaces and parentheses
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
                commands[int(entry.name)] = (entry / "cmdline").read_text(errors="replace")
    found: dict[int, str] = {}
    waiting = [ancestor]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            found[pid] = commands.get(pid, "")
            waiting.append(pid)
    return found


def drill(app: Path, folder: Path, say: Callable[[str], None] = print) -> Path:
    """Put the quickstart app through everything that can happen to it; return the model's file.

    Raises
    ------
    DeploymentError
        If something that should have been survived was not.
    """
    out = folder.resolve() / "out"
    checkpoints = out / "checkpoints"
    config = {
        "num-server-rounds": 7,
        "num-nodes": 3,
        "num-malicious-nodes": 1,
        "round-timeout": 40.0,
        "attack": "none",
        "out": str(out),
    }

    def rounds() -> int:
        names = [path.stem for path in checkpoints.glob("round-*.state")]
        return max((int(name.partition("-")[2]) for name in names), default=0)

    with Deployment(folder) as deployment:
        for number in range(5):
            own = {"attack": "sign_flip"} if number == 4 else {}
            partition = {"partition-id": number, "num-partitions": 5}
            deployment.start_node(number, {**partition, **own})
        say("5 SuperNodes, the last one malicious; and a stranger")
        stranger = deployment.start_node(5, {"partition-id": 0}, register=False)
        deployment.wait(lambda: deployment.has_ended(stranger), "the stranger to be refused")
        deployment.kill(stranger)

        run = deployment.run(app, config)
        deployment.wait(lambda: rounds() >= 2, "two rounds")
        say("two rounds done; SIGKILL for a SuperNode")
        deployment.kill("node-3")
        deployment.wait(lambda: rounds() >= 3, "a round without the dead node")
        say("the run goes on without it; SIGKILL for the ServerApp")
        deployment.kill_server_app()
        before = rounds()
        run = deployment.run(app, config)
        deployment.wait(lambda: rounds() > before, "a round after the ServerApp's death")
        say(f"started again, it went on after round {before}; SIGKILL for the SuperLink")
        deployment.kill("superlink")
        before = rounds()
        deployment.start_superlink()
        run = deployment.run(app, config)
        deployment.wait((out / "model.npz").exists, "the run's end")
        deployment.wait(lambda: deployment.status(run).startswith("finished"), "its status")
        say(f"started again, it went on after round {before} and ended: {deployment.status(run)}")
    return out / "model.npz"


if __name__ == "__main__":
    print(drill(Path(sys.argv[1]), Path(sys.argv[2])))
