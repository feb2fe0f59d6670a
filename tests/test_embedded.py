"""Do the embedded servers start for whoever needs them, keep their data, and end with the last who does?"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis

import embedded_holder
from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, binaries, embedded_servers
from leaseq.embedded.places import Account, can_walk_to
from leaseq.embedded.processes import alive
from leaseq.errors import ServerUnfit, ServerUnreachable

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


class Holder:
    """One process that holds the servers of a data directory."""

    def __init__(self, data_dir: Path, *account: int) -> None:
        command = [sys.executable, embedded_holder.__file__, str(data_dir), *map(str, account)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def servers(self) -> dict[str, Any]:
        """Wait until it holds them; the URLs and pids it sees."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the holder ended with {self.process.wait()}"
        seen: dict[str, Any] = json.loads(line)
        return seen

    def leave(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    for server in (PostgresServer(tmp_path / "data" / "postgres"), ValkeyServer(tmp_path / "data" / "valkey")):
        server.destroy()


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Start holders; those that a test leaves behind are killed."""
    started: list[Holder] = []

    def start(data_dir: Path, *account: int) -> Holder:
        started.append(Holder(data_dir, *account))
        return started[-1]

    yield start
    for holder in started:
        holder.kill()


def count_visits(postgres_url: str) -> int:
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("create table if not exists visits (at timestamptz)")
        conn.execute("insert into visits values (now())")
        row = conn.execute("select count(*) from visits").fetchone()
    assert row
    return int(row[0])


def count_pushes(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as client:
        return client.rpush("visits", "x")


def test_servers_are_shared_and_the_last_one_out_stops_them(data_dir: Path, hold: Callable[..., Holder]) -> None:
    first, second = hold(data_dir), hold(data_dir)  # at the same time: one of them starts, the other finds
    seen = first.servers()
    assert second.servers() == seen
    first.leave()
    assert all(map(alive, seen["pids"]))
    assert count_visits(seen["urls"][0]) == 1
    second.leave()
    assert not any(map(alive, seen["pids"]))


def test_a_killed_holder_holds_nothing(data_dir: Path, hold: Callable[..., Holder]) -> None:
    first, second = hold(data_dir), hold(data_dir)
    seen = first.servers()
    second.servers()
    first.kill()
    assert all(map(alive, seen["pids"]))
    second.leave()
    assert not any(map(alive, seen["pids"]))


def test_servers_whose_last_holder_was_killed_are_found_again(data_dir: Path, hold: Callable[..., Holder]) -> None:
    killed = hold(data_dir)
    seen = killed.servers()
    killed.kill()
    assert all(map(alive, seen["pids"]))
    heir = hold(data_dir)
    assert heir.servers() == seen
    heir.leave()
    assert not any(map(alive, seen["pids"]))


def test_an_interrupt_in_the_terminal_reaches_the_holder_only(data_dir: Path, hold: Callable[..., Holder]) -> None:
    interrupted, other = hold(data_dir), hold(data_dir)
    seen = interrupted.servers()
    other.servers()
    os.killpg(interrupted.process.pid, signal.SIGINT)
    interrupted.process.communicate()
    assert all(map(alive, seen["pids"]))
    assert count_visits(seen["urls"][0]) == 1


def test_data_survive_a_restart(data_dir: Path) -> None:
    for visit in (1, 2):
        with embedded_servers(Config(data_dir=data_dir)) as config:
            assert config.postgres_url
            assert config.redis_url
            assert count_visits(config.postgres_url) == visit
            assert count_pushes(config.redis_url) == visit


def test_only_what_is_missing_is_started(data_dir: Path) -> None:
    given = Config(data_dir=data_dir, postgres_url="postgresql://db/x")
    with embedded_servers(given) as config:
        assert config.postgres_url == given.postgres_url
        assert config.redis_url
        assert count_pushes(config.redis_url) == 1
    assert not (data_dir / "postgres").exists()
    complete = msgspec.structs.replace(given, redis_url="redis://cache/0")
    with embedded_servers(complete) as config:
        assert config == complete


def test_a_killed_postgres_comes_back_with_its_data(own_postgres: PostgresServer) -> None:
    assert count_visits(own_postgres.url) == 1
    own_postgres.kill()
    assert own_postgres.pid is None
    own_postgres.start()
    assert count_visits(own_postgres.url) == 2


def test_a_killed_valkey_comes_back_with_its_data(own_valkey: ValkeyServer) -> None:
    assert count_pushes(own_valkey.url) == 1
    own_valkey.kill()
    assert own_valkey.pid is None
    own_valkey.start()
    assert count_pushes(own_valkey.url) == 2


def test_a_pid_file_that_names_somebody_else_is_stale(own_postgres: PostgresServer, own_valkey: ValkeyServer) -> None:
    """After a reboot the number in the file may be anybody's: here, ours."""
    own_postgres.kill()
    own_valkey.kill()
    pid_file = own_postgres.place.files / "data" / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1))
    (own_valkey.place.files / "valkey.pid").write_text(f"{os.getpid()}\n")
    assert own_postgres.pid is None
    assert own_valkey.pid is None
    own_postgres.start()
    own_valkey.start()
    assert count_visits(own_postgres.url) == 1
    assert count_pushes(own_valkey.url) == 1


