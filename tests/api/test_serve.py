"""The service process starts, refuses in one line, and stops in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq_api.address import auth_of, check_address, keys_required
from leaseq_api.serve import DRAIN_SECONDS
from support.raw_http import MANNERS
from support.servers import free_port

# Four test runs at a time start processes on a machine of two cores.
START_SECONDS = 90.0

COMMAND = [sys.executable, "-m", "leaseq", "api"]
HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"


def environment(config: Config, **more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    stores = {
        "LEASEQ_POSTGRES_URL": str(config.postgres_url),
        "LEASEQ_REDIS_URL": str(config.redis_url),
    }
    return ours | stores | {"LEASEQ_API_PORT": str(config.api_port)} | more


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, api_port=free_port())


@contextmanager
def running(config: Config, output: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The service in a process of its own, ready; killed at the end if it still runs."""
    with (
        output.open("wb") as log,
        subprocess.Popen(COMMAND, env=environment(config), stdout=log, stderr=log) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{config.api_port}", timeout=60) as client:
                until_ready(process, client, output)
                yield process, client
        finally:
            process.kill()


def until_ready(process: subprocess.Popen[bytes], client: httpx.Client, output: Path) -> None:
    give_up, said = time.monotonic() + START_SECONDS, ""
    while True:
        try:
            answer = client.get("/health/ready")
            if answer.status_code == 200:
                return
            said = answer.text
        except httpx.TransportError as error:
            said = repr(error)
            assert process.poll() is None, (
                f"the service ended before it was ready: {output.read_text()}"
            )
        assert time.monotonic() < give_up, (
            f"the service did not become ready: {said}\n{output.read_text()}"
        )
        time.sleep(0.02)


def logged(output: Path) -> list[str]:
    """The names of the events in the log; every line is one. Doubts are left out: tests connect as
    the superuser."""
    names = [json.loads(line)["event"] for line in output.read_text().splitlines()]
    return [name for name in names if name != "server.doubted"]


def complaint(stderr: bytes) -> str:
    """The output of a process besides its events."""
    return "".join(
        line for line in stderr.decode().splitlines(keepends=True) if not line.startswith("{")
    )


def exchange(config: Config, request: bytes) -> bytes:
    """Send raw bytes and return the first answer, whole."""
    with socket.create_connection(("127.0.0.1", config.api_port), timeout=20) as conn:
        conn.sendall(request)
        answer = b""
        while chunk := conn.recv(65_536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            length = [
                int(line[15:])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ]
            if length and len(body) >= length[0]:
                break
    return answer


def test_api_serves_and_ends_on_sigterm(config: Config, tmp_path: Path) -> None:
    with running(config, tmp_path / "log") as (process, client):
        answer = client.post(
            "/api/tasks", json={"type": "add", "payload": [1, 2]}, headers={"Idempotency-Key": "k"}
        )
        assert answer.status_code == 202
        assert MANNERS.items() <= answer.headers.items()
        for path in ("/health/live", "/api/tasks", "/nowhere", "/schema", "/api/tasks/x"):
            assert MANNERS.items() <= client.get(path).headers.items()
        assert client.get(answer.headers["location"]).json()["payload"] == [1, 2]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    assert logged(tmp_path / "log") == ["api.started", "api.stopping", "api.stopped"]


def test_hostile_bytes_get_a_4xx_each(config: Config, tmp_path: Path) -> None:
    submission = b'{"type":"add","payload":1}'
    length = b"Content-Length: %d\r\n" % len(submission)
    large = 3_000_000
    chunk = b"%x\r\n%s\r\n" % (60_000, b"a" * 60_000)
    requests = [
        (b"GET /api/tasks/\xff\xfe HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"GET /api/tasks/%ff%fe HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"GET /api/tasks?queue=%00 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"BREW /api/tasks HTTP/1.1\r\n" + HEAD + b"\r\n", 501),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
        (b"GET /health/live HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (b"POST /api/tasks HTTP/1.1\r\n" + HEAD + b"Content-Length: x\r\n\r\n", 400),
        (
            b"POST /api/tasks HTTP/1.1\r\n"
            + HEAD
            + b"Content-Length: %d\r\n\r\n" % large
            + b"a" * large,
            413,
        ),
        (
            b"POST /api/tasks HTTP/1.1\r\n"
            + HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + chunk * 50
            + b"0\r\n\r\n",
            413,
        ),
        (
            b"POST /api/tasks HTTP/1.1\r\n"
            + HEAD
            + b"Idempotency-Key: \xe9\r\n"
            + length
            + b"\r\n"
            + submission,
            400,
        ),
        (
            b"POST /api/tasks HTTP/1.1\r\n"
            + HEAD
            + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"
            + length
            + b"\r\n"
            + submission,
            400,
        ),
    ]
    with running(config, tmp_path / "log") as (process, client):
        for request, status in requests:
            answer = exchange(config, request)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (request[:80], answer[:200])
            assert b"granian" not in answer.lower()
        assert client.get("/api/tasks").json()["tasks"] == []
        assert process.poll() is None
    assert logged(tmp_path / "log") == ["api.started"]


def test_clients_that_never_finish_do_not_keep_it_alive(config: Config, tmp_path: Path) -> None:
    with running(config, tmp_path / "log") as (process, client):
        task_id = client.post("/api/tasks", json={"type": "add", "payload": 1}).json()["task_id"]
        address = ("127.0.0.1", config.api_port)
        with (
            socket.create_connection(address) as waiting,
            socket.create_connection(address) as half,
        ):
            half.sendall(b"POST /api/tasks HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{")
            waiting.sendall(
                b"GET /api/tasks/" + task_id.encode() + b"?wait=60 HTTP/1.1\r\n" + HEAD + b"\r\n"
            )
            # by now the other two have been read
            assert client.get(f"/api/tasks/{task_id}").status_code == 200
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            waiting.settimeout(3)
            assert b'"state":"PENDING"' in waiting.recv(65_536), "a held answer is given at once"
            assert process.wait(timeout=DRAIN_SECONDS + 5) == 0
            assert time.monotonic() - begun < DRAIN_SECONDS + 2


def test_a_second_one_on_the_same_port_is_refused(config: Config, tmp_path: Path) -> None:
    with running(config, tmp_path / "log"):
        second = subprocess.run(COMMAND, env=environment(config), capture_output=True, check=False)
    assert second.returncode == 2
    said = complaint(second.stderr)
    assert said.startswith("leaseq: cannot listen on LEASEQ_API_HOST=127.0.0.1")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LEASEQ_API_HOST", "0.0.0.0", "--insecure"),
        ("LEASEQ_API_HOST", "::", "--insecure"),
        ("LEASEQ_API_PROT", "1", "did you mean LEASEQ_API_PORT?"),
    ],
)
def test_impossible_command_is_refused_in_one_line(
    config: Config, variable: str, value: str, said: str
) -> None:
    env = environment(config, **{variable: value})
    ended = subprocess.run(COMMAND, env=env, capture_output=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert said in complaint(ended.stderr)
    assert complaint(ended.stderr).count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_on_the_loopback_no_key_is_required(config: Config, host: str) -> None:
    assert not keys_required(replace(config, api_host=host))
    assert keys_required(replace(config, api_host=host, api_auth="keys"))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.org"])
def test_on_other_addresses_keys_are_required(config: Config, host: str) -> None:
    assert keys_required(replace(config, api_host=host))
    assert not keys_required(replace(config, api_host=host, api_auth="off"))
    assert auth_of(replace(config, api_host=host, api_auth="off")) == "off"


def test_it_is_told_how_clients_are_known(config: Config) -> None:
    assert auth_of(config) == auth_of(replace(config, api_auth="off")) == "open"
    assert auth_of(replace(config, api_auth="keys")) == "keys"
    # A proxy on this machine lets others in.
    proxied = replace(config, api_proxies="127.0.0.1")
    assert auth_of(proxied) == "keys"
    assert auth_of(replace(proxied, api_auth="off")) == "off"


def test_any_address_of_this_machine_will_do(config: Config) -> None:
    assert check_address(replace(config, api_host="0.0.0.0")) == config.api_port
    assert check_address(replace(config, api_port=0)) > 0
    with pytest.raises(ConfigInvalid, match="cannot listen"):
        check_address(replace(config, api_host="192.0.2.1"))
