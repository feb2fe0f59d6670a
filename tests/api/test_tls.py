"""HTTPS has bounded handshakes and deadlines, and takes new certificates."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.observability.telemetry import recorded
from leaseq_api.certificate import Certificate
from support.certificates import Files, lock_key, make_certificate
from support.processes import PATIENCE, Service, Services, send
from support.raw_http import GET, Echo, Served, get, serving
from support.servers import free_port

# Short, so that a test can wait for them.
LIMITS: dict[str, Any] = {"header_seconds": 1.0, "linger_seconds": 0.5, "connections": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificate(folder, "first"), make_certificate(folder, "second")


@pytest.fixture
def files(made: tuple[Files, Files], tmp_path: Path) -> Files:
    """Files of a test's own, with the first certificate."""
    files = Files(tmp_path / "tls.pem", tmp_path / "tls.key")
    files.replace_by(made[0])
    return files


@pytest.fixture
def certificate(files: Files) -> Certificate:
    return Certificate(str(files.certificate), str(files.key))


@pytest.fixture
async def served(echo: Echo, certificate: Certificate) -> AsyncIterator[Served]:
    async with serving(echo, certificate.context, **LIMITS) as served:
        yield served


async def shown(served: Served, files: Files) -> bytes:
    """The certificate that a new connection gets, as DER."""
    context = files.trusted()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = await served.connect(context)
    found: bytes = client.writer.get_extra_info("ssl_object").getpeercert(True)
    client.close()
    return found


