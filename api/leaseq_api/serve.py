"""Run the API service until a signal stops it.

There is one process and one event loop, so that killing the process always frees its port. On
SIGTERM or SIGINT held answers are given immediately, new connections are refused, requests that
have begun get a few seconds, and then the engine is closed. A client that never finishes its
request cannot keep the process alive.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from ipaddress import ip_address
from typing import cast

import uvloop
from litestar import Litestar
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.garbage_collector import freeze_gc
from leaseq.ledger.schema import require_schema
from leaseq.observability.telemetry import emit
from leaseq_api.app import create_app
from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import MIB, Limits
from leaseq_api.http_server.server import Server

DRAIN_SECONDS = 5.0


def serve(config: Config, *, insecure: bool = False) -> None:
    """Serve in the foreground until SIGTERM or SIGINT.

    Raises `ConfigInvalid` if the address may not be used, `ServerUnreachable` if Postgres is away
    at the start, and `SchemaMismatch` if the schema has another version; each in one line.
    """
    port = check_address(config, insecure=insecure)
    uvloop.run(_serve(replace(config, api_port=port)))


def check_address(config: Config, *, insecure: bool) -> int:
    """The port to listen on: the one of the configuration, or a free one if that is 0.

    Raises `ConfigInvalid` for an address that other machines can reach (without `insecure`), and
    for a port in use.
    """
    if not insecure and not _is_loopback(config.api_host):
        raise ConfigInvalid(
            f"LEASEQ_API_HOST={config.api_host} can be reached by other machines, and this service requires no API key: "
            "serve on 127.0.0.1, or allow it with --insecure"
        )
    family = socket.AF_INET6 if ":" in config.api_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.api_host, config.api_port))
        except OSError as error:
            raise _cannot_listen(config, error) from None
        port: int = probe.getsockname()[1]
        return port


def _cannot_listen(config: Config, error: OSError) -> ConfigInvalid:
    where = f"LEASEQ_API_HOST={config.api_host}, LEASEQ_API_PORT={config.api_port}"
    return ConfigInvalid(
        f"cannot listen on {where}: {error.strerror}; choose another port or address"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(config: Config) -> None:
    await require_schema(str(config.postgres_url))
    app = create_app(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The lifespan belongs to us and not to the HTTP server, so that we report an error at the
    # start, and close the engine even if a connection does not end.
    async with app.lifespan():
        freeze_gc()
        await _run_until(stop, app, config)
    emit("api.stopped")


async def _run_until(stop: asyncio.Event, app: Litestar, config: Config) -> None:
    server = Server(cast(Application, app), limits_of(config))
    try:
        port = await server.start(config.api_host, config.api_port)
    except OSError as error:
        raise _cannot_listen(config, error) from None
    emit("api.started", host=config.api_host, port=port, pid=os.getpid())
    await stop.wait()
    emit("api.stopping")
    app.state.service.stopping.set()
    await server.stop(seconds=DRAIN_SECONDS)


def limits_of(config: Config) -> Limits:
    """The bounds of the HTTP server. The bytes in flight must hold a few bodies of the largest
    size."""
    return Limits(
        connections=config.api_connections,
        body_bytes=config.payload_max_bytes,
        in_flight_bytes=max(64 * MIB, 4 * config.payload_max_bytes),
    )


__all__ = ["check_address", "limits_of", "serve"]
