"""docker-compose.yml is valid, complete, and its commands work.

Checked: the file by a parser of the Compose specification; the settings that promises rest on;
every `leaseq ...` command by running it, on this machine. Not checked: no container runs here, so
the images and the networks between them are taken on trust. test_deploy_servers.py tries the
servers' files, test_deploy_image.py the Dockerfile.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from msgspec.structs import replace

from leaseq.cli import main
from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.embedded.binaries import postgres_bin
from leaseq.ledger.roles import HANDLER, SERVICE, RoleNames, as_role, grant
from leaseq.ledger.schema import migrate
from leaseq.model import State
from leaseq.server_checks.startup import inspect_servers
from support.client import Client
from support.processes import Services
from support.servers import admin_url, free_port
from support.source_tree import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SECRETS = {
    "POSTGRES_PASSWORD": "letters0nly",
    "SERVICE_PASSWORD": "0therletters",
    "HANDLER_PASSWORD": "n0ne0fthem",
}
OURS = ("migrate", "api", "worker", "reaper")


class Missing(Exception):
    """A variable that has to be set."""


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """Put variables in, as Compose does before it reads anything else."""

    def value(found: re.Match[str]) -> str:
        name, _, rest = found[1].partition(":")
        if name in env:
            return env[name]
        if rest.startswith("?"):
            raise Missing(name)
        return rest.removeprefix("-")

    return re.sub(r"\$\{([^}]+)\}", value, text)


def test_readme_makes_every_secret_that_compose_needs(tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^.* > \.env$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    made = dict(
        line.split("=", 1) for line in (tmp_path / ".env").read_text(encoding="utf-8").splitlines()
    )
    assert made.keys() == SECRETS.keys()
    interpolated(COMPOSE, made)  # raises Missing


def services_of(text: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(interpolated(text, SECRETS))["services"]
    return services


def seconds(duration: str) -> float:
    """A duration as Compose writes it, of one unit."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def local(word: str, port: str) -> str:
    """A word of a command line, on this machine alone."""
    return word.replace("0.0.0.0", "127.0.0.1").replace("8000", port)


def parsed(command: list[str]) -> click.Context:
    """A command line of leaseq, taken apart; raises click's UsageError."""
    name, *arguments = command
    found = main.get_command(click.Context(main), name)
    assert found is not None, f"there is no command {name}"
    return found.make_context(name, arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="compose-spec has wheels for Linux only")
def test_compose_accepts_the_file() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    good = interpolated(COMPOSE, SECRETS)

    def read(text: str) -> None:
        # Compose follows the merge keys (<<) of YAML, this parser leaves that to others.
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text))).validate()

    read(good)
    for right, wrong in (
        ("service_completed_successfully", "service_done"),
        ("127.0.0.1:8000:8000", "127.0.0.1.8000:8000"),
        ("networks: [stores]", "networks: [shop]"),
        ("cap_drop:", "cap_drops:"),
        ("stop_grace_period: 45s", "stop_grace_period: soon"),
    ):
        assert right in good
        with pytest.raises(ValueError, match=r"services|network"):
            read(good.replace(right, wrong))


@pytest.mark.parametrize("name", SECRETS)
def test_the_passwords_come_from_outside(name: str) -> None:
    with pytest.raises(Missing, match=name):
        interpolated(COMPOSE, {other: value for other, value in SECRETS.items() if other != name})


def test_each_part_has_its_role_and_only_migrate_is_the_administrator() -> None:
    services = services_of(COMPOSE)
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == SECRETS["POSTGRES_PASSWORD"]
    assert services["postgres"]["environment"]["POSTGRES_USER"] == "leaseq"
    for name in OURS:
        environment, admin = (
            services[name]["environment"],
            f"leaseq:{SECRETS['POSTGRES_PASSWORD']}@",
        )
        assert (admin in environment["LEASEQ_POSTGRES_URL"]) is (name == "migrate")
        assert (
            f"leaseq_handler:{SECRETS['HANDLER_PASSWORD']}@"
            in environment["LEASEQ_HANDLER_POSTGRES_URL"]
        )
        if name != "migrate":
            assert (
                f"leaseq_service:{SECRETS['SERVICE_PASSWORD']}@"
                in environment["LEASEQ_POSTGRES_URL"]
            )


