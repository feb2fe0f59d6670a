"""What every route of one process shares.

Opened with the application and closed with it: the engine, the copy of the task types, and the news that
the process is about to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.schema import require_schema
from leaseq.loop import end
from leaseq.model import DEFAULT_TENANT
from leaseq.operations.engine import Engine, open_engine
from leaseq.operations.known_types import KnownTypes
from leaseq.operations.lists import Lists, open_lists

# One writer gathers all submissions; the rest are for those who look things up.
POOL_SIZE = 8
# The schema is looked at through a connection of its own, which must not be had for the asking.
SCHEMA_SECONDS = 5.0


class Service:
    """What a route works with."""

    def __init__(self, config: Config, engine: Engine, lists: Lists, types: KnownTypes) -> None:
        self.config = config
        self.engine = engine
        # The one place where the API binds a tenant: it asks for no key yet that could name another one.
        self.tasks = engine.for_tenant(DEFAULT_TENANT)
        self.lists = lists
        self.types = types
        # Set when the process is told to stop: whoever holds an answer back gives it now.
        self.stopping = asyncio.Event()
        # Answers that are held until a task ends.
        self.held = 0
        self._schema_lock = asyncio.Lock()
        self._schema_checked = float("-inf")

    async def check_schema(self) -> None:
        """Raise `SchemaMismatch` if the schema is not this code's. Asked again after a few seconds, once for all who ask."""
        async with self._schema_lock:
            now = asyncio.get_running_loop().time()
            if now - self._schema_checked >= SCHEMA_SECONDS:
                await require_schema(str(self.config.postgres_url))
                self._schema_checked = now


@asynccontextmanager
async def open_service(config: Config) -> AsyncIterator[Service]:
    """Connect for as long as the block lasts. Raises `ServerUnreachable` if Postgres is away at the start."""
    async with (
        open_engine(config, name="leaseq api", pool_size=POOL_SIZE) as engine,
        open_lists(config, name="leaseq api lists") as lists,
    ):
        service = Service(config, engine, lists, engine.known_types())
        with suppress(ServerUnreachable):
            await service.types.refresh()
        refreshing = asyncio.create_task(service.types.keep_fresh(stop=service.stopping))
        try:
            yield service
        finally:
            service.stopping.set()
            await end(refreshing)


def provide_service(request: Request[Any, Any, Any]) -> Service:
    """The service of the application that a request reached."""
    service: Service = request.app.state.service
    return service


Injected = NamedDependency[Service]

__all__ = ["Injected", "Service", "open_service", "provide_service"]
