"""`leaseq check` reports every problem in one run, and no password."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
import pytest
import redis

from leaseq.cli.commands.check import read_environment
from leaseq.config import Config
from support.cli import Command
from support.servers import free_port, with_roles


def test_every_mistake_is_noted_and_the_rest_is_kept() -> None:
    env = {
        "LEASEQ_LEASE_SECOND": "5",
        "LEASEQ_CONCURRENCY": "many",
        "LEASEQ_LEASE_SECONDS": "1",
        "LEASEQ_HEARTBEAT_SECONDS": "2",
        "LEASEQ_PROCESSES": "3",
        "PATH": "/bin",
    }
    read = read_environment(env)
    assert len(read.mistakes) == 3
    assert read.dropped == {
        "LEASEQ_LEASE_SECOND",
        "LEASEQ_CONCURRENCY",
        "LEASEQ_LEASE_SECONDS",
        "LEASEQ_HEARTBEAT_SECONDS",
    }
    assert read.config == Config(processes=3)
    told = " ".join(read.mistakes)
    for part in (
        "did you mean LEASEQ_LEASE_SECONDS",
        "LEASEQ_CONCURRENCY=many",
        "three heartbeats must fit a lease",
    ):
        assert part in told


def test_a_mistake_in_a_file_costs_the_other_variables_nothing(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("mysql://u:s3cret@h\n", encoding="utf-8")
    read = read_environment(
        {"LEASEQ_POSTGRES_URL_FILE": str(tmp_path / "url"), "LEASEQ_PROCESSES": "3"}
    )
    assert (read.dropped, read.config.processes, len(read.mistakes)) == (
        {"LEASEQ_POSTGRES_URL_FILE"},
        3,
        1,
    )
    assert "s3cret" not in str(read)


def test_a_proposal_is_not_taken_for_a_mistake() -> None:
    """`did you mean LEASEQ_PROCESSES?` must not cost LEASEQ_PROCESSES, which is right."""
    read = read_environment({"LEASEQ_PROCESS": "2", "LEASEQ_PROCESSES": "3"})
    assert (read.dropped, read.config.processes) == ({"LEASEQ_PROCESS"}, 3)


def test_sound_servers(leaseq: Command, config: Config) -> None:
    config = with_roles(config)
    urls = {
        "LEASEQ_POSTGRES_URL": str(config.postgres_url),
        "LEASEQ_HANDLER_POSTGRES_URL": str(config.handler_postgres_url),
    }
    result = leaseq("check", LEASEQ_CONCURRENCY="7", **urls)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "LEASEQ_CONCURRENCY=7" in lines
    assert "LEASEQ_PROCESSES=1" in lines
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["Postgres", "ok"],
        ["schema", "ok"],
        ["Redis", "ok"],
    ]
    password = str(psycopg.conninfo.conninfo_to_dict(str(config.postgres_url))["password"])
    assert password not in result.stdout


def test_everything_that_is_wrong_in_one_run(leaseq: Command) -> None:
    postgres, redis = (
        f"postgresql://u:hunter2@127.0.0.1:{free_port()}/x",
        f"redis://:hunter2@127.0.0.1:{free_port()}/0",
    )
    result = leaseq(
        "check",
        LEASEQ_POSTGRES_URL=postgres,
        LEASEQ_REDIS_URL=redis,
        LEASEQ_LEAS="1",
        LEASEQ_PROCESSES="0",
    )
    assert result.exit_code == 1
    faults = [line.split()[0] for line in result.stdout.splitlines() if "fault" in line]
    assert faults == ["environment", "environment", "Postgres", "Redis"]
    for remedy in (
        "start it, or correct LEASEQ_POSTGRES_URL",
        "(an empty one is enough), or correct LEASEQ_REDIS_URL",
    ):
        assert remedy in result.stdout
    assert "LEASEQ_STRICT_TYPES=false" in result.stdout.splitlines(), (
        "in the words that the variable takes"
    )
    assert "hunter2" not in result.stdout


def test_check_as_json_for_scripts(leaseq: Command, config: Config) -> None:
    result = leaseq("check", "--json", LEASEQ_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert result.exit_code == 1
    said = msgspec.json.decode(result.stdout)
    assert said["ok"] is False
    assert said["mistakes"] == []
    assert said["config"]["LEASEQ_CONCURRENCY"] == config.concurrency
    assert [f["about"] for f in said["findings"] if f["fatal"]] == ["redis"]
    assert set(said["servers"]) == {"postgres", "schema"}


@pytest.mark.parametrize("name", ["LEASEQ_POSTGRES_URL", "LEASEQ_REDIS_URL"])
def test_a_url_that_cannot_be_read_starts_no_server_in_its_place(
    leaseq: Command, config: Config, name: str
) -> None:
    result = leaseq("check", **{name: "http://db"})
    assert result.exit_code == 1
    assert "must begin with" in result.stdout
    assert not config.data_dir.exists()


def test_warnings_alone_do_not_count(leaseq: Command, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            result = leaseq("check")
        finally:
            client.config_set("appendonly", "yes")
    assert result.exit_code == 0
    assert "set appendonly yes" in result.stdout


def test_a_cookie_without_tls_is_warned_about(leaseq: Command) -> None:
    result = leaseq("check", LEASEQ_UI_COOKIE_INSECURE="true")
    assert result.exit_code == 0
    assert "LEASEQ_UI_COOKIE_INSECURE lets the cookie" in result.stdout
