"""The real Postgres and Valkey servers of the tests.

One of each per session, a fresh database per test (cloned from a template with the migrations
applied) and an emptied Valkey. A test that kills a server takes one of its own. By default the
embedded servers; LEASEQ_TEST_POSTGRES_BIN (a directory) and LEASEQ_TEST_REDIS_SERVER (a program)
choose others, and LEASEQ_TEST_CONTAINERS=1 takes the session's servers from containers where Docker
answers. The head of the test report says which ones are used.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from msgspec import Struct, structs
from psycopg import sql
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from leaseq.config import Config
from leaseq.connections import primary
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.roles import HANDLER, SERVICE, RoleNames, as_role, grant
from leaseq.ledger.schema import migrate
from support.clusters import made_once
from support.memory import in_memory

TEMPLATE = "leaseq_template"
POSTGRES_IMAGE = "postgres:18"
VALKEY_IMAGE = "valkey/valkey:9"
# Of which kinds a pair is tested: the one that this test run is about, and Debian's Redis where
# there is one.
REDIS_PROGRAMS = sorted(
    {
        os.environ.get("LEASEQ_TEST_REDIS_SERVER", ""),
        *filter(os.path.exists, ["/usr/bin/redis-server"]),
    }
)
ROLE_PASSWORD = "only for tests"
ROLE_URLS = {"postgres_url": SERVICE, "handler_postgres_url": HANDLER}
ON_EFFECTS = (
    "alter default privileges in schema public grant all on tables",
    "alter default privileges in schema public grant all on sequences",
)
# Settings that hosters and careful administrators choose for such roles.
HOSTILE_DEFAULTS = {
    "default_transaction_isolation": "serializable",
    "idle_in_transaction_session_timeout": "1s",
    "lock_timeout": "1s",
    "statement_timeout": "2s",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "client_min_messages": "error",
}
_numbers = itertools.count(1)
_admins: dict[str, str] = {}  # who the superuser of a server is, by host and port


def pytest_configure() -> None:
    """Let a SIGTERM end the run the way a Ctrl-C does, so that the servers are stopped.

    What tests start inherits signals that are ignored, as under nohup and in the background of a
    shell.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_report_header() -> str:
    if _containers():
        return f"servers: containers {POSTGRES_IMAGE} and {VALKEY_IMAGE}"
    asked = (
        " (LEASEQ_TEST_CONTAINERS is set, but Docker does not answer)"
        if _containers_asked()
        else ""
    )
    roles = ", under roles of its own" if under_roles() else ""
    return f"servers: Postgres {_bin_dir() or 'embedded'}, Redis {_redis_program() or 'embedded Valkey'}{roles}{asked}"