async def test_the_roles_of_the_file_are_fit_after_the_grants(
    own_postgres: PostgresServer, config: Config
) -> None:
    """deploy/roles.sql by a real psql, twice, as Compose does at each start; then what `leaseq
    migrate --grants` does."""
    psql = (own_postgres._bin_dir or postgres_bin(own_postgres.directories.account)) / "psql"
    command = [
        arg.replace("/roles.sql", str(ROOT / "deploy/roles.sql"))
        for arg in services_of(COMPOSE)["roles"]["command"]
    ]
    for _ in range(2):
        ran = await asyncio.create_subprocess_exec(
            psql, *command[1:], own_postgres.url, env={**os.environ, **SECRETS}
        )
        assert await ran.wait() == 0
    await migrate(own_postgres.url)
    assert await grant(own_postgres.url, RoleNames()) == ["created role leaseq_owner"]
    urls = {
        "postgres_url": as_role(own_postgres.url, SERVICE, SECRETS["SERVICE_PASSWORD"]),
        "handler_postgres_url": as_role(own_postgres.url, HANDLER, SECRETS["HANDLER_PASSWORD"]),
    }
    assert (await inspect_servers(replace(config, **urls))).findings == []


def test_compose_opens_the_api_to_this_machine_and_no_store() -> None:
    services = services_of(COMPOSE)
    assert {name for name, service in services.items() if "ports" in service} == {"api"}
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
    stores = yaml.safe_load(interpolated(COMPOSE, SECRETS))["networks"]["stores"]
    assert stores == {"internal": True}
    assert services["postgres"]["networks"] == services["valkey"]["networks"] == ["stores"]


def test_nothing_starts_too_early_and_nothing_is_killed_too_soon() -> None:
    services = services_of(COMPOSE)
    for name in ("api", "worker", "reaper"):
        assert services[name]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }
        assert services[name]["depends_on"]["valkey"] == {"condition": "service_healthy"}
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert services["worker"]["deploy"]["replicas"] == 2
    grace = float(services["worker"]["environment"]["LEASEQ_GRACE_SECONDS"])
    assert seconds(services["worker"]["stop_grace_period"]) >= grace + 10, (
        "handing back takes a moment after the grace"
    )


def test_mounted_files_exist() -> None:
    declared = yaml.safe_load(interpolated(COMPOSE, SECRETS))["volumes"]
    for name, service in services_of(COMPOSE).items():
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            assert (ROOT / source).is_file() if source.startswith("./") else source in declared, (
                f"{name}: {source}"
            )


@pytest.mark.parametrize("name", OURS)
def test_the_environment_is_one_that_leaseq_takes(name: str) -> None:
    given = services_of(COMPOSE)[name]["environment"]
    config = Config.from_env(given)
    assert (config.postgres_url, config.redis_url) == (
        given["LEASEQ_POSTGRES_URL"],
        given["LEASEQ_REDIS_URL"],
    )


@pytest.mark.parametrize("name", OURS)
def test_the_command_line_is_one_that_leaseq_takes(name: str) -> None:
    command = services_of(COMPOSE)[name]["command"]
    assert parsed(command).command.name == command[0]
    with pytest.raises(click.UsageError):
        parsed([*command, "--no-such-option"])


@pytest.mark.slow("runs the commands of the deployment as programs")
async def test_the_commands_work_together(
    services: Services, config: Config, client: Client
) -> None:
    """The same command lines, on the servers of this test, until a task has gone through all of
    them."""
    described, port = services_of(COMPOSE), str(free_port())
    commands = {name: [local(word, port) for word in described[name]["command"]] for name in OURS}
    migrated = await services.start(*commands["migrate"], LEASEQ_POSTGRES_URL=admin_url(config))
    assert await migrated.ended() == 0
    worker = await services.start(*commands["worker"], PYTHONPATH=str(ROOT))
    api = await services.start(*commands["api"])
    reaper = await services.start(*commands["reaper"])
    await worker.hear("worker.opened")
    await reaper.hear("reaper.started")
    await api.hear("api.started")
    probe, *arguments = (local(word, port) for word in described["api"]["healthcheck"]["test"][1:])
    assert probe == "python"
    assert await code_of(sys.executable, *arguments) == 0
    task_id = await client.submit(
        "charge", options={"queue": "billing"}, order_id=1, customer="ada", cents=500
    )
    assert (await client.ended(task_id)).state is State.SUCCESS
    for service in (api, worker, reaper):
        service.process.terminate()
        assert await service.ended() == 0, service.name
    assert await code_of(sys.executable, *arguments) != 0, "the healthcheck would not notice"


async def code_of(*command: str) -> int:
    """The exit code of a short command."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
