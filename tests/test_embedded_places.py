"""Do the embedded servers find a place to live, as root and as anybody, without opening what is closed?"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fix_embedded import Holder, count_pushes, count_visits
from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, binaries, embedded_servers
from leaseq.embedded.places import Account, can_walk_to
from leaseq.embedded.processes import alive
from leaseq.errors import ServerUnfit

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