@pytest.fixture(scope="session")
def session_postgres(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of the session's Postgres, whose database `leaseq_template` has every migration
    applied."""
    if _containers():
        with _postgres_container() as url:
            _make_template(url)
            yield url
        return
    files = request.getfixturevalue("session_cluster")
    with _copy_of(files, tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the session's Valkey or Redis."""
    with (
        _valkey_container()
        if _containers()
        else _valkey_server(tmp_path_factory.mktemp("valkey")) as url
    ):
        yield url


@pytest.fixture
def postgres_url(session_postgres: str) -> Iterator[str]:
    """A fresh database with the schema in it, gone after the test."""
    with _database(session_postgres) as url:
        yield url


@pytest.fixture
def other_postgres_url(session_postgres: str) -> Iterator[str]:
    """A second database of that kind, whose ledger is another one. (Databases from one template are
    copies of one ledger.)"""
    with _database(session_postgres) as url:
        with _admin(url) as admin:
            admin.execute("update leaseq.ledger set id = gen_random_uuid()")
        yield url


@pytest.fixture
def redis_url(session_redis: str) -> str:
    """The session's Valkey, emptied, its scripts forgotten."""
    with redis.Redis.from_url(session_redis) as client:
        client.flushall()
        client.script_flush()
    return session_redis


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a Postgres that was made and stopped, to be copied: initdb takes more than a
    second of CPU."""
    with made_once("cluster", tmp_path_factory, _server_in, lambda _: None) as files:
        yield files


@pytest.fixture(scope="session")
def cluster_with_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, with every migration applied."""

    def make(url: str) -> None:
        _outside_the_loop(lambda: asyncio.run(prepare(url)))

    with made_once("cluster_with_schema", tmp_path_factory, _server_in, make) as files:
        yield files


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the session's Postgres, with the template of its databases.

    Its system identifier is another one than that of the servers that tests start: those fail over,
    and a process remembers the timelines of each system.
    """
    with made_once("session", tmp_path_factory, _server_in, _make_template) as files:
        yield files


@pytest.fixture
def own_postgres(cluster: Path, tmp_path: Path) -> Iterator[PostgresServer]:
    """A running Postgres (no schema yet) that a test may stop, kill and start as it likes."""
    with _copy_of(cluster, tmp_path / "own_postgres") as server:
        yield server


@contextmanager
def _copy_of(cluster: Path, directory: Path) -> Iterator[PostgresServer]:
    """A running Postgres with these files.

    Those of one session have one system identifier, so that timelines which a test before has seen
    must be forgotten.
    """
    primary._timelines.clear()
    server = new_postgres(directory)
    subprocess.run(
        ["cp", "-a", cluster / "data", cluster / "password", server.directories.files], check=True
    )
    server.start()
    try:
        yield server
    finally:
        server.destroy()


class Pair(Struct, frozen=True):
    """A primary and its streaming standby, with the schema of leaseq in them."""

    primary: PostgresServer
    standby: PostgresServer

    def synchronous(self, names: str = "*") -> None:
        """Let each commit of the primary wait for these standbys (none of them: an empty
        string)."""
        with _admin(self.primary.url) as admin:
            admin.execute(sql.SQL("alter system set synchronous_standby_names = {}").format(names))
            admin.execute("select pg_reload_conf()")

    @property
    def urls(self) -> tuple[str, str]:
        """Of the primary and of the standby, with one password for both."""
        return self.primary.url, self.standby.url

    def both(self, *, first: str = "primary", attributes: str = "") -> str:
        """A URL with both hosts in it; `attributes` is what follows the question mark."""
        one, other = map(urlsplit, self.urls if first == "primary" else self.urls[::-1])
        hosts = f"{one.netloc},{other.hostname}:{other.port}"
        return urlunsplit(one._replace(netloc=hosts, query=attributes))

    def cut_off(self) -> None:
        """Stop the standby without an error on the primary: SIGSTOP to its WAL receiver."""
        self._to_receivers(signal.SIGSTOP)

    def rejoin(self) -> None:
        """The standby receives again."""
        self._to_receivers(signal.SIGCONT)

    def _to_receivers(self, number: signal.Signals) -> None:
        with _admin(self.standby.url) as admin:
            for (pid,) in admin.execute(
                "select pid from pg_stat_activity where backend_type = 'walreceiver'"
            ).fetchall():
                os.kill(pid, number)


@pytest.fixture
def pair(cluster_with_schema: Path, tmp_path: Path) -> Iterator[Pair]:
    """A primary with the schema, and a streaming standby; commits wait for it only on request."""
    standby = new_postgres(tmp_path / "standby")
    with _copy_of(cluster_with_schema, tmp_path / "primary") as server:
        try:
            standby.start_standby(server)
            yield Pair(server, standby)
        finally:
            server.thaw()
            standby.thaw()
            standby.destroy()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A running Valkey that a test may stop, kill and start as it likes."""
    server = new_valkey(tmp_path / "own_valkey")
    server.start()
    yield server
    server.destroy()


@pytest.fixture(params=REDIS_PROGRAMS)
def redis_pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisPair]:
    """A primary and a replica of it: of the kind this test run is about, and of Debian's Redis
    where there is one."""
    servers = [
        ValkeyServer(
            tmp_path / name, free_port(), binary=Path(request.param) if request.param else None
        )
        for name in ("first", "second")
    ]
    try:
        for server in servers:
            server.start()
        pair = RedisPair(*servers)
        pair.follow(pair.second, pair.first)
        pair.wait_for_copy(pair.second)
        yield pair
    finally:
        for server in servers:
            server.destroy()


def _make_template(url: str) -> None:
    with _admin(url) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    _outside_the_loop(lambda: asyncio.run(_prepare_template(url)))