def test_nothing_that_would_break_a_promise_is_set(own_postgres: PostgresServer, own_valkey: ValkeyServer) -> None:
    with psycopg.connect(own_postgres.url) as conn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert conn.execute(f"show {setting}".encode()).fetchone() == ("on",)
    with redis.Redis.from_url(own_valkey.url) as client:
        settings: Any = client.config_get("append*", "maxmemory-policy")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"


def test_a_port_of_the_loopback_wants_a_password(own_postgres: PostgresServer, own_valkey: ValkeyServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://leaseq@127.0.0.1:{own_postgres.port}/postgres")
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis.from_url(f"redis://127.0.0.1:{own_valkey.port}") as client,
    ):
        client.ping()


def test_a_cluster_whose_making_was_interrupted_is_made_anew(data_dir: Path) -> None:
    server = PostgresServer(data_dir / "postgres")
    unfinished = server.place.files / "data.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    server.start()
    assert count_visits(server.url) == 1


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    servers = (PostgresServer(deep / "postgres"), ValkeyServer(deep / "valkey"))
    try:
        for server in servers:
            server.start()
        assert count_visits(servers[0].url) == 1
        assert count_pushes(servers[1].url) == 1
    finally:
        for server in servers:
            server.destroy()
    assert not deep.joinpath("postgres").exists()


def test_why_a_server_did_not_start_is_said(data_dir: Path, own_valkey: ValkeyServer) -> None:
    second = ValkeyServer(data_dir / "valkey", own_valkey.port)
    with pytest.raises(ServerUnreachable, match=r"did not start: .*log"):
        second.start()
    postgres = PostgresServer(data_dir / "postgres", own_valkey.port)
    with pytest.raises(ServerUnreachable, match=r"did not start: .*log"):
        postgres.start()


def test_without_the_extra_the_way_out_is_said(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(ServerUnreachable) as caught, embedded_servers(Config(data_dir=data_dir)):
        pass
    assert str(caught.value) == ("there is no server to use: set LEASEQ_POSTGRES_URL or pip install 'leaseq[embedded]'")


@as_root
def test_root_below_a_closed_directory_loosens_nothing(data_dir: Path) -> None:
    """Postgres runs as nobody, who may not enter our directory: its files lie elsewhere, and a note says where."""
    data_dir.mkdir(mode=0o700)
    with embedded_servers(Config(data_dir=data_dir)) as config:
        assert config.postgres_url
        assert count_visits(config.postgres_url) == 1
        far = Path((data_dir / "postgres" / "elsewhere").read_text().strip())
        assert (far / "server").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (far / "server").stat().st_mode & 0o077 == 0
    assert data_dir.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(data_dir)  # forgetting the note is a new beginning
    shutil.rmtree(far)
    with embedded_servers(Config(data_dir=data_dir)) as config:
        assert config.postgres_url
        assert count_visits(config.postgres_url) == 1


@as_root
def test_an_ordinary_user_needs_nothing_special(hold: Callable[..., Holder]) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account(uid=nobody.pw_uid, gid=nobody.pw_gid, foreign=True)
    if not can_walk_to(Path(binaries.__file__).parent, account=account):
        pytest.skip("this checkout is closed to ordinary users")
    home = Path(tempfile.mkdtemp(prefix="leaseq-test-", dir="/var/tmp"))
    try:
        os.chown(home, account.uid, account.gid)
        holder = hold(home / "data", account.uid, account.gid)
        seen = holder.servers()
        assert count_visits(seen["urls"][0]) == 1
        holder.leave()
        assert not any(map(alive, seen["pids"]))
        assert all(path.stat().st_uid == account.uid for path in (home / "data").rglob("*"))
    finally:
        shutil.rmtree(home)


def test_a_copy_of_the_programs_works_and_is_open_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's environment may lie below /root: then the programs are copied to where nobody can run them."""
    monkeypatch.setattr(binaries, "FAR_ROOT", tmp_path)
    monkeypatch.setattr(binaries, "can_walk_to", lambda path, account: False)
    ours = Account(uid=os.geteuid(), gid=os.getegid(), foreign=False)
    before = os.umask(0o077)
    try:
        bin_dir = binaries.postgres_bin(ours)
    finally:
        os.umask(before)
    assert bin_dir == binaries.postgres_bin(ours)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in bin_dir.parents[2].rglob("*"))
    said = subprocess.run([bin_dir / "initdb", "--version"], capture_output=True, text=True, check=True).stdout
    assert "PostgreSQL" in said
    bin_dir.parents[2].chmod(0o777)
    with pytest.raises(ServerUnfit, match="not made by us"):
        binaries.postgres_bin(ours)
