"""The resources that all routes of one process share.

They are opened and closed with the application: the engine, the copy of the task types, and the
event that announces the stop of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import Scope

from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.fair_turns import FairTurns
from leaseq.ledger.operation_log import Actor
from leaseq.ledger.schema import require_schema
from leaseq.loop import end, run_forever
from leaseq.operations.bulk.bulk_operator import BulkOperator
from leaseq.operations.engine import Engine
from leaseq.operations.known_types import KnownTypes
from leaseq.operations.lists import Lists, open_lists
from leaseq.operations.open_engine import open_engine
from leaseq.operations.operator import Operator
from leaseq.operations.tenant_client import TenantClient
from leaseq.operations.wait import Pace
from leaseq_api.address import keys_required
from leaseq_api.follow.held import Held
from leaseq_api.quotas.applied_quotas import AppliedQuotas
from leaseq_api.quotas.request_rates import RequestRates
from leaseq_api.security.authenticate import Authenticator
from leaseq_api.security.key_ring import KeyRing
from leaseq_api.security.principal import principal_of
from leaseq_api.security.sessions import Sessions
from leaseq_api.shared_check import SharedCheck
from leaseq_api.shared_overview import SharedOverview
from leaseq_api.shared_reads import SharedReads
from leaseq_api.shared_statistics import SharedStatistics
from leaseq_api.ui.redactor import Redactor
from leaseq_api.usual_runs import UsualRuns

# One writer batches all submissions; the other connections are for reads.
POOL_SIZE = 8
BATCH_TURNS = 2
# The schema is checked through a separate connection, so that clients cannot occupy it.
SCHEMA_SECONDS = 5.0
# Held answers whose key has ended are looked for this often.
WITHDRAWN_SECONDS = 1.0
# Of the looks at all tasks that clients wait for. Many clients share one process, so it looks more
# often than a program that waits for its own tasks. Where a look takes long, because there are
# thousands of tasks or because Postgres is busy, looks take a tenth of its time at most.
PACE = Pace(seconds=0.03, share=10.0)


class Service:
    """The resources of a route."""

    def __init__(self, config: Config, engine: Engine, lists: Lists, types: KnownTypes) -> None:
        self.config = config
        self.engine = engine
        self._clients: dict[str | None, TenantClient] = {}
        self.lists = lists
        self.types = types
        # Set when the process is asked to stop: routes that hold an answer back then give it.
        self.stopping = asyncio.Event()
        keys = KeyRing(engine.access) if keys_required(config) else None
        self.sessions = Sessions(engine.access, insecure=config.ui_cookie_insecure)
        self.authenticator = Authenticator(keys, engine.access, self.sessions)
        self.rates = RequestRates(engine.quotas)
        self.quotas = AppliedQuotas(engine.quotas)
        self.overview = SharedOverview(engine.overview_reader(lists))
        self.statistics = SharedStatistics(lists)
        self.reads = SharedReads()
        self.check = SharedCheck(config)
        self.usual_runs = UsualRuns(lists)
        self.redactor = Redactor(config.redact, types, lists)
        self.held = Held(config.api_connections)
        # Batches that are being received, recorded or answered; and the turns in which their
        # chunks are written, so that connections remain for lone submissions and for reads.
        self.batches = 0
        self.batch_turns = FairTurns(BATCH_TURNS)
        # A group of items is parsed at a time, however many batches there are.
        self.parse_turns = FairTurns(1)
        self._schema_lock = asyncio.Lock()
        self._schema_checked = float("-inf")

    def tasks_of(self, scope: Scope) -> TenantClient:
        """The tasks that a request may see: the one place where the API binds a tenant."""
        tenant = principal_of(scope).tenant
        client = self._clients.get(tenant)
        if client is None:
            client = self._clients[tenant] = self.engine.for_tenant(tenant)
        return client

    def operator_of(self, scope: Scope) -> Operator:
        """The changes that a request may make. Each leaves a row in `leaseq.operations`."""
        principal = principal_of(scope)
        return self.engine.as_operator(
            Actor(name=principal.name, key_id=principal.key_id, tenant=principal.tenant)
        )

    def bulk_operator_of(self, scope: Scope) -> BulkOperator:
        """The operations on many tasks that a request may make."""
        principal = principal_of(scope)
        return self.engine.as_bulk_operator(
            Actor(name=principal.name, key_id=principal.key_id, tenant=principal.tenant)
        )

    async def check_again(self, scope: Scope) -> None:
        """Check the key of a request that has lasted for some time. Raises `Refused`, and
        `ServerUnreachable` where the ledger has to be asked and does not answer."""
        keys = self.authenticator.keys
        if keys is not None:
            await keys.check_again(principal_of(scope))

    def may_hold(self, scope: Scope) -> bool:
        """Whether a request may be held longer: the process does not stop, and the key is not known
        to be revoked. While the ledger is away this is not known, and nothing is sent."""
        keys = self.authenticator.keys
        if self.stopping.is_set():
            return False
        return keys is None or not keys.is_withdrawn(principal_of(scope))

    async def check_schema(self) -> None:
        """Raise `SchemaMismatch` if the schema has another version. Checked again after a few
        seconds, once for all callers."""
        async with self._schema_lock:
            now = asyncio.get_running_loop().time()
            if now - self._schema_checked >= SCHEMA_SECONDS:
                await require_schema(str(self.config.postgres_url))
                self._schema_checked = now


@asynccontextmanager
async def open_service(config: Config) -> AsyncIterator[Service]:
    """Connect within the block. Raises `ServerUnreachable` if Postgres is away at the start."""
    async with (
        open_engine(config, name="leaseq api", pool_size=POOL_SIZE) as engine,
        open_lists(config, name="leaseq api lists") as lists,
    ):
        engine.waiter.pace = PACE
        service = Service(config, engine, lists, engine.known_types())
        with suppress(ServerUnreachable):
            await service.types.refresh()
            await service.quotas.look()
        tasks = [
            asyncio.create_task(service.types.keep_fresh(stop=service.stopping)),
            asyncio.create_task(service.quotas.keep_fresh(stop=service.stopping)),
            asyncio.create_task(engine.bulk_runner.keep_working(stop=service.stopping)),
        ]
        keys = service.authenticator.keys
        if keys is not None:
            tasks.append(asyncio.create_task(keys.keep_fresh(stop=service.stopping)))
            tasks.append(asyncio.create_task(_end_what_keys_held(service, keys)))
        tasks.append(asyncio.create_task(_release_when_stopping(service)))
        try:
            yield service
        finally:
            service.stopping.set()
            await end(*tasks)
            if keys is not None:
                await keys.aclose()
            await service.rates.aclose()
            await service.quotas.aclose()


async def _end_what_keys_held(service: Service, keys: KeyRing) -> None:
    """Wake the streams and waits of keys that were revoked or have expired, so that they end."""

    async def wake() -> None:
        service.held.wake(keys.is_withdrawn)

    await run_forever(
        wake, name="withdrawn keys", interval_seconds=WITHDRAWN_SECONDS, stop=service.stopping
    )


async def _release_when_stopping(service: Service) -> None:
    """One task for all held answers: a task for each of thousands would cost more than they do."""
    await service.stopping.wait()
    service.engine.waiter.release()
    service.engine.feed.release()


def provide_service(request: Request[Any, Any, Any]) -> Service:
    """The service of the application that received a request."""
    service: Service = request.app.state.service
    return service


Injected = NamedDependency[Service]

__all__ = ["Injected", "Service", "open_service", "provide_service"]
