"""Run the API service until a signal stops it.

A process has one event loop. Killing it always frees its port, unless it shares the port with
others (`processes.py`). On SIGTERM or SIGINT held answers are given immediately, new connections are refused, requests that
have begun get a few seconds, and then the engine is closed. A client that never finishes its
request cannot keep the process alive.
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path
from typing import cast

import uvloop
from litestar import Litestar
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.garbage_collector import freeze_gc
from leaseq.ledger.schema import require_schema
from leaseq.loop import end
from leaseq.observability.telemetry import emit
from leaseq_api.address import (
    auth_of,
    cannot_listen,
    check_address,
    keys_required,
    no_key_exists,
    warn_if_unprotected,
)
from leaseq_api.app import create_app
from leaseq_api.batch.route import NDJSON, PATH
from leaseq_api.batch.schemas import MAX_BYTES
from leaseq_api.certificate import Certificate, open_certificate
from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import MIB, LargeBody, Limits
from leaseq_api.http_server.server import Server
from leaseq_api.processes import report_open
from leaseq_api.security.gate import Gate

DRAIN_SECONDS = 5.0


def serve(config: Config, *, kill_tests: Path | None = None) -> None:
    """Serve in the foreground until SIGTERM or SIGINT. `kill_tests`: the socket of the `leaseq dev`
    that has started this process.

    Raises `ConfigInvalid` if the address cannot be used or there is no API key, `ServerUnreachable` if Postgres is away
    at the start, and `SchemaMismatch` if the schema has another version; each in one line.
    """
    config = replace(config, api_port=check_address(config))
    warn_if_unprotected(config)
    uvloop.run(_serve(config, kill_tests=kill_tests))


def serve_shared(config: Config, counts: int) -> None:
    """The same, as one of several processes on a port that `processes.py` holds. `counts`: the file
    descriptor of the link to that process."""
    uvloop.run(_serve(config, counts))


async def _serve(
    config: Config, counts: int | None = None, *, kill_tests: Path | None = None
) -> None:
    certificate = open_certificate(config)
    await require_schema(str(config.postgres_url))
    app = create_app(config, kill_tests=kill_tests)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if certificate is not None:
        loop.add_signal_handler(signal.SIGHUP, partial(certificate.renew, forced=True))
    # The lifespan belongs to us and not to the HTTP server, so that we report an error at the
    # start, and close the engine even if a connection does not end.
    async with app.lifespan():
        access = app.state.service.engine.access
        if keys_required(config) and not await access.has_usable_key():
            raise no_key_exists(config)
        freeze_gc()
        engine = app.state.service.engine
        async with (
            engine.announced("api"),
            engine.flushing_statistics("api"),
            app.state.metrics.linked(counts),
        ):
            await _run_until(stop, app, config, certificate, shared=counts is not None)
    emit("api.stopped")


async def _run_until(
    stop: asyncio.Event,
    app: Litestar,
    config: Config,
    certificate: Certificate | None,
    *,
    shared: bool,
) -> None:
    gate = cast(Gate, app.asgi_handler)
    server = Server(cast(Application, app), limits_of(config), judge=gate.judge)
    try:
        tls = None if certificate is None else certificate.context
        port = await server.start(config.api_host, config.api_port, shared=shared, tls=tls)
    except OSError as error:
        raise cannot_listen(config, error) from None
    emit("api.started", host=config.api_host, port=port, pid=os.getpid(), auth=auth_of(config))
    if shared:
        report_open()
    renewing = None if certificate is None else asyncio.create_task(certificate.keep_fresh())
    await stop.wait()
    if renewing is not None:
        await end(renewing)
    emit("api.stopping")
    app.state.service.stopping.set()
    await server.stop(seconds=DRAIN_SECONDS)


def limits_of(config: Config) -> Limits:
    """The bounds of the HTTP server. The bytes in flight must hold a few bodies of the largest
    size."""
    return Limits(
        connections=config.api_connections,
        working=config.api_requests,
        body_bytes=config.payload_max_bytes,
        large_bodies={PATH: LargeBody(MAX_BYTES, NDJSON)},
        in_flight_bytes=max(64 * MIB, 4 * config.payload_max_bytes),
    )


__all__ = ["limits_of", "serve", "serve_shared"]
