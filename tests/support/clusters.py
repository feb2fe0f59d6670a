"""Postgres clusters that the first test process of a run makes, and all copy.

A cluster costs two seconds of CPU (initdb, migrations, roles), and every process needs up to three
of them.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from psycopg import sql

from leaseq.embedded import PostgresServer
from support.memory import shared_memory


@contextmanager
def made_once(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    new_server: Callable[[Path], PostgresServer],
    prepare: Callable[[str], None],
) -> Iterator[Path]:
    """The files of a stopped server on whose URL `prepare` was called, in whichever process came
    first. Where files are not kept in memory, each process makes its own."""
    home = shared_memory()
    with ExitStack() as stack:
        directory = home / name if home else tmp_path_factory.mktemp(name)
        server = new_server(directory)
        if home is None:
            stack.callback(server.destroy)
        with _locked(directory.with_suffix(".lock")) as lock:
            if not lock.read_text():
                _make(server, prepare)
                lock.write_text("made")
        yield server.directories.files


def _make(server: PostgresServer, prepare: Callable[[str], None]) -> None:
    server.start()
    try:
        hash_lightly(server.url)
        prepare(server.url)
    finally:
        server.stop()


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def hash_lightly(url: str) -> None:
    """Let clients prove the superuser's password with one round of hashing instead of 4,096: 5 ms
    for each connection."""
    parts = urlsplit(url)
    with psycopg.connect(url, autocommit=True) as admin:
        if admin.info.server_version >= 160_000:
            admin.execute("set scram_iterations = 1")
            names = {
                "role": sql.Identifier(parts.username or ""),
                "password": sql.Literal(unquote(parts.password or "")),
            }
            admin.execute(sql.SQL("alter role {role} password {password}").format(**names))
