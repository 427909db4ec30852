"""The server: for this machine's browser alone, whatever is sent to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from byzflower.simulations.play.server import listen
from byzflower.simulations.results import FILE_NAME

SCENE = {"honest": [[0, 1], [2, 1], [1, 1]], "malicious": [[9, 9]], "f": 1, "rules": ["median"]}
JSON = {"content-type": "application/json"}
PAGES = Path(__file__).parents[3] / "simulations" / "play" / "pages"


@pytest.fixture
def request_(address: tuple[str, int]) -> Any:
    """Return a function: method, path → (status, headers, body)."""

    def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(*address, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return ask


def test_a_question_is_answered(request_: Any) -> None:
    status, headers, body = request_("POST", "/api/aggregate", json.dumps(SCENE), **JSON)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["rules"][0]["value"] == [1.5, 1.0]


def test_the_page_and_all_that_it_loads_are_there(request_: Any) -> None:
    for path in ("/", *(f"/{file.name}" for file in PAGES.iterdir())):
        status, headers, body = request_("GET", path)
        assert (status, bool(body)) == (200, True), path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    for file in PAGES.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|document\.write|\beval\b", text), file
        assert not re.search(r"<script(?! type=\"module\" src)|style=|\son\w+=", text), file


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_foreign_host_headers_are_refused(host: str, request_: Any) -> None:
    for path in ("/", "/api/runs"):
        status, headers, body = request_("GET", path, Host=host)
        assert status == 400
        assert b"digits" not in body
        assert "content-security-policy" in headers
    assert request_("GET", "/api/runs", Host="localhost:1")[0] == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (json.dumps(SCENE), "text/plain", 415),
        (json.dumps(SCENE), "application/x-www-form-urlencoded", 415),
        ("{", "application/json", 400),
        ("[" * 50_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        ("", "application/json", 400),
        ("{}", "application/json", 422),
        (json.dumps(SCENE | {"rules": ["os.system"]}), "application/json", 422),
        ('{"f": ' + "9" * 5000 + "}", "application/json", 400),
        (" " * 70_000, "application/json", 413),
        (iter([b" " * 40_000] * 5), "application/json", 413),  # chunked, of no declared length
    ],
)
def test_what_is_no_question_is_refused_with_a_reason(
    body: Any, kind: str, status: int, request_: Any
) -> None:
    found, _, answer = request_("POST", "/api/aggregate", body, **{"content-type": kind})
    assert found == status
    assert len(json.loads(answer)["error"]) < 200


def test_files_beside_the_pages_are_not_served(request_: Any) -> None:
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd"):
        assert request_("GET", path)[0] in (400, 404), path
    assert request_("GET", "/api/aggregate")[0] in (404, 405)


def test_runs_are_told_with_only_what_is_known_of_them(request_: Any, results: Path) -> None:
    status, _, body = request_("GET", "/api/runs")
    told = json.loads(body)
    assert (status, told["folder"]) == (200, str(results))
    first = told["runs"][0]
    assert first["config"]["rule"] == "krum"
    assert first["finished"]
    assert first["rounds"][3]["weights"]["2"] == 4.0
    assert first["rounds"][3]["rejections"] == {"4": "non-finite"}


def test_a_port_that_is_taken_is_one_line(address: tuple[str, int]) -> None:
    from byzflower.simulations.errors import ExperimentError

    with pytest.raises(ExperimentError, match=r"`port` needs a free one .* found \d+: .*in use"):
        listen(address[1])


def test_it_listens_on_loopback_only() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_the_command_prints_its_address_and_ends_on_ctrl_c(results: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "BROWSER")}
    command = [sys.executable, "-m", "byzflower", "play", str(results / FILE_NAME), "--port", "0"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        port = int(re.fullmatch(r"http://127.0.0.1:(\d+)/#replay \(Ctrl-C ends it\)\n", said)[1])  # type: ignore[index]
        address = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(address) as connection:
            connection.request("GET", "/api/catalogue")
            assert "median" in json.loads(connection.getresponse().read())["rules"]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert complaints in ("", "no browser found here: open the address yourself\n")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "results need"),
        (b"no JSON\n", "needs a JSON object a line; found line 1"),
        (b"", "`results` needs at least one run; found none in"),
        (b'{"kind": "config"}\n', "needs the configs of runs, each with its `run`"),
    ],
)
def test_results_that_cannot_be_read_are_one_line(
    content: bytes | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from byzflower.simulations.cli import main

    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(SystemExit) as exited:
        main(["play", str(tmp_path), "--no-browser", "--port", "0"])
    said = capsys.readouterr().err
    assert exited.value.code == 2
    assert message in said
    assert said.count("\n") == 1