async def _prepare_template(url: str) -> None:
    """The schema and the roles, also in a run that does not use them."""
    template = _database_url(url, TEMPLATE)
    await migrate(template)
    await _make_roles(template)


async def prepare(url: str) -> None:
    """The schema on a server of the test's own, and the roles in a run that uses them."""
    await migrate(url)
    if under_roles():
        await _make_roles(url)


async def _make_roles(url: str) -> None:
    """The roles of leaseq with their rights; tables that a test makes as superuser are for handlers
    too."""
    await grant(url, RoleNames())
    with _admin(url) as admin:
        for role in (SERVICE, HANDLER):
            admin.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(ROLE_PASSWORD)
                )
            )
            for name, value in HOSTILE_DEFAULTS.items() if under_roles() else ():
                words = {
                    "role": sql.Identifier(role),
                    "name": sql.Identifier(name),
                    "value": sql.Literal(value),
                }
                admin.execute(sql.SQL("alter role {role} set {name} = {value}").format(**words))
        admin.execute(
            sql.SQL("grant set on parameter deadlock_timeout to {}").format(sql.Identifier(SERVICE))
        )
        for right in ("grant create, usage on schema public", *ON_EFFECTS):
            admin.execute(sql.SQL(right + " to {}").format(sql.Identifier(HANDLER)))


def under_roles() -> bool:
    """Whether services and handlers use roles of their own in this run, with defaults that hosters
    choose (make test-compat)."""
    return os.environ.get("LEASEQ_TEST_ROLES") == "1"


def with_roles(config: Config) -> Config:
    """The same database for the roles of services and handlers."""
    url = str(config.postgres_url)
    urls = {name: as_role(url, role, ROLE_PASSWORD) for name, role in ROLE_URLS.items()}
    return structs.replace(config, **urls)


def at(config: Config, url: str) -> Config:
    """The configuration with another address of Postgres: of a server of the test's own (see
    `prepare`), a proxy or a pooler.

    In a run under roles, services and handlers go there as their roles, otherwise both as the user
    of `url`.
    """
    parts = urlsplit(url)
    if parts.username not in ROLE_URLS.values():
        _admins[parts.netloc.rpartition("@")[2]] = parts.netloc
    there = structs.replace(config, postgres_url=url, handler_postgres_url=None)
    return with_roles(there) if under_roles() else there


def admin_url(config: Config) -> str:
    """The URL of the same database for its superuser."""
    parts = urlsplit(str(config.postgres_url))
    return urlunsplit(
        parts._replace(netloc=_admins.get(parts.netloc.rpartition("@")[2], parts.netloc))
    )


@asynccontextmanager
async def person(config: Config) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A session of a person, in a transaction from its first statement on. Its locks are free when
    the block ends at the latest, and not before: no default of a service's role ends it."""
    async with await psycopg.AsyncConnection.connect(
        admin_url(config), application_name="psql"
    ) as conn:
        yield conn


@pytest.fixture
def config(postgres_url: str, redis_url: str, tmp_path: Path) -> Config:
    """Both servers, and times short enough to wait for."""
    superuser = Config(
        postgres_url=postgres_url,
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        lease_seconds=1.0,
        heartbeat_seconds=0.2,
        loop_stall_seconds=5,
        concurrency=10,
        grace_seconds=5,
        backoff_base_seconds=0.05,
        backoff_cap_seconds=1,
        hand_back_base_seconds=0.2,
        reap_interval_seconds=0.1,
        promote_interval_seconds=0.05,
        reconcile_interval_seconds=0.2,
        statement_timeout_seconds=5,
    )
    return at(superuser, postgres_url)


