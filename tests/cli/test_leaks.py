"""No output shows any part of a URL."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaseq.cli import main
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.redis import open_redis
from leaseq.dispatch.reachable import reachable
from leaseq.errors import LeaseqError
from leaseq.ledger.schema import require_schema
from leaseq.observability.telemetry import recorded
from leaseq.server_checks.startup import require_usable_servers
from support.examples import examples
from support.processes import environment

TASK = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"
NOWHERE = "127.0.0.1:1"
# Behind a percent sign, 00 would be the one byte that no password may contain, and a number from 80
# on no character.
FIRST_LETTERS, LETTERS, DIGITS = (
    "ghijkmnqrstuvwxyz",
    "GHJKLMNPQRSTUVWXYZghijkmnopqrstuvwxyz",
    "1234567",
)

# Where the password stands: where it belongs, in other spellings, and in places that a slip of the
# pen puts it.
POSTGRES = [
    "postgresql://u:{}@127.0.0.1:1/db",
    "postgres://u:{}@127.0.0.1:1,127.0.0.1:2/db",
    "postgresql://u:{}@[::1]:1/db",
    "postgresql://u:{}@[::1:1/db",
    "postgresql://u:{}@/db?host=/nonexistent",
    "postgresql://u:{}@%2Fnonexistent/db",
    "postgresql://u:{}@nowhere.invalid/db",
    "postgresql://u:{}@a..b:1/db",
    "postgresql://u:{}@127.0.0.1:99999/db",
    "postgresql://u:{}@127.0.0.1:1/db?connect_timeout=x",
    "postgresql://u:{}@127.0.0.1:1,127.0.0.1:2/db?port=1,2,3",
    "postgresql://127.0.0.1:1/db?user=u&password={}",
    "postgresql://127.0.0.1:1/db?sslpassword={}&sslkey=/nonexistent&sslmode=require",
    "postgresql://127.0.0.1:1/db?passwrod={}",
    "postgresql://127.0.0.1:1/db?sslmode={}",
    "postgresql://127.0.0.1:1/db?{}",
    "postgresql://127.0.0.1:1/{}",
    "postgresql://127.0.0.1:{}/db",
    "postgresql://u:{}",
    "postgresql://{}@127.0.0.1:1/db",
    "postgresql://{}",
    "postgresql:{}",
    "host=127.0.0.1 port=1 user=u password={}",
    "user=u password='{}' host=127.0.0.1",
    "u:{}@127.0.0.1:1/db",
    "//u:{}@127.0.0.1:1/db",
    "mysql://u:{}@127.0.0.1:1/db",
    "{}",
]
REDIS = [
    "redis://:{}@127.0.0.1:1/0",
    "redis://u:{}@127.0.0.1:1/0",
    "rediss://u:{}@127.0.0.1:1/0",
    "redis://:{}@[::1]:1/0",
    "redis://:{}@[::1/0",
    "redis://:{}@nowhere.invalid/0",
    "redis://:{}@a..b:1/0",
    "redis://:{}@127.0.0.1:99999/0",
    "redis://127.0.0.1:1/0?password={}",
    "redis://127.0.0.1:1/0?passwrod={}",
    "redis://127.0.0.1:1/0?db={}",
    "redis://127.0.0.1:1/0?socket_timeout={}",
    "redis://127.0.0.1:1/{}",
    "redis://127.0.0.1:{}/0",
    "redis://{}@127.0.0.1:1/0",
    "redis://:{}",
    "redis://{}",
    "unix://:{}@/nonexistent",
    "unix:///nonexistent/{}",
    "unix:///nonexistent?password={}",
    "http://:{}@127.0.0.1:1",
    ":{}@127.0.0.1:1",
    "{}",
]
# Characters within a password that change what a parser reads. They stand at the same place in both
# passwords.
INFIXES = [
    "",
    "@",
    "@@",
    ":",
    "/",
    "//",
    "?",
    "#",
    "&",
    "=",
    "%",
    "%zz",
    "%41",
    "%00",
    " ",
    "é",
    "\u2100",
    "\\",
    "'",
    '"',
    "[",
    "]",
    "\x1b[31m",
]
INFIXES += ["\n", ";", ",", "?password=", "://", "postgresql://", "\udcff"]

COMMANDS = [
    ["list"],
    ["show", TASK],
    ["show", TASK, "--json"],
    ["wait", TASK, "--timeout", "0.1"],
    ["submit", "add"],
    ["cancel", TASK],
    ["redrive", TASK],
    ["replay", TASK],
    ["free-key", TASK],
    ["erase", TASK],
    ["queues"],
    ["queues", "pause", "q"],
    ["stats"],
    ["workers"],
    ["operations"],
    ["migrate"],
    ["check"],
    ["check", "--json"],
]


@st.composite
def passwords(draw: st.DrawFn) -> tuple[str, str]:
    """Two different ones of the same length, kinds of characters and special characters."""
    kinds = [
        FIRST_LETTERS,
        *draw(st.lists(st.sampled_from([LETTERS, DIGITS]), min_size=4, max_size=10)),
    ]
    infix, at = draw(st.sampled_from(INFIXES)), draw(st.integers(0, 5))
    made = []
    for _ in range(2):
        letters = [draw(st.sampled_from(kind)) for kind in kinds]
        made.append("".join(letters[:at]) + infix + "".join(letters[at:]))
    return made[0], made[1]


@contextmanager
def no_names() -> Iterator[None]:
    """No host name resolves, and no resolver is asked: the answer does not depend on the network of
    this machine."""
    usual = socket.getaddrinfo

    def numeric_only(host: object, *args: object, **options: object) -> object:
        text = host.decode() if isinstance(host, bytes) else str(host)
        if text in ("127.0.0.1", "::1"):
            return usual(text, *args, **options)  # type: ignore[arg-type]
        text.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with patch("socket.getaddrinfo", numeric_only):
        yield


def run(args: list[str], postgres: str, redis: str, handlers: str | None = None) -> str:
    env = {
        "LEASEQ_POSTGRES_URL": postgres,
        "LEASEQ_REDIS_URL": redis,
        "LEASEQ_HANDLER_POSTGRES_URL": handlers,
    }
    with no_names():
        result = CliRunner().invoke(main, args, env=env)
    return f"{result.exit_code}\n{result.stdout}\n{result.stderr}"


cheap = settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@cheap
@given(st.sampled_from(POSTGRES), passwords(), st.sampled_from(COMMANDS))
def test_no_command_shows_a_password_of_postgres(
    shape: str, pair: tuple[str, str], args: list[str]
) -> None:
    said = [run(args, shape.format(password), f"redis://{NOWHERE}/0") for password in pair]
    assert said[0] == said[1]
    assert "unexpected" not in said[0]
    assert "Traceback" not in said[0]


@cheap
@given(
    st.sampled_from(REDIS), passwords(), st.sampled_from([["check"], ["check", "--json"], ["list"]])
)
def test_no_command_shows_a_password_of_redis(
    shape: str, pair: tuple[str, str], args: list[str]
) -> None:
    said = [run(args, f"postgresql://{NOWHERE}/db", shape.format(password)) for password in pair]
    assert said[0] == said[1]
    assert "unexpected" not in said[0]


@pytest.mark.slow("each example runs every command")
@settings(max_examples=examples(8), deadline=None)
@given(st.sampled_from(POSTGRES), passwords())
def test_nor_one_of_the_role_of_handlers_or_in_another_variable(
    shape: str, pair: tuple[str, str]
) -> None:
    assert (
        len(
            {
                run(
                    ["check"], f"postgresql://{NOWHERE}/db", f"redis://{NOWHERE}/0", shape.format(p)
                )
                for p in pair
            }
        )
        == 1
    )
    if shape.startswith("postgres") and "\udcff" not in pair[0]:
        said = [
            CliRunner()
            .invoke(main, ["check"], env={"LEASEQ_CONCURRENCY": f"postgresql://u:{p}@h"})
            .output
            for p in pair
        ]
        assert said[0] == said[1]


async def everything_raised(config: Config) -> str:
    """All that the ways of connecting raise, with causes and contexts as a traceback shows them,
    and all events."""

    async def postgres() -> None:
        await (await open_pool(config, name="test", max_size=1)).close()

    async def schema() -> None:
        await require_schema(str(config.postgres_url))

    async def fit() -> None:
        await require_usable_servers(config, patience_seconds=0)

    async def redis() -> None:
        client = open_redis(config, name="test")
        try:
            with reachable():
                await client.execute_command("PING")  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()

    said = [repr(config), str(config.redacted())]
    with recorded() as events:
        for way in (postgres, schema, fit, redis):
            try:
                await way()
            except LeaseqError as error:
                said += [
                    line
                    for line in traceback.format_exception(error)
                    if not line.startswith("  File")
                ]
    return "\n".join(said) + str(events)


@pytest.mark.slow("each example waits for connections that fail")
@settings(max_examples=examples(12), deadline=None)
@given(
    st.sampled_from([s for s in POSTGRES if s.startswith("postgres")]),
    st.sampled_from([s for s in REDIS if "dis" in s[:5]]),
    passwords(),
)
def test_nothing_raised_or_reported_shows_a_password(
    postgres: str, redis: str, pair: tuple[str, str]
) -> None:
    said = []
    for password in pair:
        try:
            config = Config(
                postgres_url=postgres.format(password), redis_url=redis.format(password)
            )
        except LeaseqError as error:
            said.append(str(error))
            continue
        with no_names():
            said.append(asyncio.run(everything_raised(config)))
    assert said[0] == said[1]


@pytest.mark.slow("six services as programs")
def test_services_as_processes_show_nothing(config: Config) -> None:
    """With a URL that cannot be read, because a service waits for a server that does not answer."""
    shape = "postgresql://u:a%{}@127.0.0.1:1/db"
    pair = ("s3cretZZ", "q9vxwWnm")
    started = {}
    for name, args in {
        "api": ["api"],
        "reaper": ["reaper"],
        "worker": ["worker", "apps.probe:app"],
    }.items():
        for password in pair:
            env = environment(config) | {
                "LEASEQ_POSTGRES_URL": shape.format(password),
                "LEASEQ_API_PORT": "0",
            }
            env.pop("LEASEQ_HANDLER_POSTGRES_URL", None)
            started[name, password] = subprocess.Popen(
                [sys.executable, "-m", "leaseq", *args],
                env=env,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
    said = {}
    for key, process in started.items():
        with process:
            said[key] = process.communicate(timeout=90)[0].decode()
    for name in ("api", "reaper", "worker"):
        one, other = (said[name, password] for password in pair)
        assert len(one.splitlines()) == 1, one
        assert one == other
        assert "cannot be read" in one
