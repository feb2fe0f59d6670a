"""The configuration of one process, read from LEASEQ_* variables and checked.

There is one frozen `Config` per process. It is read at the edge and passed down. Invariants: every
`Config` that exists has passed `_check`, so no code below checks again. A variable that is set but
unknown is refused, because a misspelt limit is a limit that does not hold. Field names include
their units.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from leaseq.config_checks import PREFIX, SCHEMES, SECRET_CHARACTERS, check_value, variable_of
from leaseq.errors import ConfigInvalid

__all__ = ["FILE_VARIABLES", "Config", "hide_secrets", "split_secrets", "take_over"]

# These belong to the tests, the chaos suite and the benchmarks. The services ignore them.
FOREIGN_PREFIXES = ("LEASEQ_BENCH_", "LEASEQ_CHAOS_", "LEASEQ_TEST_")
HEARTBEATS_PER_LEASE = 3
# Deliveries that a lane holds. With a small window the workers keep waiting for the reaper; small
# values are for tests.
DISPATCH_WINDOW = 20_000
FEWEST_DELIVERIES = 10
DAY = 86_400.0
MIB = 1_048_576

ApiAuth = Literal["auto", "keys", "off"]
Switch = Literal["on", "off"]
Colour = Literal["grey", "red", "orange", "green", "blue", "purple"]
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["critical", "debug", "error", "info", "warning"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. The variable of a field is `LEASEQ_` and its name in capitals.

    Raises ConfigInvalid if a value, or a relation between two values, is not valid.
    """

    # Servers. None: an embedded server, with its files in data_dir.
    postgres_url: str | None = None
    # None: handlers use postgres_url and its role.
    handler_postgres_url: str | None = None
    redis_url: str | None = None
    redis_prefix: str = "leaseq"
    data_dir: Path = Path(".leaseq")

    # Refuse a Postgres whose commits do not wait for a standby.
    require_standby: bool = False

    # Leases.
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    loop_stall_seconds: float = 30.0

    # Workers. The version of the application that they run, which failures are listed by.
    app_version: str | None = None
    concurrency: int = 100
    processes: int = 1
    grace_seconds: float = 30.0

    # Deliveries in each lane. Further tasks wait in the ledger.
    dispatch_window: int = DISPATCH_WINDOW

    # Defaults for a task that does not set its own.
    max_attempts: int = 15
    timeout_seconds: float = 300.0
    max_crashes: int = 3
    backoff_base_seconds: float = 1.0
    backoff_cap_seconds: float = 3600.0
    # Hand-backs that the task itself causes: an unknown type, or a connection that its handler
    # breaks.
    hand_back_base_seconds: float = 1.0
    hand_back_cap_seconds: float = 300.0

    # Where a supervisor and a reaper serve their metrics. None: nowhere. 0: on any free port.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None

    # Submission.
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    api_processes: int = 1
    # Names, separated by commas, under which clients and proxies reach the API, besides the
    # loopback.
    api_hosts: str | None = None
    # Addresses and networks, separated by commas, of the proxies whose forwarding headers count.
    api_proxies: str | None = None
    # PEM files. The API serves HTTPS where both are set.
    api_tls_cert: str | None = None
    api_tls_key: str | None = None
    api_connections: int = 1000
    # auto: keys are required unless the API listens on the loopback.
    api_auth: ApiAuth = "auto"
    # Of each kind, reads and changes, that one process works on at a time.
    api_requests: int = 100
    require_idempotency_key: bool = False
    strict_types: bool = False
    payload_max_bytes: int = MIB
    result_max_bytes: int = MIB

    # The dashboard. The label names the environment, on a strip of this colour.
    ui: Switch = "on"
    ui_label: str | None = None
    ui_colour: Colour = "grey"
    ui_read_only: bool = False
    ui_cookie_insecure: bool = False
    # Names of keys, separated by commas, whose values the dashboard masks. none: it masks none.
    redact: str = "password,token,secret,authorization"

    # Retention of a key since its first use, and of a task since it finished.
    idempotency_retention_seconds: float = 7 * DAY
    task_retention_seconds: float = 3 * DAY
    # Of the record of who changed what (docs/audit.md).
    operation_retention_seconds: float = 90 * DAY

    # Intervals of the reaper's passes, and the limit on any one statement.
    reap_interval_seconds: float = 0.5
    promote_interval_seconds: float = 0.1
    reconcile_interval_seconds: float = 2.0
    prune_interval_seconds: float = 60.0
    statement_timeout_seconds: float = 10.0

    # An attempt is a child of the span that submitted its task, and not only linked to it.
    trace_parent: bool = False
    # Each statement that settles attempts has a span, linked to theirs.
    trace_batches: bool = False

    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        """Like a struct's repr, without the URLs, because configurations end up in logs."""
        return (
            f"Config({', '.join(f'{name}={value!r}' for name, value in self.redacted().items())})"
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read LEASEQ_* from `env`, by default the environment of the process. A worker process
        adds the values that its supervisor passed to it. The URLs may be in files:
        LEASEQ_POSTGRES_URL_FILE names one.

        Raises ConfigInvalid, with one sentence that names the variable and its value.
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
                raise ConfigInvalid(
                    f"{variable_of(field)} and {variable} are both set: unset one of them"
                )
            given[field] = _parse(field, text)
        return cls(**given)

    def to_env(self) -> dict[str, str]:
        """The variables from which `from_env` makes the same configuration in a child process.
        Paths become absolute."""
        values = {
            name: value for name, value in msgspec.structs.asdict(self).items() if value is not None
        }
        values["data_dir"] = self.data_dir.absolute()
        return {
            variable_of(name): str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in values.items()
        }

    def redacted(self) -> dict[str, Any]:
        """Every field by name, and only the scheme of each URL. Safe to print.

        Any other part of a misspelt URL may be the password: in `redis://secret` it is the host.
        """
        fields = msgspec.structs.asdict(self)
        for name, schemes in SCHEMES.items():
            if (url := fields[name]) is not None:
                fields[name] = f"{next(scheme for scheme in schemes if url.startswith(scheme))}***"
        return fields


_FIELD_TYPES: dict[str, Any] = get_type_hints(Config)
_KINDS: dict[Any, str] = {
    bool: "true, false, 1 or 0",
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
}
FILE_VARIABLES = {f"{PREFIX}{name.upper()}_FILE" for name in SCHEMES}
# Values that the supervisor passed to this process and hides from the programs that handlers start,
# by variable.
_handed_over: dict[str, str] = {}


def split_secrets(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of `to_env` without the URLs, and the URLs: a child must not have passwords in
    its environment."""
    values = config.to_env()
    secrets = {
        variable: values.pop(variable)
        for name in SCHEMES
        if (variable := variable_of(name)) in values
    }
    return values, secrets


def hide_secrets(env: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """An environment without the values of these variables. A variable whose value does not come
    from a file stays, but empty. A program without the variable would start the embedded servers;
    with an empty one it reports why it has no URL."""
    hidden = {name: value for name, value in env.items() if name not in secrets}
    return hidden | {name: "" for name in secrets if f"{name}_FILE" not in env}


def take_over(secrets: Mapping[str, str]) -> None:
    """Make values that did not come from the environment available to `Config.from_env`."""
    _handed_over.update(secrets)


def _environment() -> dict[str, str]:
    from_files = {f"{name}_FILE" for name in _handed_over}
    return {
        name: value for name, value in os.environ.items() if name not in from_files
    } | _handed_over


def _read_secret(variable: str, path: str) -> str:
    """The first line of a file. A line longer than any URL is cut, and refused later."""
    try:
        with Path(path.strip()).open(encoding="utf-8") as file:
            return file.readline(SECRET_CHARACTERS + 1).rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigInvalid(f"{variable} names a file that cannot be read: {reason}") from None


def _unknown(variable: str) -> str:
    known = [*(variable_of(field) for field in Config.__struct_fields__), *sorted(FILE_VARIABLES)]
    near = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0.7)
    advice = f"did you mean {near[0]}?" if near else "`leaseq check` lists the known variables"
    return f"{variable} is not a known variable: {advice}"


def _parse(field: str, text: str) -> object:
    kind = _FIELD_TYPES[field]
    if field in SCHEMES and not text.strip().isprintable():
        raise ConfigInvalid(
            f"{variable_of(field)} contains unprintable characters: percent-encode them (%0A)"
        )
    if "://" in text and field not in SCHEMES:
        raise ConfigInvalid(
            f"{variable_of(field)} contains a URL, but is not a URL setting: correct the name of the variable"
        )
    if not text.strip():
        hidden = (
            " (a worker empties it for the programs that its handlers start)"
            if field in SCHEMES
            else ""
        )
        raise ConfigInvalid(
            f"{variable_of(field)} is set but empty{hidden}: unset it, or set a value"
        )
    if kind is Path:
        return Path(text)
    if field == "redis_prefix":
        return text  # blanks are kept, and refused later
    if kind in (str, str | None):
        return text.strip()
    try:
        return (
            kind(text)
            if kind in (int, float)
            else msgspec.convert(text.strip(), kind, strict=False)
        )
    except (ValueError, msgspec.ValidationError):
        wanted = _KINDS.get(kind) or f"one of {', '.join(get_args(kind))}"
        raise ConfigInvalid(f"{variable_of(field)}={text} is not {wanted}") from None


def _check(config: Config) -> None:
    for field in config.__struct_fields__:
        check_value(field, _FIELD_TYPES[field], getattr(config, field))
    _check_relations(config)


def _check_relations(config: Config) -> None:
    if (config.api_tls_cert is None) != (config.api_tls_key is None):
        missing = "LEASEQ_API_TLS_CERT" if config.api_tls_cert is None else "LEASEQ_API_TLS_KEY"
        raise ConfigInvalid(f"{missing} is not set: HTTPS needs a certificate and its key")
    if config.handler_postgres_url is not None and config.postgres_url is None:
        raise ConfigInvalid(
            "LEASEQ_HANDLER_POSTGRES_URL is set, but LEASEQ_POSTGRES_URL is not: set both, for two roles of the same database"
        )
    if config.dispatch_window < FEWEST_DELIVERIES:
        minimum = f"a lane must hold at least {FEWEST_DELIVERIES} deliveries"
        raise ConfigInvalid(
            f"LEASEQ_DISPATCH_WINDOW={config.dispatch_window} is too small: {minimum}"
        )
    if config.heartbeat_seconds * HEARTBEATS_PER_LEASE > config.lease_seconds:
        raise ConfigInvalid(
            f"LEASEQ_LEASE_SECONDS={config.lease_seconds:.12g} is too short for "
            f"LEASEQ_HEARTBEAT_SECONDS={config.heartbeat_seconds:.12g}: three heartbeats must fit a lease"
        )
    for low, high, reason in (
        ("backoff_base_seconds", "backoff_cap_seconds", "the base must not exceed the cap"),
        ("hand_back_base_seconds", "hand_back_cap_seconds", "the base must not exceed the cap"),
        (
            "task_retention_seconds",
            "idempotency_retention_seconds",
            "a key must outlive its finished task",
        ),
        (
            "heartbeat_seconds",
            "loop_stall_seconds",
            "a loop can be found stalled only at a heartbeat",
        ),
    ):
        low_value, high_value = getattr(config, low), getattr(config, high)
        if low_value > high_value:
            raise ConfigInvalid(
                f"{variable_of(low)}={low_value:.12g} is larger than {variable_of(high)}={high_value:.12g}: {reason}"
            )
