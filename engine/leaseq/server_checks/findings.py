"""Findings about the settings of Postgres and Redis that could break a guarantee.

A Postgres that forgets acknowledged commits or a Redis that evicts queues would break them
silently. Every function here is pure: it takes the answers of a server and returns the findings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from leaseq.dispatch.ownership import foreign
from leaseq.ledger.roles import HandlerRole, ServiceRole
from leaseq.ledger.schema import LATEST
from leaseq.ledger.server import ServerSettings

OLDEST_POSTGRES = 15
OLDEST_REDIS = (6, 2)
SOME = 3  # of many missing rights: enough to recognize the cause

# With these, a commit returns before it is on disk here, or before the standby has it.
TOO_SOON = ("off", "local")


class Finding(Struct, frozen=True):
    """One problem and its fix. A fatal one prevents a start."""

    about: str  # postgres, schema, redis, schedules
    fatal: bool
    message: str


def check_postgres(settings: ServerSettings, *, require_standby: bool = False) -> list[Finding]:
    """Findings about the settings of Postgres. `require_standby`: an accepted task must be on a
    standby, too."""
    fatal: list[str] = []
    major = settings.version // 10_000
    if major < OLDEST_POSTGRES:
        fatal.append(f"PostgreSQL {major} is too old: use {OLDEST_POSTGRES} or newer")
    if settings.fsync == "off":
        fatal.append(
            "fsync is off, so a crash of the server loses accepted tasks: set fsync = on and restart it"
        )
    if settings.full_page_writes == "off":
        fatal.append(
            "full_page_writes is off, so a crash can leave torn pages: set full_page_writes = on"
        )
    if settings.synchronous_commit in TOO_SOON:
        fatal.append(
            f"synchronous_commit is {settings.synchronous_commit} although every session asks for on: "
            "connect without the pooler that forgets it, or let it keep session settings"
        )
    elif settings.default_synchronous_commit in TOO_SOON:
        fatal.append(
            f"synchronous_commit is {settings.default_synchronous_commit} for this role and database, which would hold for "
            "tasks submitted in transactions of your own: alter database ... set synchronous_commit = on (or alter role)"
        )
    if require_standby and not settings.synchronous_standby_names:
        fatal.append(
            "synchronous_standby_names is empty, so that commits wait for no standby, and LEASEQ_REQUIRE_STANDBY is true: "
            "name the standbys on the primary, or unset LEASEQ_REQUIRE_STANDBY"
        )
    if settings.in_recovery:
        fatal.append(
            "this is a standby, which takes no writes: point LEASEQ_POSTGRES_URL at the primary"
        )
    elif settings.read_only == "on":
        fatal.append("default_transaction_read_only is on: set it off for this role and database")
    findings = [Finding("postgres", True, message) for message in fatal]
    if settings.pooled:
        warning = (
            "a pooler in session mode stands between leaseq and Postgres: its pool_size must be larger than the number of all "
            "connections of leaseq (docs/operations.md, Sizing)"
        )
        findings.append(Finding("postgres", False, warning))
    return findings


def check_roles(service: ServiceRole, handler: HandlerRole | None) -> list[Finding]:
    """Findings about excessive or missing rights of these roles. `handler` None: handlers use the
    role of the service."""
    grant = "run `leaseq migrate --grants` as the owner of the schema"
    fatal = _lacks("the role", service.name, service.missing, grant)
    warnings: list[str] = []
    if service.is_superuser:
        warnings.append(
            f"the role {service.name} is a superuser: {grant} and put leaseq_service into LEASEQ_POSTGRES_URL"
        )
    elif service.is_owner:
        warnings.append(
            f"the role {service.name} owns the schema leaseq, which only `leaseq migrate` needs: {grant}, and use leaseq_service"
        )
    if service.unsignalled:
        warnings.append(
            f"sessions of {', '.join(service.unsignalled)} cannot be ended when their worker dies, and keep their locks: "
            f"{grant}, or grant that role to the owner"
        )
    if unseen := [role for role in service.unseen if role not in service.unsignalled]:
        warnings.append(
            f"sessions of {', '.join(unseen)} cannot be recognized when their worker dies, since Postgres hides their start, and "
            f"keep their locks: {grant}, or grant pg_read_all_stats to {service.name}"
        )
    if handler is None:
        warnings.append(
            f"handlers use the role {service.name}, so that SQL injected into one handler reads and changes the tasks of all: "
            "put a URL with the role leaseq_handler into LEASEQ_HANDLER_POSTGRES_URL"
        )
    else:
        fatal += _lacks("the role of handlers", handler.name, handler.missing, grant)
        if handler.is_superuser:
            warnings.append(
                f"the role of handlers, {handler.name}, is a superuser: use leaseq_handler in LEASEQ_HANDLER_POSTGRES_URL"
            )
        if handler.database != service.database:
            fatal.append(
                "LEASEQ_HANDLER_POSTGRES_URL leads to another database than LEASEQ_POSTGRES_URL: only user and password differ"
            )
        if handler.excess and not handler.is_superuser:
            some = ", ".join(handler.excess[:SOME]) + (
                " and more" if len(handler.excess) > SOME else ""
            )
            warnings.append(
                f"the role of handlers, {handler.name}, has rights that SQL injected into one would use ({some}): {grant}"
            )
    return [
        *(Finding("postgres", True, message) for message in fatal),
        *(Finding("postgres", False, message) for message in warnings),
    ]


def _lacks(kind: str, name: str, missing: Sequence[str], grant: str) -> list[str]:
    if not missing:
        return []
    some = ", ".join(missing[:SOME]) + (" and more" if len(missing) > SOME else "")
    return [f"{kind} {name} lacks {some}: {grant}"]


def check_schema(version: int) -> list[Finding]:
    """Findings about a schema of this version. A newer schema is refused where it is read
    (`SchemaMismatch`)."""
    if version == LATEST:
        return []
    if version == 0:
        return [
            Finding(
                "schema",
                True,
                "there is no schema of leaseq in this database: run `leaseq migrate`",
            )
        ]
    message = f"the schema is at version {version}, this code needs {LATEST}: run `leaseq migrate`"
    return [Finding("schema", True, message)]


def check_redis(policy: Mapping[str, str]) -> list[Finding]:
    """Findings about the settings of Redis (`DispatchServer.settings`)."""
    fatal: list[str] = []
    warnings: list[str] = []
    version = _numbers(policy["version"])
    if not version:
        warnings.append(
            "it does not tell its version, nor whether it was restarted: let this user run INFO"
        )
    if version and version < OLDEST_REDIS:
        fatal.append(f"Redis {policy['version']} is too old: use Redis 6.2, Valkey 7.2, or newer")
    if policy["role"] in ("slave", "replica"):
        fatal.append(
            "this is a replica, which takes no writes: point LEASEQ_REDIS_URL at the primary"
        )
    if policy["mode"] == "cluster":
        fatal.append(
            "this is a node of a cluster, which is not supported yet: use a server that stands alone"
        )
    eviction = policy["maxmemory_policy"]
    if not eviction:
        warnings.append("it does not tell its eviction policy: make sure that it is noeviction")
    elif eviction != "noeviction":
        fatal.append(
            f"maxmemory-policy is {eviction}, which evicts whole queues: set maxmemory-policy noeviction"
        )
    if policy["aof_enabled"] == "0":
        warnings.append(
            "its append-only file is off, so every restart means rebuilding queues: set appendonly yes"
        )
    return [
        *(Finding("redis", True, message) for message in fatal),
        *(Finding("redis", False, message) for message in warnings),
    ]


def check_owner(prefix: str, *, ledger_id: str | None, owner: str | None) -> list[Finding]:
    """Findings about the owner of a prefix in Redis. None: the ledger has no identity yet, or the
    prefix no owner."""
    if ledger_id is None or owner in (None, ledger_id):
        return []
    return [Finding("redis", True, foreign(prefix, ledger_id=ledger_id, found=str(owner)))]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


__all__ = [
    "Finding",
    "check_owner",
    "check_postgres",
    "check_redis",
    "check_roles",
    "check_schema",
]
