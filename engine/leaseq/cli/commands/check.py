"""The command that checks the environment and both servers before a start.

All problems are reported in one run: a wrong variable hides neither the next one nor the problems
of the servers.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import click
from msgspec import Struct

from leaseq.cli import parameters
from leaseq.cli.exit_codes import FAILED
from leaseq.cli.output import STYLES, print_json, print_line, styled
from leaseq.cli.servers import held_servers
from leaseq.config import Config
from leaseq.errors import ConfigInvalid, LeaseqError
from leaseq.server_checks.findings import Finding
from leaseq.server_checks.startup import Report, inspect_servers

VARIABLE = re.compile(r"LEASEQ_\w+")
URLS = {"postgres": "LEASEQ_POSTGRES_URL", "redis": "LEASEQ_REDIS_URL"}
NAMES = {
    "postgres": "Postgres",
    "schema": "schema",
    "redis": "Redis",
    "api": "API",
    "schedules": "schedules",
}
COOKIE_INSECURE = Finding(
    "api",
    False,
    "LEASEQ_UI_COOKIE_INSECURE lets the cookie of the dashboard travel without TLS: a person who reads "
    "the network gets the rights of the key behind it",
)


class Environment(Struct, frozen=True):
    """The environment: the configuration without the wrong variables, the errors, and the variables
    that they concern."""

    config: Config
    mistakes: list[str]
    dropped: set[str]


@click.command()
@parameters.as_json
def check(as_json: bool) -> None:
    """Print the configuration, check both servers, and report every problem.

    Exit code 0: api, worker and reaper would start; 1: they would refuse to start. Warnings do not
    count.
    """
    environment = read_environment(os.environ)
    report = _examine(environment)
    faults = [
        *environment.mistakes,
        *(finding.message for finding in report.findings if finding.fatal),
    ]
    if as_json:
        print_json(
            {
                "ok": not faults,
                "config": {
                    f"LEASEQ_{name.upper()}": _plain(v)
                    for name, v in environment.config.redacted().items()
                },
                "mistakes": environment.mistakes,
                "servers": report.servers,
                "findings": report.findings,
            }
        )
    else:
        _print(environment, report)
    sys.exit(FAILED if faults else 0)


def read_environment(env: Mapping[str, str]) -> Environment:
    """Read LEASEQ_*. Each error is noted and its variables are omitted, until the rest is valid."""
    left = dict(env)
    mistakes: list[str] = []
    while True:
        try:
            return Environment(Config.from_env(left), mistakes, set(env) - set(left))
        except ConfigInvalid as error:
            mistakes.append(str(error))
            named = {
                variable
                for name in _named(str(error))
                for variable in (name, f"{name}_FILE")
                if variable in left
            }
            if not named:
                return Environment(
                    Config(), mistakes, {name for name in env if name.startswith("LEASEQ_")}
                )
            for name in named:
                del left[name]


def _named(message: str) -> list[str]:
    """The variables that an error is about. A name after "did you mean" is only a proposal."""
    return VARIABLE.findall(message.partition(": did you mean")[0])


def _examine(environment: Environment) -> Report:
    """Check the servers, unless their URLs are wrong: then there is nothing to check."""
    unknown = [
        about
        for about, variable in URLS.items()
        if {variable, f"{variable}_FILE"} & environment.dropped
    ]
    if unknown:
        return Report(
            {},
            [
                Finding(about, True, f"not checked: correct {URLS[about]} first")
                for about in unknown
            ],
        )
    config = environment.config
    try:
        with held_servers(config) as ready:
            report = asyncio.run(inspect_servers(ready, migrates=config.postgres_url is None))
    except LeaseqError as error:
        about = "redis" if config.postgres_url is not None else "postgres"
        report = Report({}, [Finding(about, True, str(error))])
    if config.ui == "on" and config.ui_cookie_insecure:
        report.findings.append(COOKIE_INSECURE)
    return report


def _print(environment: Environment, report: Report) -> None:
    defaults = Config().redacted()
    for name, value in environment.config.redacted().items():
        unset = (
            "that of LEASEQ_POSTGRES_URL"
            if name == "handler_postgres_url"
            else f"embedded, in {environment.config.data_dir}"
        )
        shown = (
            unset
            if value is None
            else str(value).lower()
            if isinstance(value, bool)
            else str(_plain(value))
        )
        is_default = value == defaults[name]
        print_line(styled(f"LEASEQ_{name.upper()}={shown}", "dim" if is_default else ""))
    print_line()
    for mistake in environment.mistakes:
        _say("environment", "fault", mistake)
    for about, name in NAMES.items():
        if about in report.servers:
            _say(name, "ok", report.servers[about])
        for finding in report.findings:
            if finding.about == about:
                _say(name, "fault" if finding.fatal else "warning", finding.message)


def _say(name: str, level: str, message: str) -> None:
    print_line(name.ljust(11), styled(level.ljust(7), STYLES[level]), " ".join(message.split()))


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


__all__ = ["Environment", "check", "read_environment"]
