"""An embedded server is safe to use and to kill, and reports failed starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from msgspec.structs import replace

from leaseq.embedded import PostgresServer, ValkeyServer, segments
from leaseq.errors import ServerUnreachable
from support.embedded import count_pushes, count_visits
from support.servers import new_postgres


def test_a_killed_postgres_comes_back_with_its_data(own_postgres: PostgresServer) -> None:
    assert count_visits(own_postgres.url) == 1
    own_postgres.kill()
    assert own_postgres.pid is None
    own_postgres.start()
    assert count_visits(own_postgres.url) == 2


@pytest.mark.parametrize("killed_before", [False, True])
def test_a_removed_postgres_leaves_no_segment_in_the_kernel(
    own_postgres: PostgresServer, killed_before: bool
) -> None:
    """The kernel has room for 4,096 segments. When they are used up, no Postgres starts on that
    machine."""
    segment = segments.segment_in(own_postgres._pid_file, uid=own_postgres.directories.account.uid)
    assert segment is not None
    assert segments.exists(segment)
    if killed_before:
        own_postgres.kill()
        assert segments.exists(segment), "Postgres itself finds it at its next start"
    own_postgres.destroy()
    assert not segments.exists(segment)


def test_a_segment_that_is_in_use_stays(own_postgres: PostgresServer) -> None:
    segment = segments.segment_in(own_postgres._pid_file, uid=own_postgres.directories.account.uid)
    assert segment is not None
    segments.remove(segment)
    other = replace(segment, key=segment.key + 1)
    segments.remove(other)
    assert segments.exists(segment)


def test_a_segment_of_another_account_stays(own_postgres: PostgresServer) -> None:
    """The pid file of a server leads to its own segment only."""
    account = own_postgres.directories.account
    segment = segments.segment_in(own_postgres._pid_file, uid=account.uid)
    assert segment is not None
    own_postgres.kill()
    segments.remove(replace(segment, uid=account.uid + 1))
    assert segments.exists(segment)


def test_a_killed_valkey_comes_back_with_its_data(own_valkey: ValkeyServer) -> None:
    assert count_pushes(own_valkey.url) == 1
    own_valkey.kill()
    assert own_valkey.pid is None
    own_valkey.start()
    assert count_pushes(own_valkey.url) == 2


def test_a_standby_has_what_its_primary_has_and_can_be_promoted(
    own_postgres: PostgresServer, data_dir: Path
) -> None:
    assert count_visits(own_postgres.url) == 1
    standby = new_postgres(data_dir / "standby")
    try:
        standby.start_standby(own_postgres)
        with psycopg.connect(standby.url, autocommit=True) as conn:
            assert conn.execute("select pg_is_in_recovery()").fetchone() == (True,)
        own_postgres.kill()
        standby.promote()
        assert count_visits(standby.url) == 2
        standby.freeze()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(standby.url, connect_timeout=2)
        standby.thaw()
        assert count_visits(standby.url) == 3
    finally:
        standby.destroy()


def test_pid_file_of_another_process_is_stale(
    own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    """After a reboot the number in the file may belong to any process: here, to ours."""
    own_postgres.kill()
    own_valkey.kill()
    pid_file = own_postgres.directories.files / "data" / "postmaster.pid"
    pid_file.write_text(
        pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1)
    )
    (own_valkey.directories.files / "valkey.pid").write_text(f"{os.getpid()}\n")
    assert own_postgres.pid is None
    assert own_valkey.pid is None
    own_postgres.start()
    own_valkey.start()
    assert count_visits(own_postgres.url) == 1
    assert count_pushes(own_valkey.url) == 1


def test_nothing_that_would_break_a_promise_is_set(
    own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    with psycopg.connect(own_postgres.url) as conn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert conn.execute(f"show {setting}".encode()).fetchone() == ("on",)
    with redis.Redis.from_url(own_valkey.url) as client:
        settings: Any = client.config_get("append*", "maxmemory-policy")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"


def test_a_port_of_the_loopback_wants_a_password(
    own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://leaseq@127.0.0.1:{own_postgres.port}/postgres")
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis.from_url(f"redis://127.0.0.1:{own_valkey.port}") as client,
    ):
        client.ping()


def test_interrupted_cluster_creation_is_repeated(data_dir: Path) -> None:
    server = PostgresServer(data_dir / "postgres")
    unfinished = server.directories.files / "data.new"
    server._files.make_directory(unfinished)
    server._files.write(unfinished / "PG_VERSION", "18\n")
    server.start()
    assert count_visits(server.url) == 1


def test_reason_why_a_server_did_not_start_is_reported(
    data_dir: Path, own_valkey: ValkeyServer
) -> None:
    second = ValkeyServer(data_dir / "valkey", own_valkey.port)
    with pytest.raises(ServerUnreachable, match=r"did not start: .*log"):
        second.start()
    postgres = PostgresServer(data_dir / "postgres", own_valkey.port)
    with pytest.raises(ServerUnreachable, match=r"did not start: .*log"):
        postgres.start()
