"""The servers of a run, in a temporary directory that is removed afterwards.

Every run begins with empty servers, so that none inherits the tables of another. They are the
embedded ones, as leaseq starts them automatically. No LEASEQ_* variable of the caller is used: the
benchmark must not touch the caller's servers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Identifier, Literal

from bench.lookout import Lookout, open_lookout
from bench.processes import Service
from bench.witness import Witness, open_witness
from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, remove_servers
from leaseq.ledger.schema import migrate
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine

APP = "bench.app:app"
SERVER = "postgres."
# The scopes of a client that submits and follows: an answer then holds what it holds without keys.
SCOPES = ("submit", "read", "payloads")


class Api(Struct, frozen=True):
    """One API process. `key`: the API key of its clients, if it asks for one."""

    service: Service
    port: int
    key: str | None

    @property
    def pid(self) -> int:
        return self.service.pid


class Stage:
    """The servers of one run, a client of them, and the services that were started on them."""

    def __init__(self, config: Config, *, postgres: PostgresServer, valkey: ValkeyServer) -> None:
        self.config = config
        self.services: list[Service] = []
        self._postgres = postgres
        self._valkey = valkey
        self.engine: Engine
        self.witness: Witness
        self.lookout: Lookout

    @property
    def postgres_pid(self) -> int:
        return self._postgres.pid or 0

    @property
    def valkey_pid(self) -> int:
        return self._valkey.pid or 0

    def restart_postgres(self, *, between: Callable[[], None]) -> None:
        """Stop Postgres, which takes its connections with it, and start it again."""
        self._postgres.stop()
        try:
            between()
        finally:
            self._postgres.start()

    def start(self, *arguments: str, config: Config | None = None, **options: Any) -> Service:
        """Start `leaseq ARGUMENTS`, with a `config` of its own where given; the caller waits for
        what it says. `options`: those of `Service`."""
        log = self.config.data_dir / f"{len(self.services):03d}-{arguments[0]}.log"
        service = Service(arguments, env=_environment(config or self.config), log=log, **options)
        self.services.append(service)
        return service

    async def worker(
        self, *, processes: int = 1, queues: Sequence[str] = (), concurrency: int | None = None
    ) -> Service:
        """A worker for bench/app.py, once its processes take tasks. Without `queues`: those of its
        handlers."""
        options = ["--processes", str(processes)]
        options += ["--queues", ",".join(queues)] if queues else []
        options += [] if concurrency is None else ["--concurrency", str(concurrency)]
        service = self.start("worker", APP, *options)
        await service.hear("worker.opened", count=processes)
        return service

    async def reaper(self) -> Service:
        """A reaper, once its passes run."""
        service = self.start("reaper")
        await service.hear("reaper.started")
        return service

    async def api(self, *, auth: str | None = None) -> Api:
        """An API, once it listens, on a port that the system chooses. `auth`: another value of
        api_auth than that of the configuration."""
        config = msgspec.structs.replace(self.config, api_port=0)
        if auth is not None:
            config = msgspec.structs.replace(config, api_auth=auth)
        key = None
        if config.api_auth == "keys":
            issued = await self.engine.access.create_key(
                "bench", scopes=SCOPES, tenant=None, expires_seconds=None
            )
            key = issued.text
        service = self.start("api", config=config)
        (started, *_) = await service.hear("api.started")
        return Api(service=service, port=started["port"], key=key)


@asynccontextmanager
async def set_up(settings: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Put up the servers, with `settings` (names of the configuration and values as text) instead
    of defaults. Those called `postgres.NAME` are for Postgres itself."""
    async with AsyncExitStack() as stack:
        data_dir = Path(tempfile.mkdtemp(prefix="leaseq-bench-"))
        stack.callback(shutil.rmtree, data_dir, ignore_errors=True)
        stack.callback(remove_servers, data_dir)
        postgres, valkey = PostgresServer(data_dir / "postgres"), ValkeyServer(data_dir / "valkey")
        postgres.start()
        valkey.start()
        of_server = {
            name.removeprefix(SERVER): value
            for name, value in settings.items()
            if name.startswith(SERVER)
        }
        if of_server:
            _configure(postgres, of_server)
        settings = {name: value for name, value in settings.items() if not name.startswith(SERVER)}
        given = {
            "postgres_url": postgres.url,
            "redis_url": valkey.url,
            "data_dir": str(data_dir),
        } | dict(settings)
        config = Config.from_env({f"LEASEQ_{name.upper()}": value for name, value in given.items()})
        await migrate(postgres.url)
        stage = Stage(config, postgres=postgres, valkey=valkey)
        stack.callback(_stop, stage.services)
        stage.engine = await stack.enter_async_context(open_engine(config, name="leaseq bench"))
        stage.witness = await stack.enter_async_context(open_witness(postgres.url))
        stage.lookout = await stack.enter_async_context(open_lookout(config))
        yield stage


def _configure(postgres: PostgresServer, settings: Mapping[str, str]) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as conn:
        for name, value in settings.items():
            conn.execute(SQL("alter system set {} = {}").format(Identifier(name), Literal(value)))
    postgres.stop()
    postgres.start()


def _environment(config: Config) -> dict[str, str]:
    """Only what differs from the defaults: a service of an older revision knows fewer settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    given = dict(config.to_env().items() - Config.from_env({}).to_env().items())
    return own | given | {"LEASEQ_LOG_FORMAT": "json"}


def _stop(services: list[Service]) -> None:
    """End all services, the last one first."""
    for service in reversed(services):
        service.stop()
