"""What is a process of leaseq told from outside, and is it consistent?

One frozen `Config` per process, read from LEASEQ_* at the edge and handed down. Invariants: every `Config`
that exists has passed `_check`, so no code below asks again; a name that is set but unknown is refused, since
a misspelt limit is a limit that does not hold. Units stand in the names.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from leaseq.errors import ConfigInvalid

__all__ = ["API_HOST", "FILE_VARIABLES", "Config", "hide_secrets", "split_secrets", "take_over"]

PREFIX = "LEASEQ_"
# These belong to the tests, the chaos suite and the benchmarks; the services leave them alone.
FOREIGN_PREFIXES = ("LEASEQ_BENCH_", "LEASEQ_CHAOS_", "LEASEQ_TEST_")
# Names with a colon between them. A brace would move the hash tag of a key, a glob character would widen a pattern, and CLIENT
# SETNAME refuses blanks and what is not ASCII.
REDIS_PREFIX = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*")
# What a Host header may say (RFC 9110, 7.2): a name or an address, with a port or without.
API_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
HEARTBEATS_PER_LEASE = 3
# How many deliveries a lane holds. With only a few the workers wait for the reaper, again and again; that is for tests.
DISPATCH_WINDOW = 20_000
FEWEST_DELIVERIES = 10
SECRET_CHARACTERS = 16_384
DAY = 86_400.0
MIB = 1_048_576

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["critical", "debug", "error", "info", "warning"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set from outside. The variable of a field is `LEASEQ_` and its name in capitals.

    Raises ConfigInvalid when a value or a relation between two values makes no sense.
    """

    # Servers. None: the embedded default, kept in data_dir.
    postgres_url: str | None = None
    # None: handlers use postgres_url, and its role.
    handler_postgres_url: str | None = None
    redis_url: str | None = None
    redis_prefix: str = "leaseq"
    data_dir: Path = Path(".leaseq")

    # Refuse a Postgres whose commits wait for no standby.
    require_standby: bool = False

    # Leases.
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    loop_stall_seconds: float = 30.0

    # Workers.
    concurrency: int = 100
    processes: int = 1
    grace_seconds: float = 30.0

    # Of each lane, in deliveries. What is more waits in the ledger.
    dispatch_window: int = DISPATCH_WINDOW

    # Defaults for a task that does not say otherwise.
    max_attempts: int = 15
    timeout_seconds: float = 300.0
    max_crashes: int = 3
    backoff_base_seconds: float = 1.0
    backoff_cap_seconds: float = 3600.0
    # Of hand-backs that a task itself causes: an unknown type, a connection that its handler breaks.
    hand_back_base_seconds: float = 1.0
    hand_back_cap_seconds: float = 300.0

    # Submission.
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    # Besides the loopback: the names, separated by commas, under which clients and proxies reach the API.
    api_hosts: str | None = None
    api_connections: int = 1000
    require_idempotency_key: bool = False
    strict_types: bool = False
    payload_max_bytes: int = MIB
    result_max_bytes: int = MIB

    # Retention: of a key since its first use, of a task since it finished.
    idempotency_retention_seconds: float = 7 * DAY
    task_retention_seconds: float = 3 * DAY

    # The passes of the reaper, and the limit on any one statement.
    reap_interval_seconds: float = 0.5
    promote_interval_seconds: float = 0.1
    reconcile_interval_seconds: float = 2.0
    prune_interval_seconds: float = 60.0
    statement_timeout_seconds: float = 10.0

    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        """Like a struct's own, without the URLs: configurations end up in logs."""
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self.redacted().items())})"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read LEASEQ_* from `env`, by default the environment of the process (in a worker's process together with what its
        supervisor handed over). The URLs may stand in files: LEASEQ_POSTGRES_URL_FILE names one.

        Raises ConfigInvalid, in one sentence that names the variable and its value.
        """
        given: dict[str, Any] = {}
        for variable, text in sorted((_environment() if env is None else env).items()):
            if not variable.startswith(PREFIX) or variable.startswith(FOREIGN_PREFIXES):
                continue
            field = variable.removeprefix(PREFIX).lower()
            if variable in FILE_VARIABLES:
                field = field.removesuffix("_file")
                text = _read_secret(variable, text)
            if variable != variable.upper() or field not in cls.__struct_fields__:
                raise ConfigInvalid(_unknown(variable))
            if field in given:
                raise ConfigInvalid(f"{_variable(field)} and {variable} are both set: unset one of them")
            given[field] = _parse(field, text)
        return cls(**given)

    def to_env(self) -> dict[str, str]:
        """The variables from which `from_env` makes this configuration again: for a child process. Paths become absolute."""
        values = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        values["data_dir"] = self.data_dir.absolute()
        return {_variable(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}

    def redacted(self) -> dict[str, Any]:
        """Every field by name, and of each URL its scheme: safe to print.

        Nothing else of a URL is shown. In one that is misspelt, any part may be the password: of `redis://secret` it is the host.
        """
        fields = msgspec.structs.asdict(self)
        for name, schemes in _SCHEMES.items():
            if (url := fields[name]) is not None:
                fields[name] = f"{next(scheme for scheme in schemes if url.startswith(scheme))}***"
        return fields


_FIELD_TYPES: dict[str, Any] = get_type_hints(Config)
_KINDS = {bool: "true, false, 1 or 0", int: "a whole number", float: "a number"}
_SCHEMES = {
    "postgres_url": ("postgresql://", "postgres://"),
    "handler_postgres_url": ("postgresql://", "postgres://"),
    "redis_url": ("redis://", "rediss://", "unix://"),
}


_EXAMPLES = {
    "postgres_url": "postgresql://user:password@host:5432/database",
    "handler_postgres_url": "postgresql://user:password@host:5432/database",
    "redis_url": "redis://user:password@host:6379/0",
}
FILE_VARIABLES = {f"{PREFIX}{name.upper()}_FILE" for name in _SCHEMES}
# By variable: what the supervisor of this process handed over, and keeps from the programs that handlers start.
_handed_over: dict[str, str] = {}


def split_secrets(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """What `to_env` says, without the URLs, and the URLs: for a child that must not have passwords in its environment."""
    values = config.to_env()
    secrets = {variable: values.pop(variable) for name in _SCHEMES if (variable := _variable(name)) in values}
    return values, secrets


def hide_secrets(env: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """An environment without these variables. One whose value does not come from a file stays, empty: with none at all a program
    would start the embedded servers, with an empty one it says why it has none."""
    hidden = {name: value for name, value in env.items() if name not in secrets}
    return hidden | {name: "" for name in secrets if f"{name}_FILE" not in env}


def take_over(secrets: Mapping[str, str]) -> None:
    """Let `Config.from_env` find here what this process was given by other means than its environment."""
    _handed_over.update(secrets)


def _environment() -> dict[str, str]:
    from_files = {f"{name}_FILE" for name in _handed_over}
    return {name: value for name, value in os.environ.items() if name not in from_files} | _handed_over


def _read_secret(variable: str, path: str) -> str:
    """The first line of a file. It may be longer than any URL; then it is none."""
    try:
        with Path(path.strip()).open(encoding="utf-8") as file:
            return file.readline(SECRET_CHARACTERS + 1).rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigInvalid(f"{variable} names a file that cannot be read: {reason}") from None


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _unknown(variable: str) -> str:
    known = [*(_variable(field) for field in Config.__struct_fields__), *sorted(FILE_VARIABLES)]
    near = difflib.get_close_matches(variable.upper(), known, n=1)
    advice = f"did you mean {near[0]}?" if near else "`leaseq check` lists the names there are"
    return f"{variable} is not a variable of leaseq: {advice}"


def _parse(field: str, text: str) -> object:
    kind = _FIELD_TYPES[field]
    if field in _SCHEMES and not text.strip().isprintable():
        raise ConfigInvalid(f"{_variable(field)} holds characters that no URL has: write them as in %0A")
    if "://" in text and field not in _SCHEMES:
        raise ConfigInvalid(f"{_variable(field)} holds a URL, and takes none: correct the name of the variable")
    if not text.strip():
        hidden = " (a worker empties it for the programs that its handlers start)" if field in _SCHEMES else ""
        raise ConfigInvalid(f"{_variable(field)} is set but empty{hidden}: unset it, or give it a value")
    if kind is Path:
        return Path(text)
    if field == "redis_prefix":
        return text  # with its blanks, which are refused
    if kind in (str, str | None):
        return text.strip()
    try:
        return kind(text) if kind in (int, float) else msgspec.convert(text.strip(), kind, strict=False)
    except (ValueError, msgspec.ValidationError):
        wanted = _KINDS.get(kind) or f"one of {', '.join(get_args(kind))}"
        raise ConfigInvalid(f"{_variable(field)}={text} is not {wanted}") from None


def _check(config: Config) -> None:
    for field in config.__struct_fields__:
        _check_alone(field, getattr(config, field))
    _check_prefix(config.redis_prefix)
    _check_hosts(config.api_hosts)
    _check_relations(config)


def _check_alone(field: str, value: Any) -> None:
    kind = _FIELD_TYPES[field]
    if field in _SCHEMES:
        _check_url(field, value)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigInvalid(f"{_variable(field)}={value} is not one of {', '.join(get_args(kind))}")
    elif field == "api_host":
        _check_host(field, value)
    elif field == "api_port":
        if not 0 <= value <= 65_535:
            raise ConfigInvalid(f"{_variable(field)}={value} is not a port: it must lie between 0 and 65535")
    elif kind in (int, float):
        lowest_allowed = value >= 0 if field == "grace_seconds" else value > 0
        if not (math.isfinite(value) and lowest_allowed):
            raise ConfigInvalid(f"{_variable(field)}={value} must be a positive number")


def _check_host(field: str, host: str) -> None:
    # A socket encodes a name by IDNA, whose labels have 1 to 63 characters.
    labels = host.removesuffix(".").split(".")
    if not (host.isascii() and host.isprintable() and all(0 < len(label) < 64 for label in labels)):
        raise ConfigInvalid(f"{_variable(field)}={host!a} is not an address: write one such as 127.0.0.1 or ::1")


def _check_url(field: str, url: str | None) -> None:
    if url is not None and len(url) > SECRET_CHARACTERS:
        raise ConfigInvalid(f"{_variable(field)} is longer than {SECRET_CHARACTERS:,} characters: it is no URL")
    if url is not None and not url.startswith(_SCHEMES[field]):
        raise ConfigInvalid(f"{_variable(field)} does not begin with {' or '.join(_SCHEMES[field])}: write {_EXAMPLES[field]}")


def _check_prefix(prefix: str) -> None:
    if not REDIS_PREFIX.fullmatch(prefix):
        rule = "1 to 64 characters of A-Z a-z 0-9 _ . - (no blanks, no braces, no * ? [ ] \\), with a colon between names"
        raise ConfigInvalid(f"LEASEQ_REDIS_PREFIX={prefix!a} cannot begin the keys in Redis: use {rule}")


def _check_hosts(hosts: str | None) -> None:
    for host in () if hosts is None else hosts.split(","):
        if not API_HOST.fullmatch(host.strip()):
            rule = "separate names or addresses with commas, each with a port or without, such as queue.example.org,api:8000"
            raise ConfigInvalid(f"LEASEQ_API_HOSTS={hosts!a} holds {host.strip()!a}, which is no host: {rule}")


def _check_relations(config: Config) -> None:
    if config.handler_postgres_url is not None and config.postgres_url is None:
        raise ConfigInvalid(
            "LEASEQ_HANDLER_POSTGRES_URL is set, but LEASEQ_POSTGRES_URL is not: it names the same database for another role"
        )
    if config.dispatch_window < FEWEST_DELIVERIES:
        said = f"a lane of a queue holds at least {FEWEST_DELIVERIES} deliveries"
        raise ConfigInvalid(f"LEASEQ_DISPATCH_WINDOW={config.dispatch_window} is too small: {said}")
    if config.heartbeat_seconds * HEARTBEATS_PER_LEASE > config.lease_seconds:
        raise ConfigInvalid(
            f"LEASEQ_LEASE_SECONDS={config.lease_seconds:.12g} is too short for "
            f"LEASEQ_HEARTBEAT_SECONDS={config.heartbeat_seconds:.12g}: three heartbeats must fit a lease"
        )
    for low, high, reason in (
        ("backoff_base_seconds", "backoff_cap_seconds", "a backoff starts below its cap"),
        ("hand_back_base_seconds", "hand_back_cap_seconds", "a backoff starts below its cap"),
        ("task_retention_seconds", "idempotency_retention_seconds", "a key must outlive its finished task"),
        ("heartbeat_seconds", "loop_stall_seconds", "a loop cannot be found stalled between two heartbeats"),
    ):
        low_value, high_value = getattr(config, low), getattr(config, high)
        if low_value > high_value:
            raise ConfigInvalid(f"{_variable(low)}={low_value:.12g} is larger than {_variable(high)}={high_value:.12g}: {reason}")
