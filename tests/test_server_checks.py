"""A process refuses unsuitable servers, with all reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis.asyncio
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.errors import SchemaMismatch, ServerUnfit, ServerUnreachable
from leaseq.ledger.schema import LATEST
from leaseq.ledger.server import ServerSettings
from leaseq.observability.telemetry import WARNING, recorded, subscribe
from leaseq.server_checks.findings import check_postgres, check_redis, check_schema
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.servers import at, free_port, prepare, with_roles

SOUND = ServerSettings(
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    default_synchronous_commit="on",
    read_only="off",
    in_recovery=False,
    synchronous_standby_names="",
    standbys=0,
    version=180_001,
)
SOUND_POLICY = {
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "role": "master",
    "mode": "standalone",
    "product": "Valkey",
    "version": "9.0.1",
}


def test_sound_servers_are_not_complained_of() -> None:
    assert check_postgres(SOUND) == []
    for level in ("remote_write", "remote_apply"):
        assert check_postgres(replace(SOUND, default_synchronous_commit=level)) == []
    assert check_postgres(replace(SOUND, version=150_000)) == []
    assert check_schema(LATEST) == []
    assert check_redis(SOUND_POLICY) == []
    for version in ("6.2.0", "7.2.4", "8.4.0"):
        assert check_redis(SOUND_POLICY | {"version": version}) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"version": 140_010}, "PostgreSQL 14 is too old"),
        ({"fsync": "off"}, "set fsync = on"),
        ({"full_page_writes": "off"}, "set full_page_writes = on"),
        ({"synchronous_commit": "off"}, "although every session asks for on"),
        ({"default_synchronous_commit": "off"}, "set synchronous_commit = on"),
        ({"default_synchronous_commit": "local"}, "synchronous_commit is local for this role"),
        ({"in_recovery": True}, "this is a standby"),
        ({"read_only": "on"}, "default_transaction_read_only is on"),
    ],
)
def test_each_setting_of_postgres_that_breaks_a_promise(wrong: dict[str, Any], said: str) -> None:
    (finding,) = check_postgres(replace(SOUND, **wrong))
    assert finding.fatal
    assert said in finding.message
    assert ": " in finding.message, "what is wrong: what to do"


@pytest.mark.parametrize(
    ("wrong", "fatal", "said"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, True, "set maxmemory-policy noeviction"),
        ({"maxmemory_policy": "volatile-ttl"}, True, "set maxmemory-policy noeviction"),
        ({"maxmemory_policy": ""}, False, "make sure that it is noeviction"),
        ({"version": ""}, False, "let this user run INFO"),
        ({"aof_enabled": "0"}, False, "set appendonly yes"),
        ({"role": "slave"}, True, "this is a replica"),
        ({"mode": "cluster"}, True, "not supported yet"),
        ({"version": "6.0.16"}, True, "Redis 6.0.16 is too old"),
        ({"version": "5.0"}, True, "too old"),
    ],
)
def test_each_setting_of_redis_that_breaks_a_promise(
    wrong: dict[str, str], fatal: bool, said: str
) -> None:
    (finding,) = check_redis(SOUND_POLICY | wrong)
    assert finding.fatal is fatal
    assert said in finding.message
    assert ": " in finding.message


def test_each_server_fault_is_a_finding() -> None:
    assert (
        len(
            check_postgres(
                replace(
                    SOUND, fsync="off", full_page_writes="off", in_recovery=True, version=130_000
                )
            )
        )
        == 4
    )
    assert [f.fatal for f in check_postgres(SOUND, require_standby=True)] == [True]
    assert check_postgres(replace(SOUND, synchronous_standby_names="*"), require_standby=True) == []
    assert [f.message for f in check_schema(0)] == [
        "there is no schema of leaseq in this database: run `leaseq migrate`"
    ]
    assert "version 0" not in check_schema(0)[0].message


async def test_sound_servers_pass(config: Config) -> None:
    config = with_roles(config)
    with recorded(level=WARNING) as events:
        await require_usable_servers(config)
    assert events == []
    report = await inspect_servers(config)
    assert report.findings == []
    assert report.servers["postgres"].startswith("PostgreSQL ")
    assert report.servers["schema"] == f"version {LATEST} of {LATEST}"


@pytest.fixture
async def dispatch(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client
        await client.config_set("maxmemory-policy", "noeviction")


async def test_a_redis_that_evicts_is_refused(
    config: Config, dispatch: redis.asyncio.Redis
) -> None:
    await dispatch.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ServerUnfit, match="Redis: maxmemory-policy is allkeys-lru"):
        await require_usable_servers(config)


async def test_a_redis_without_a_file_is_a_warning(
    config: Config, own_valkey: ValkeyServer
) -> None:
    config = with_roles(config)
    async with redis.asyncio.Redis.from_url(own_valkey.url) as client:
        await client.config_set("appendonly", "no")
    with recorded(level=WARNING) as events:
        await require_usable_servers(replace(config, redis_url=own_valkey.url))
    assert [(e.name, e.fields["server"]) for e in events] == [("server.doubted", "redis")]


async def test_a_redis_that_is_away_is_a_warning_at_the_start_and_a_fault_in_a_check(
    config: Config,
) -> None:
    config = with_roles(config)
    away = replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with recorded(level=WARNING) as events:
        await require_usable_servers(away)
    assert [e.name for e in events] == ["dispatch.unreachable"]
    (finding,) = (await inspect_servers(away)).findings
    assert (finding.about, finding.fatal) == ("redis", True)


async def test_a_default_that_forgets_commits_is_refused(
    config: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    """Our own sessions ask for `on`, but a caller's own transaction would not."""
    await _alter_database(plain, "synchronous_commit", "off")
    with pytest.raises(ServerUnfit, match="synchronous_commit is off for this role and database"):
        await require_usable_servers(config)