class RedisPair:
    """A primary and its replica, with one password."""

    def __init__(self, first: ValkeyServer, second: ValkeyServer) -> None:
        self.first = first
        self.second = second
        self.password = urlsplit(first.url).password or ""
        with redis.Redis.from_url(second.url) as client:
            client.config_set("requirepass", self.password)
        for server in (first, second):
            with self.client(server) as client:
                client.config_set("masterauth", self.password)
                client.config_set("repl-diskless-sync-delay", "0")

    def url(self, server: ValkeyServer) -> str:
        """Past every proxy."""
        return f"redis://:{self.password}@127.0.0.1:{server.port}/0"

    def client(self, server: ValkeyServer) -> redis.Redis:
        client: redis.Redis = redis.Redis.from_url(self.url(server))
        return client

    def follow(self, replica: ValkeyServer, primary: ValkeyServer) -> None:
        """Make one a replica of the other. It lives on, and keeps its connections."""
        with self.client(replica) as client:
            client.replicaof("127.0.0.1", primary.port)

    def promote(self, replica: ValkeyServer) -> None:
        """Let a replica take writes. Its primary does so too, until it follows."""
        with self.client(replica) as client:
            client.replicaof("NO", "ONE")

    def wait_for_copy(self, replica: ValkeyServer) -> None:
        """Wait until a replica has all that its primary has had until now."""
        deadline = time.monotonic() + 60
        primary = self.first if replica is self.second else self.second
        with self.client(primary) as client:
            written = client.info("replication")["master_repl_offset"]
        with self.client(replica) as client:
            while (has := client.info("replication")).get("master_link_status") != "up" or has[
                "slave_repl_offset"
            ] < written:
                assert time.monotonic() < deadline, "the replica did not get its copy"
                time.sleep(0.05)


def new_postgres(directory: Path) -> PostgresServer:
    """A server on a free TCP port, of the kind this test run is about; not started."""
    return _server_in(in_memory(directory))


def _server_in(directory: Path) -> PostgresServer:
    return PostgresServer(directory, free_port(), bin_dir=_bin_dir())


def new_valkey(directory: Path) -> ValkeyServer:
    """A server on a free TCP port, of the kind this test run is about; not started."""
    return ValkeyServer(directory, free_port(), binary=_redis_program())


def free_port() -> int:
    """A free TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _database(postgres: str) -> Iterator[str]:
    name = f"leaseq_test_{next(_numbers)}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(TEMPLATE)}
    with _admin(postgres) as admin:
        admin.execute(
            sql.SQL("create database {name} template {template} strategy file_copy").format(**names)
        )
        # The role is called leaseq, so that "$user" would put the tables of tests into our schema
        # (test_hosted.py).
        admin.execute(sql.SQL("alter database {name} set search_path = public").format(**names))
    yield _database_url(postgres, name)
    with _admin(postgres) as admin:
        admin.execute(sql.SQL("drop database {name} with (force)").format(**names))


@contextmanager
def _valkey_server(directory: Path) -> Iterator[str]:
    server = new_valkey(directory)
    try:
        server.start()
        yield server.url
    finally:
        server.destroy()


@contextmanager
def _postgres_container() -> Iterator[str]:
    container = (
        DockerContainer(POSTGRES_IMAGE)
        .with_env("POSTGRES_PASSWORD", "leaseq")
        .with_exposed_ports(5432)
    )
    with container as running:
        # The image starts the server twice: once to set it up, once to serve.
        wait_for_logs(running, r"(?s)(ready to accept connections.*){2}", timeout=60)
        yield f"postgresql://postgres:leaseq@{running.get_container_host_ip()}:{running.get_exposed_port(5432)}/postgres"


@contextmanager
def _valkey_container() -> Iterator[str]:
    container = DockerContainer(VALKEY_IMAGE).with_exposed_ports(6379)
    with container.with_command(
        "valkey-server --appendonly yes --save '' --maxmemory-policy noeviction"
    ) as running:
        wait_for_logs(running, "Ready to accept connections", timeout=60)
        yield f"redis://{running.get_container_host_ip()}:{running.get_exposed_port(6379)}/0"


def _containers_asked() -> bool:
    return os.environ.get("LEASEQ_TEST_CONTAINERS") == "1"


def _containers() -> bool:
    if not _containers_asked() or not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _bin_dir() -> Path | None:
    named = os.environ.get("LEASEQ_TEST_POSTGRES_BIN")
    return Path(named) if named else None


def _redis_program() -> Path | None:
    named = os.environ.get("LEASEQ_TEST_REDIS_SERVER")
    return Path(named) if named else None


def _admin(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def _database_url(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _outside_the_loop(work: Callable[[], object]) -> None:
    """In a thread, because an async test may already own this one's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()
