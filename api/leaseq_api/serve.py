"""How the service runs and stops.

One process: granian's HTTP front end in Rust, the application on uvloop beside it. There is no parent process, so that
killing the process always frees its port. On SIGTERM or SIGINT held answers are given at once, no new connections are
taken, what is in flight has a few seconds to finish, then the engine is closed; a client that never finishes its request
cannot keep the process alive.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from ipaddress import ip_address

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid, ServerUnreachable
from leaseq.ledger.schema import require_schema
from leaseq.memory import spare_the_collector
from leaseq.telemetry import emit
from leaseq_api.app import create_app

BACKLOG = 1024
DRAIN_SECONDS = 5.0
HEADER_SECONDS = 10.0
# Its errors go where every other record goes, and not to a stream of its own.
GRANIAN_LOGS = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}


def serve(config: Config, *, insecure: bool = False) -> None:
    """Serve in the foreground until SIGTERM or SIGINT.

    Raises `ConfigInvalid` where the address may not be used, `ServerUnreachable` where Postgres is away at the
    start, `SchemaMismatch` where the schema is not this code's; each in one line.
    """
    port = check_address(config, insecure=insecure)
    uvloop.run(_serve(replace(config, api_port=port)))


def check_address(config: Config, *, insecure: bool) -> int:
    """The port to listen on: the one of the configuration, or a free one if that is 0.

    Raises `ConfigInvalid` for an address that others can reach (without `insecure`), and for a port that is taken.
    """
    if not insecure and not _is_loopback(config.api_host):
        raise ConfigInvalid(
            f"LEASEQ_API_HOST={config.api_host} is open to others, and this service asks nobody for a key: "
            "serve on 127.0.0.1, or allow it with --insecure"
        )
    # The HTTP server shares its port with whoever else asks to (SO_REUSEPORT): a second one would go unnoticed.
    family = socket.AF_INET6 if ":" in config.api_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.api_host, config.api_port))
        except OSError as error:
            where = f"LEASEQ_API_HOST={config.api_host}, LEASEQ_API_PORT={config.api_port}"
            raise ConfigInvalid(f"cannot listen on {where}: {error.strerror}; choose another port or address") from None
        port: int = probe.getsockname()[1]
        return port


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
    # The lifespan is ours and not the HTTP server's: an error at the start is ours to tell, and the engine is closed
    # even if a connection refuses to end.
    async with app.lifespan():
        spare_the_collector()
        await _run_until(stop, app, config)
    emit("api.stopped")


async def _run_until(stop: asyncio.Event, app: Litestar, config: Config) -> None:
    server = Server(
        app,
        address=config.api_host,
        port=config.api_port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=int(HEADER_SECONDS * 1000)),
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.error,
        log_dictconfig=GRANIAN_LOGS,
        log_access=False,
    )
    serving = asyncio.create_task(server.serve())
    emit("api.started", host=config.api_host, port=config.api_port, pid=os.getpid())
    told = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not serving.done():
        emit("api.stopping")
        app.state.service.stopping.set()
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=DRAIN_SECONDS)
    if not serving.done():
        serving.cancel()
        await asyncio.wait({serving})
    elif not stop.is_set():
        await serving
        raise ServerUnreachable(f"the HTTP server on port {config.api_port} ended by itself")


__all__ = ["check_address", "serve"]
