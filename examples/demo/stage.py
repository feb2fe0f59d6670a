"""Set up the servers and services of the demo, and tear them down.

Two servers, an API, a reaper and two workers, all real processes with all their files in one
temporary directory. In all cases they are stopped in the reverse order. No LEASEQ_* variable of the
caller is used: the demo must not touch the caller's servers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
from msgspec import Struct

from examples.demo.mailbox import Mailbox
from examples.demo.processes import Service
from examples.demo.statements import STATEMENTS
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.schema import migrate

ROOT = Path(__file__).parents[2]
APP = "examples.orders:app"
LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 0.5
CONCURRENCY = 16
TASK_TYPES = 3
START_SECONDS = 30.0
POLL_SECONDS = 0.05


class DemoFailed(Exception):
    """The demo could not be played."""


class Stage(Struct, frozen=True):
    """The running services, and their places."""

    directory: Path
    postgres_url: str
    api_url: str
    services: list[Service]
    workers: list[Service]
    mailbox: Mailbox

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def reports(self) -> Path:
        return self.directory / "reports"


@contextmanager
def set_up() -> Iterator[Stage]:
    """Put everything up; takes about five seconds."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="leaseq-demo-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres, valkey = (
            PostgresServer(directory / "postgres"),
            ValkeyServer(directory / "valkey"),
        )
        for server in (postgres, valkey):
            stack.callback(server.destroy)
            server.start()
        asyncio.run(migrate(postgres.url))
        mailbox = stack.enter_context(Mailbox(free_port()).serving())
        port = free_port()
        stage = Stage(directory, postgres.url, f"http://127.0.0.1:{port}", [], [], mailbox)
        stage.data.mkdir()
        stack.callback(stop, stage.services)
        start_services(stage, environment(stage, redis_url=valkey.url, port=port))
        yield stage


def environment(stage: Stage, *, redis_url: str, port: int) -> dict[str, str]:
    """The environment of every service."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    return own | {
        "LEASEQ_POSTGRES_URL": stage.postgres_url,
        "LEASEQ_REDIS_URL": redis_url,
        "LEASEQ_API_PORT": str(port),
        "LEASEQ_LEASE_SECONDS": str(LEASE_SECONDS),
        "LEASEQ_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "LEASEQ_GRACE_SECONDS": "2",
        "LEASEQ_LOG_FORMAT": "json",
        "ORDERS_SMTP": stage.mailbox.address,
        "ORDERS_DATA": str(stage.data),
        "ORDERS_REPORTS": str(stage.reports),
    }


def start_services(stage: Stage, env: dict[str, str]) -> None:
    """Start the five, and wait until tasks would be taken and run."""

    def start(name: str, *arguments: str) -> Service:
        service = Service(
            name,
            arguments,
            env=env,
            cwd=ROOT,
            log=stage.directory / f"{name.replace(' ', '-')}.log",
        )
        stage.services.append(service)
        return service

    start("reaper", "reaper")
    for number in (1, 2):
        stage.workers.append(
            start(f"worker {number}", "worker", APP, "--concurrency", str(CONCURRENCY))
        )
    wait_until(lambda: types_known(stage.postgres_url), stage.services)
    start("api", "api")
    wait_until(lambda: serves(stage.api_url), stage.services)


def types_known(postgres_url: str) -> bool:
    """Whether both workers have started and registered their types."""
    with psycopg.connect(postgres_url) as conn:
        found = conn.execute(STATEMENTS["count_ready"]).fetchone()
    return found == (TASK_TYPES, 2)


def serves(api_url: str) -> bool:
    """Would the API take a task?"""
    try:
        return httpx.get(f"{api_url}/health/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], services: Sequence[Service]) -> None:
    """Wait for the condition. Raises `DemoFailed`, with its last words, if a service ends meanwhile
    or it takes too long."""
    give_up = time.monotonic() + START_SECONDS
    while not condition():
        for service in services:
            if service.ended:
                raise DemoFailed(f"{service.name} has ended:\n{service.last_words()}")
        if time.monotonic() > give_up:
            raise DemoFailed(
                f"the services were not ready within {START_SECONDS:.0f} s:\n{services[-1].last_words()}"
            )
        time.sleep(POLL_SECONDS)


def stop(services: list[Service]) -> None:
    """End all services, the last one first."""
    for service in reversed(services):
        service.stop()


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