def der(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


async def test_requests_and_problems_are_answered_within_tls(
    echo: Echo, certificate: Certificate, files: Files
) -> None:
    async def scheme(scope: dict[str, object], receive: object, send: object) -> None:
        seen.append((scope["scheme"], scope["client"]))
        await echo(scope, receive, send)

    seen: list[object] = []
    async with serving(scheme, certificate.context) as served:
        client = await served.connect(files.trusted())
        own = client.writer.get_extra_info("sockname")
        secure = client.writer.get_extra_info("ssl_object")
        assert secure.selected_alpn_protocol() == "http/1.1"
        assert secure.version() == "TLSv1.3"
        assert [(await client.ask(GET)).status for _ in range(2)] == [200, 200]
        assert (await client.ask(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")).code == "method_unknown"
    assert seen == [("https", own)] * 2


async def test_old_versions_and_plain_http_are_refused(served: Served, files: Files) -> None:
    old = files.trusted()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await served.connect(old)
    plain = await served.connect()
    plain.send(GET)
    assert b"HTTP" not in await plain.rest()
    assert (await (await served.connect(files.trusted())).ask(GET)).status == 200


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_does_not_end_is_closed(served: Served, sent: bytes) -> None:
    clients = [await served.connect() for _ in range(2)]
    for client in clients:
        client.send(sent)
    await served.until(lambda: len(served.server.connections) == 2)
    for client in clients:
        await client.rest()
    assert not served.server.connections


async def test_handshakes_that_do_not_end_make_room(served: Served, files: Files) -> None:
    silent = [await served.connect() for _ in range(2)]
    await served.until(lambda: len(served.server.connections) == 2)
    client = await served.connect(files.trusted())
    assert (await client.ask(GET)).status == 200
    assert await silent[0].rest() == b""
    assert len(served.server.connections) == 2


async def test_a_head_that_does_not_arrive_is_a_408_within_tls(
    served: Served, files: Files
) -> None:
    client = await served.connect(files.trusted())
    assert (await client.ask(b"GET / HTTP/1.1\r\n")).code == "head_timeout"


async def test_a_request_in_the_packet_that_ends_the_handshake_is_answered(
    served: Served, files: Files
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = files.trusted().wrap_bio(incoming, outgoing, server_hostname="localhost")
    client = await served.connect()
    while True:
        try:
            secure.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.send(outgoing.read())
            incoming.write(await client.reader.read(65_536))
    secure.write(get("/early"))
    client.send(outgoing.read())
    answer = b""
    async with asyncio.timeout(PATIENCE):
        while b"/early" not in answer:
            incoming.write(await client.reader.read(65_536))
            while True:
                try:
                    answer += secure.read()
                except ssl.SSLWantReadError:
                    break
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "case",
    [
        partial(test_a_handshake_that_does_not_end_is_closed, sent=b""),
        partial(test_a_handshake_that_does_not_end_is_closed, sent=b"\x16\x03\x01\x02\x00\x01"),
        partial(test_handshakes_that_do_not_end_make_room),
        partial(test_a_head_that_does_not_arrive_is_a_408_within_tls),
        partial(test_a_request_in_the_packet_that_ends_the_handshake_is_answered),
    ],
    ids=lambda case: case.func.__name__,
)
def test_the_same_on_the_loop_of_the_service(
    certificate: Certificate, files: Files, case: partial[Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        async with serving(Echo(), certificate.context, **LIMITS) as served:
            if case.func is test_a_handshake_that_does_not_end_is_closed:
                await case(served)
            else:
                await case(served, files)

    uvloop.run(run())


async def test_a_client_that_closes_goes_quietly(
    served: Served, files: Files, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    client = await served.connect(files.trusted())
    client.send(get("/held"))
    await served.until(lambda: echo.asked == ["/held"])
    client.close()
    await served.until(lambda: not served.server.connections)
    assert echo.ended == ["/held"]
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


async def test_a_new_certificate_serves_new_connections_and_open_ones_go_on(
    served: Served, certificate: Certificate, files: Files, made: tuple[Files, Files]
) -> None:
    client = await served.connect(files.trusted())
    with recorded() as events:
        certificate.renew()
        assert not events
        files.certificate.write_bytes(made[1].certificate.read_bytes())
        certificate.renew()
        certificate.renew()  # complains once about the same files
        assert await shown(served, files) == der(made[0])
        files.key.write_bytes(made[1].key.read_bytes())
        certificate.renew()
        assert await shown(served, files) == der(made[1])
        files.key.unlink()
        certificate.renew()
        assert await shown(served, files) == der(made[1])
    told = [event.name for event in events if event.name.startswith("certificate.")]
    assert told == ["certificate.refused", "certificate.loaded", "certificate.refused"]
    assert (await client.ask(GET)).status == 200


def test_files_that_cannot_be_used_are_named(
    files: Files, made: tuple[Files, Files], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no certificate")
    for certificate, key, complaint in (
        ("/nowhere.pem", files.key, "LEASEQ_API_TLS_CERT=/nowhere.pem cannot be read: No such"),
        (files.certificate, tmp_path, f"LEASEQ_API_TLS_KEY={tmp_path} cannot be read: Is a dir"),
        (files.certificate, made[1].key, "do not belong together"),
        (tmp_path / "text", files.key, "cannot be used"),
        (files.certificate, lock_key(made[0], tmp_path), "a key without a password"),
    ):
        with pytest.raises(ConfigInvalid, match=complaint) as raised:
            Certificate(str(certificate), str(key))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_command_reports_a_wrong_key_in_one_line(
    config: Config, files: Files, made: tuple[Files, Files], processes: str
) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    stores = {
        "LEASEQ_POSTGRES_URL": str(config.postgres_url),
        "LEASEQ_REDIS_URL": str(config.redis_url),
    }
    command = [sys.executable, "-m", "leaseq", "api", "--port", "0", "--processes", processes]
    command += ["--tls-cert", str(files.certificate), "--tls-key", str(made[1].key)]
    ran = subprocess.run(command, env=ours | stores, capture_output=True, text=True, check=False)
    said = [line for line in ran.stderr.splitlines() if not line.startswith("{")]
    assert (ran.returncode, len(said)) == (2, 1), ran.stderr
    assert "do not belong together" in said[0]


@pytest.fixture
async def both(config: Config, services: Services, files: Files) -> Service:
    """Two processes that serve HTTPS on one port."""
    services.config = replace(
        config,
        api_port=free_port(),
        api_processes=2,
        api_tls_cert=str(files.certificate),
        api_tls_key=str(files.key),
    )
    api = await services.start("api")
    await api.hear("api.started", count=2)
    return api


async def test_all_processes_serve_https_and_take_a_new_certificate(
    both: Service, services: Services, files: Files, made: tuple[Files, Files]
) -> None:
    api = both
    served = Served(None, services.config.api_port, [])  # type: ignore[arg-type]
    client = await served.connect(files.trusted())
    head = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await client.ask(b"GET /health/live" + head)).status == 200
    files.replace_by(made[1])
    await api.hear("certificate.loaded", count=2)
    assert await shown(served, files) == der(made[1])
    for process in {line["pid"] for line in api.heard("api.started")}:
        send(process, signal.SIGHUP)
    await api.hear("certificate.loaded", count=4)
    assert (await client.ask(b"GET /health/live" + head)).status == 200
    client.close()


async def test_a_hangup_lets_all_processes_read_the_certificate_again(both: Service) -> None:
    # The files are as they were, so no process reads them without it.
    both.signal(signal.SIGHUP)
    loaded = await both.hear("certificate.loaded", count=2)
    assert {line["pid"] for line in loaded} == {line["pid"] for line in both.heard("api.started")}


def third_of(both: Service) -> int:
    """The process that was started in place of one of the two, 0 before it listens."""
    started = both.heard("api.started")
    return int(started[2]["pid"]) if len(started) > 2 else 0


async def test_a_hangup_does_not_end_a_process_that_is_starting(both: Service) -> None:
    killed, other = (line["pid"] for line in both.heard("api.started"))
    send(killed, signal.SIGKILL)
    await both.hear("process.ended")
    # In each moment of its start, and until the command has noticed that it listens.
    async with asyncio.timeout(PATIENCE):
        while not both.heard("certificate.loaded", pid=third_of(both)):
            both.signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
    assert both.heard("certificate.loaded", pid=other)
    assert len(both.heard("process.ended")) == 1
