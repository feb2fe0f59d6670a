"""A real PgBouncer in front of the session's Postgres."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import pytest

from support.servers import ROLE_PASSWORD, ROLE_URLS, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
START_SECONDS = 60.0

PoolTo = Callable[..., str]


@pytest.fixture
def pgbouncer() -> Iterator[PoolTo]:
    """A function from a URL and settings of PgBouncer to the URL of the pooler in front of it."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    running: list[subprocess.Popen[bytes]] = []
    # Below /tmp itself: another account cannot walk to what pytest makes.
    directories: list[Path] = []

    def start(url: str, **settings: object) -> str:
        directory = Path(tempfile.mkdtemp(prefix="leaseq-pgbouncer-"))
        directories.append(directory)
        port, parts = free_port(), urlsplit(url)
        configuration = _configuration(directory, port, url, settings)
        running.append(_run(directory, configuration))
        _wait_until_open(port, running[-1], directory / "log")
        return urlunsplit(
            parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}")
        )

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=60)
    for directory in directories:
        shutil.rmtree(directory)


def _configuration(directory: Path, port: int, url: str, settings: dict[str, object]) -> Path:
    parts = urlsplit(url)
    passwords = dict.fromkeys(ROLE_URLS.values(), ROLE_PASSWORD) | {
        unquote(str(parts.username)): unquote(str(parts.password))
    }
    users = "".join(f'"{user}" "{password}"\n' for user, password in passwords.items())
    (directory / "users").write_text(users, encoding="utf-8")
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": directory / "users",
        "logfile": directory / "log",
        "default_pool_size": 40,
        "ignore_startup_parameters": "extra_float_digits,options",
        **settings,
    }
    text = f"[databases]\n* = host={parts.hostname} port={parts.port}\n[pgbouncer]\n"
    path = directory / "pgbouncer.ini"
    path.write_text(
        text + "".join(f"{name} = {value}\n" for name, value in lines.items()), encoding="utf-8"
    )
    return path


def _run(directory: Path, configuration: Path) -> subprocess.Popen[bytes]:
    """PgBouncer refuses to run as root: then as the account `nobody`, which owns its files."""
    assert PROGRAM is not None
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    if nobody is not None:
        for path in (directory, *directory.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return subprocess.Popen(
        [PROGRAM, "-q", str(configuration)],
        user=nobody.pw_uid if nobody else None,
        group=nobody.pw_gid if nobody else None,
        extra_groups=[] if nobody else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, (
                f"PgBouncer did not start: {log.read_text() if log.exists() else ''}"
            )
            assert time.monotonic() < give_up, "PgBouncer does not listen"
            time.sleep(0.02)


__all__ = ["PoolTo"]
