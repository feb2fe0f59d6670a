"""Directories of embedded servers, as root and as other users."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, binaries, embedded_servers
from leaseq.embedded.directories import Account, can_walk_to
from leaseq.embedded.processes import alive, run_as
from leaseq.errors import ServerUnfit, ServerUnreachable
from support.embedded import Holder, count_pushes, count_visits

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


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


@pytest.mark.slow("servers under another account")
@as_root
def test_root_below_a_closed_directory_loosens_nothing(data_dir: Path) -> None:
    """Postgres runs as `nobody`, which may not enter our directory: its files lie elsewhere, and a
    note names the place."""
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


@pytest.mark.slow("servers under another account")
@as_root
def test_root_follows_no_link_of_the_servers_account(data_dir: Path, tmp_path: Path) -> None:
    """The account of the server puts a link to a file of root in the place of each file that a
    start or a stop touches."""
    server = PostgresServer(data_dir / "postgres")
    account = server.directories.account
    treasure = {name: tmp_path / name for name in ("file", "directory")}
    treasure["file"].write_text("1\n")
    treasure["directory"].mkdir()
    (treasure["directory"] / ".s.PGSQL.5432").write_text("kept")
    try:
        server.start()
        server.stop()
        for name in (
            "data/postmaster.pid",
            "data/postgresql.conf",
            "log",
            "password",
            "data.new",
            "socket",
            "data",
        ):
            place = server.directories.files / name
            kept = place.with_name(f"{place.name}.kept")
            target = treasure["directory" if name in ("data", "data.new", "socket") else "file"]
            as_account(
                account, f'[ ! -e "{place}" ] || mv "{place}" "{kept}"; ln -s "{target}" "{place}"'
            )
            with suppress(ServerUnreachable, ServerUnfit):
                server.start()
            assert server.pid != 1
            server.stop()
            as_account(account, f'rm -rf "{place}"; [ ! -e "{kept}" ] || mv "{kept}" "{place}"')
        server.start()
        assert count_visits(server.url) == 1
    finally:
        server.destroy()
    assert treasure["file"].read_text() == "1\n"
    assert [path.name for path in treasure["directory"].iterdir()] == [".s.PGSQL.5432"]
    assert all(path.stat().st_uid == 0 for path in treasure.values())


@as_root
def test_a_pid_file_names_no_process_of_another_account(data_dir: Path) -> None:
    server = PostgresServer(data_dir / "postgres")
    try:
        server.start()
        server.stop()
        data = server.directories.files / "data"
        with subprocess.Popen(["sleep", "600"], cwd=data) as ours:
            as_account(server.directories.account, f"echo {ours.pid} > {data}/postmaster.pid")
            server.kill()
            assert ours.poll() is None
            ours.kill()
        server.start()
    finally:
        server.destroy()


@as_root
def test_a_note_leads_root_to_no_other_directory(data_dir: Path, tmp_path: Path) -> None:
    data_dir.mkdir(mode=0o700)
    (data_dir / "postgres").mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (data_dir / "postgres" / "elsewhere").write_text(f"{other}\n")
    server = PostgresServer(data_dir / "postgres")
    try:
        assert server.directories.files.parent != other
        assert list(other.iterdir()) == []
    finally:
        server.destroy()


def as_account(account: Account, script: str) -> None:
    done = run_as(account, ["/bin/sh", "-c", script])
    assert done.returncode == 0, done.stderr


def test_a_copy_of_the_programs_works_and_is_open_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's environment may lie below /root: then the programs are copied to a place where all
    users can run them."""
    monkeypatch.setattr(binaries, "FALLBACK_ROOT", tmp_path)
    monkeypatch.setattr(binaries, "can_walk_to", lambda path, account: False)
    ours = Account(uid=os.geteuid(), gid=os.getegid(), foreign=False)
    before = os.umask(0o077)
    try:
        bin_dir = binaries.postgres_bin(ours)
    finally:
        os.umask(before)
    assert bin_dir == binaries.postgres_bin(ours)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in bin_dir.parents[2].rglob("*"))
    said = subprocess.run(
        [bin_dir / "initdb", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert "PostgreSQL" in said
    bin_dir.parents[2].chmod(0o777)
    with pytest.raises(ServerUnfit, match="not made by us"):
        binaries.postgres_bin(ours)
