"""Processes that hold the embedded servers, and traces of their visits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from leaseq.embedded import remove_servers
from support import embedded_holder


class Holder:
    """One process that holds the servers of a data directory."""

    def __init__(self, data_dir: Path, *account: int) -> None:
        command = [sys.executable, embedded_holder.__file__, str(data_dir), *map(str, account)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
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
    remove_servers(tmp_path / "data")


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
