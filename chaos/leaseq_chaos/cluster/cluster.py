"""The cluster of a run: two stores, some services, and a proxy on each connection.

Each service reaches each store through a proxy of its own, and the clients reach each API through
one, so that any one way can be cut while the others hold. Everything is ended and deleted when the
block ends in any way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from leaseq_chaos.cluster.disks import small_disk
from leaseq_chaos.cluster.ports import free_port
from leaseq_chaos.cluster.proxy import Proxy
from leaseq_chaos.cluster.service import Command, Service
from leaseq_chaos.cluster.stores import Postgres, Valkey

__all__ = ["STORES", "Cluster", "Layout", "open_cluster"]

STORES = ("postgres", "valkey")
READY_EVENTS = {"api": "api.started", "worker": "worker.opened", "reaper": "reaper.started"}
HANDLERS = "leaseq_chaos.rogues:app"
DISK_MEBIBYTES = {"valkey": 64, "postgres": 768}


class Layout(Struct, frozen=True, kw_only=True):
    """How many of what, and how they are set up."""

    evidence: Path  # the run directory: history/ and logs/ lie in it
    config: Mapping[str, str]  # LEASEQ_* of every service, without the URLs
    workers: int = 2
    processes: int = 2  # children of each worker
    apis: int = 1
    reapers: int = 1
    tree: Path | None = None  # the source that is run; None: the installed one
    other_tree: Path | None = None  # another version of it, to be mixed in
    failpoints: Path | None = None  # a directory that arms failpoints in the services
    # tenants that get an API key each; none: the APIs ask for no key
    tenants: Sequence[str] = ()
    disks: bool = False  # put each store on a small disk of its own, where this machine lets us


class Cluster:
    """The system under test."""

    def __init__(self, layout: Layout, *, postgres: Postgres, valkey: Valkey) -> None:
        self.layout = layout
        self.timelines = [postgres]  # every primary that the ledger has had, the present one last
        self.valkey = valkey
        # held while the ledger moves to another server: writes to the old one may be lost
        self.moving = asyncio.Lock()
        self.former: list[Valkey] = []  # primaries of dispatch that were replaced and live on
        self.services: dict[str, Service] = {}
        self.proxies: dict[str, Proxy] = {}  # "postgres@worker-1", "valkey@reaper-2", "api@api-1"
        # store -> mount point, where it has a small disk of its own
        self.disks: dict[str, Path] = {}
        self.no_disks = ""  # why `disks` lacks a store
        self.home_of_valkey = valkey.directory
        self.keys: dict[str, str] = {}  # an API key for each tenant of the layout
        self._numbers = {kind: count(1) for kind in READY_EVENTS}
        self._servers = count(2)

    @property
    def postgres(self) -> Postgres:
        """The present primary of the ledger."""
        return self.timelines[-1]

    @property
    def lease_seconds(self) -> float:
        return float(self.layout.config["LEASEQ_LEASE_SECONDS"])

    @property
    def history(self) -> Path:
        return self.layout.evidence / "history"

    @property
    def fronts(self) -> list[str]:
        """The URLs of the APIs, through their proxies."""
        return [
            f"http://127.0.0.1:{self.proxies[f'api@{api.name}'].port}" for api in self.of("api")
        ]

    def of(self, kind: str) -> list[Service]:
        """The services of a kind, by name."""
        return sorted(
            (service for service in self.services.values() if service.kind == kind),
            key=lambda service: service.name,
        )

    def links(self, store: str, service: Service | None = None) -> list[Proxy]:
        """The proxies to a store (or, for "api", in front of the APIs): of one service, or of
        all."""
        if service is not None:
            return [self.proxies[f"{store}@{service.name}"]]
        return [self.proxies[name] for name in sorted(self.proxies) if name.startswith(f"{store}@")]

    async def add(
        self, kind: str, *, tree: Path | None = None, arguments: Sequence[str] = ()
    ) -> Service:
        """Start one more service; not waited for. `tree` takes another version of the source,
        `arguments` are added."""
        name = f"{kind}-{next(self._numbers[kind])}"
        env = (
            _environment() | dict(self.layout.config) | {"LEASEQ_CHAOS_HISTORY": str(self.history)}
        )
        if kind == "api" and self.keys:
            # not in the layout: services of an older version do not know it
            env["LEASEQ_API_AUTH"] = "keys"
        if self.layout.failpoints is not None:
            env["LEASEQ_CHAOS_FAILPOINTS"] = str(self.layout.failpoints)
        for store, server in (("postgres", self.postgres), ("valkey", self.valkey)):
            proxy = await self._proxy(f"{store}@{name}", server.port)
            variable = "LEASEQ_POSTGRES_URL" if store == "postgres" else "LEASEQ_REDIS_URL"
            env[variable] = _through(proxy, server.url)
        command = Command(
            name=name,
            kind=kind,
            arguments=[*await self._arguments(kind, name), *arguments],
            env=env,
            ready_event=READY_EVENTS[kind],
            tree=tree or self.layout.tree,
        )
        service = self.services[name] = Service(command, logs=self.layout.evidence / "logs")
        await service.start()
        return service

    def lead(self, store: str, port: int) -> None:
        """The address of a store moves: new connections go to another server, open ones stay."""
        for proxy in self.links(store):
            proxy.lead_to(port)

    def next_directory(self, store: str) -> Path:
        """Where one more server of this kind may keep its files: beside the first one, on the same
        disk."""
        first = self.timelines[0].directory if store == "postgres" else self.home_of_valkey
        return first.with_name(f"{first.name}-{next(self._servers)}")

    async def remove(self, service: Service) -> None:
        """End a service permanently, and close its proxies."""
        del self.services[service.name]
        await service.destroy()
        for name in [name for name in self.proxies if name.endswith(f"@{service.name}")]:
            await self.proxies.pop(name).aclose()

    async def heal(self) -> None:
        """Repair everything that is still broken, and wait until everything is ready."""
        for proxy in self.proxies.values():
            proxy.clear()
        await self.seal()
        self.postgres.thaw()
        self.valkey.thaw()
        await self.postgres.start()
        await self.valkey.start()
        for service in self.services.values():
            service.release()
        await asyncio.gather(*(service.ready() for service in self.services.values()))

    async def seal(self) -> None:
        """End all sessions of former primaries: no address leads to them any more, so nothing is
        committed there from now on.

        Former primaries of dispatch are destroyed; those of the ledger stay, to be read to their
        end.
        """
        for valkey in self.former:
            await valkey.destroy()
        self.former.clear()
        for old in self.timelines[:-1]:
            if not old.sealed:
                await old.seal()

    async def aclose(self) -> None:
        """End every service, then every proxy, then the servers that came in the place of
        others."""
        await asyncio.gather(*(service.destroy() for service in self.services.values()))
        await asyncio.gather(*(proxy.aclose() for proxy in self.proxies.values()))
        for postgres in self.timelines:
            await postgres.destroy()
        for valkey in (self.valkey, *self.former):
            await valkey.destroy()

    async def _arguments(self, kind: str, name: str) -> list[str]:
        if kind == "worker":
            return ["worker", HANDLERS, "--processes", str(self.layout.processes)]
        if kind == "api":
            port = free_port()
            await self._proxy(f"api@{name}", port)
            return ["api", "--port", str(port)]
        return ["reaper"]

    async def _proxy(self, name: str, port: int) -> Proxy:
        proxy = self.proxies[name] = Proxy(name, port)
        await proxy.start()
        return proxy


@asynccontextmanager
async def open_cluster(layout: Layout) -> AsyncIterator[Cluster]:
    """Start everything and wait until it is ready; end and delete everything but the evidence
    afterwards."""
    for part in ("history", "logs"):
        (layout.evidence / part).mkdir(parents=True, exist_ok=True)
    home = _home()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        disks, reason = (
            _small_disks(stack, home)
            if layout.disks
            else ({}, "the run was not asked for small disks")
        )
        postgres = Postgres(disks.get("postgres", home) / "postgres")
        valkey = Valkey(disks.get("valkey", home) / "valkey")
        stack.push_async_callback(postgres.destroy)
        stack.push_async_callback(valkey.destroy)
        await asyncio.gather(postgres.create(), valkey.start())
        cluster = Cluster(layout, postgres=postgres, valkey=valkey)
        cluster.disks, cluster.no_disks = disks, reason
        stack.push_async_callback(cluster.aclose)
        await _migrate(cluster)
        cluster.keys = {tenant: await _issue_key(cluster, tenant) for tenant in layout.tenants}
        # Workers first: an API that starts later knows the limits of every task type from its first
        # answer on.
        for counts in ({"reaper": layout.reapers, "worker": layout.workers}, {"api": layout.apis}):
            for kind, number in counts.items():
                for _ in range(number):
                    await cluster.add(kind)
            await asyncio.gather(*(service.ready() for service in cluster.services.values()))
        yield cluster


def _home() -> Path:
    # Below /var/tmp: Postgres under root runs as another account, which must be able to walk there.
    home = Path(tempfile.mkdtemp(prefix="leaseq-chaos-", dir="/var/tmp"))
    home.chmod(0o711)
    return home


def _small_disks(stack: AsyncExitStack, home: Path) -> tuple[dict[str, Path], str]:
    disks, reason = {}, ""
    for store, mebibytes in DISK_MEBIBYTES.items():
        mount_point = home / f"{store}-disk"
        refused = stack.enter_context(small_disk(mount_point, mebibytes=mebibytes))
        if refused is None:
            disks[store] = mount_point
        reason = refused or reason
    return disks, reason


async def _migrate(cluster: Cluster) -> None:
    """`leaseq migrate`, as in a deploy."""
    await _run_once(cluster, "migrate", ["migrate"])


async def _issue_key(cluster: Cluster, tenant: str) -> str:
    """An API key of a tenant, as an operator creates it. The evidence has its text."""
    await _run_once(cluster, f"tenant-{tenant}", ["tenants", "create", tenant])
    scopes = "submit,read,payloads,operate"
    said = await _run_once(
        cluster,
        f"key-{tenant}",
        ["keys", "create", f"chaos-{tenant}", "--scopes", scopes, "--tenant", tenant],
    )
    return next(line for line in said.split() if line.startswith("lq_"))


async def _run_once(cluster: Cluster, name: str, arguments: list[str]) -> str:
    """Run a command to its end; returns its standard output."""
    env = _environment() | dict(cluster.layout.config)
    env |= {"LEASEQ_POSTGRES_URL": cluster.postgres.url, "LEASEQ_REDIS_URL": cluster.valkey.url}
    command = Command(
        name=name,
        kind="",
        arguments=arguments,
        env=env,
        ready_event="",
        tree=cluster.layout.tree,
    )
    return await Service(command, logs=cluster.layout.evidence / "logs").run_once()


def _environment() -> dict[str, str]:
    """The properties of the machine, without those of leaseq."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}


def _through(proxy: Proxy, url: str) -> str:
    """The URL of a server with the address of a proxy in it."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}"))