async def test_a_read_only_database_is_refused(
    config: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    await _alter_database(plain, "default_transaction_read_only", "on")
    with pytest.raises(ServerUnfit, match="default_transaction_read_only is on"):
        await require_usable_servers(config)


async def test_a_schema_is_asked_for_where_it_is_not_ours_to_make(
    config: Config, own_postgres: PostgresServer
) -> None:
    # there are no roles yet
    empty = replace(config, postgres_url=own_postgres.url, handler_postgres_url=None)
    with pytest.raises(SchemaMismatch, match="run `leaseq migrate`"):
        await require_usable_servers(empty)
    await require_usable_servers(empty, migrates=True)
    assert (await inspect_servers(empty, migrates=True)).findings == []
    report = await inspect_servers(empty)
    assert [(finding.about, finding.fatal) for finding in report.findings] == [("schema", True)]
    assert "schema" not in report.servers, "what has a fault is not reported as found"


async def test_a_newer_schema_is_refused_by_both(
    config: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    await plain.execute(
        "insert into leaseq.migrations (version, name, checksum) values (999, 'from_the_future', 'x')"
    )
    with pytest.raises(SchemaMismatch, match="newer than this code"):
        await require_usable_servers(config, migrates=True)
    (finding,) = (await inspect_servers(config, migrates=True)).findings
    assert (finding.about, finding.fatal) == ("schema", True)


async def test_a_postgres_without_fsync_is_refused_with_everything_else(
    own_postgres: PostgresServer, config: Config
) -> None:
    async with await psycopg.AsyncConnection.connect(own_postgres.url, autocommit=True) as conn:
        await conn.execute("alter system set fsync = off")
        await conn.execute("alter system set full_page_writes = off")
        await conn.execute("select pg_reload_conf()")
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    with pytest.raises(ServerUnfit, match=r"fsync is off.*; Postgres: full_page_writes is off"):
        await require_usable_servers(
            replace(config, postgres_url=own_postgres.url, handler_postgres_url=None)
        )


async def test_a_postgres_that_comes_late_is_waited_for(
    own_postgres: PostgresServer, config: Config
) -> None:
    late = at(config, own_postgres.url)
    await prepare(own_postgres.url)
    await asyncio.to_thread(own_postgres.stop)
    told = asyncio.Event()
    unsubscribe = subscribe(lambda _: told.set(), level=WARNING)
    with recorded(level=WARNING) as events:
        waiting = asyncio.create_task(require_usable_servers(late, patience_seconds=30))
        await told.wait()
        await asyncio.to_thread(own_postgres.start)
        await waiting
    unsubscribe()
    waited = [e.name for e in events if e.name != "server.doubted"]
    assert waited == ["ledger.unreachable"], "one line, however long it takes"


async def test_a_postgres_that_never_comes_is_given_up(config: Config) -> None:
    away = replace(config, postgres_url=f"postgresql://127.0.0.1:{free_port()}/x")
    with recorded(level=WARNING) as events, pytest.raises(ServerUnreachable):
        await require_usable_servers(away, patience_seconds=1.2)
    assert [e.name for e in events] == ["ledger.unreachable"]


async def _alter_database(plain: psycopg.AsyncConnection[Any], setting: str, value: str) -> None:
    name = plain.info.dbname
    await plain.execute(f'alter database "{name}" set {setting} = {value}'.encode())
