"""Real servers accept the configurations in deploy/."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.embedded.binaries import postgres_bin, valkey_binary
from leaseq.embedded.directories import give
from leaseq.embedded.processes import run_as
from leaseq.errors import ServerUnreachable
from leaseq.server_checks.startup import inspect_servers
from support.servers import free_port, new_valkey, with_roles
from support.source_tree import ROOT

DEPLOY = ROOT / "deploy"


@contextmanager
def valkey_with(settings: Path, directory: Path) -> Iterator[str]:
    """A server that reads this file; only where it listens and keeps its data is this test's
    own."""
    port = free_port()
    program = new_valkey(directory)._binary or valkey_binary()
    command = [str(program), str(settings), "--port", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = ""
        while "Ready to accept connections" not in said and process.stdout is not None:
            line = process.stdout.readline()
            assert line, f"it did not start:\n{said}"
            said += line
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def postgres_with(settings: Path, server: PostgresServer) -> Iterator[str]:
    """The cluster of `server` under another file; only where it listens is this test's own."""
    with psycopg.connect(server.url) as conn:
        (data,) = conn.execute("show data_directory").fetchone() or ("",)
        (sockets,) = conn.execute("show unix_socket_directories").fetchone() or ("",)
    server.stop()
    account = server.directories.account
    copy = server.directories.files / settings.name
    copy.write_bytes(settings.read_bytes())
    give(copy, account=account)
    own = {
        "config_file": str(copy),
        "listen_addresses": "127.0.0.1",
        "port": str(server.port),
        "unix_socket_directories": sockets,
    }
    options = " ".join(f"-c {name}={value}" for name, value in own.items())
    log = server.directories.files / "own.log"
    pg_ctl = (server._bin_dir or postgres_bin(account)) / "pg_ctl"
    if (
        run_as(account, [pg_ctl, "-D", data, "-l", log, "-o", options, "-w", "start"]).returncode
        != 0
    ):
        raise ServerUnreachable(log.read_text(encoding="utf-8"))
    yield server.url
    server.stop()


async def test_valkey_takes_its_file(config: Config, tmp_path: Path) -> None:
    with valkey_with(DEPLOY / "valkey.conf", tmp_path) as url:
        with redis.Redis.from_url(url) as client:
            for name, wanted in (
                ("appendonly", "yes"),
                ("maxmemory-policy", "noeviction"),
                ("maxmemory", "536870912"),
            ):
                assert client.config_get(name) == {name: wanted} or client.config_get(name) == {
                    name.encode(): wanted.encode()
                }
        report = await inspect_servers(replace(with_roles(config), redis_url=url))
    assert report.findings == []


def test_a_wrong_file_would_be_noticed_by_valkey(tmp_path: Path) -> None:
    wrong = tmp_path / "valkey.conf"
    wrong.write_text(
        (DEPLOY / "valkey.conf").read_text(encoding="utf-8").replace("noeviction", "noevection"),
        encoding="utf-8",
    )
    with pytest.raises(AssertionError, match="did not start"), valkey_with(wrong, tmp_path):
        pass


async def test_postgres_takes_its_file(config: Config, own_postgres: PostgresServer) -> None:
    with postgres_with(DEPLOY / "postgres.conf", own_postgres) as url:
        with psycopg.connect(url) as conn:
            left_out = conn.execute(
                "select name, error from pg_file_settings where not applied"
            ).fetchall()
            (size,) = conn.execute("show max_wal_size").fetchone() or ("",)
        report = await inspect_servers(replace(config, postgres_url=url), migrates=True)
    # The one setting that this test overrides; and everything else in the file is in force.
    assert left_out == [("listen_addresses", "setting could not be applied")]
    assert size == "4GB"
    assert report.findings == []


def test_a_wrong_file_would_be_noticed_by_postgres(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    wrong = tmp_path / "postgres.conf"
    wrong.write_text(
        (DEPLOY / "postgres.conf").read_text(encoding="utf-8") + "max_wall_size = '4GB'\n",
        encoding="utf-8",
    )
    with (
        pytest.raises(ServerUnreachable, match="max_wall_size"),
        postgres_with(wrong, own_postgres),
    ):
        pass
