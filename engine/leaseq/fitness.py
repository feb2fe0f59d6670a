"""Check that the servers are configured so that leaseq can keep its guarantees.

The guarantees depend on settings of the servers: a Postgres that forgets acknowledged commits or a
Redis that evicts queues would break them silently. `judge_*` are pure functions. `require_fit`
refuses to start, and `survey` reports all findings together. A missing Redis does not prevent a
start, since nothing in it carries authority. A missing Postgres is waited for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres import NotPrimary, check_reachable, open_pool
from leaseq.connections.primary import learn_timeline
from leaseq.connections.redis import open_redis
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.ownership import Owner, foreign
from leaseq.dispatch.survey import Survey
from leaseq.errors import SchemaMismatch, ServerUnfit, ServerUnreachable
from leaseq.ledger.roles import HandlerRole, ServiceRole, find_handler_role, find_service_role
from leaseq.ledger.schema import LATEST, schema_version
from leaseq.ledger.server import ServerSettings, read_ledger_id, read_server_settings
from leaseq.ledger.session import Session
from leaseq.observability.telemetry import emit

R = TypeVar("R")

OLDEST_POSTGRES = 15
OLDEST_REDIS = (6, 2)
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.5
SOME = 3  # of many missing rights: enough to recognize the cause

# With these, a commit returns before it is on disk here, or before the standby has it.
TOO_SOON = ("off", "local")


class Finding(Struct, frozen=True):
    """One problem and its fix. A grave one prevents a start."""

    about: str  # postgres, schema, redis
    grave: bool
    message: str


class Report(Struct, frozen=True):
    """The findings, and the servers that answered, in words."""

    servers: dict[str, str]
    findings: list[Finding]


class FoundLedger(Struct, frozen=True):
    """The answers of the server behind the URL of Postgres. `refusal` says why it is not the
    primary, or is empty."""

    settings: ServerSettings
    ledger_id: str | None  # None: the schema has no identity yet
    refusal: str


def judge_postgres(settings: ServerSettings, *, require_standby: bool = False) -> list[Finding]:
    """Findings about the settings of Postgres. `require_standby`: an accepted task must be on a
    standby, too."""
    said: list[str] = []
    major = settings.version // 10_000
    if major < OLDEST_POSTGRES:
        said.append(f"PostgreSQL {major} is too old: use {OLDEST_POSTGRES} or newer")
    if settings.fsync == "off":
        said.append(
            "fsync is off, so a crash of the server loses accepted tasks: set fsync = on and restart it"
        )
    if settings.full_page_writes == "off":
        said.append(
            "full_page_writes is off, so a crash can leave torn pages: set full_page_writes = on"
        )
    if settings.synchronous_commit in TOO_SOON:
        said.append(
            f"synchronous_commit is {settings.synchronous_commit} although every session asks for on: "
            "connect without the pooler that forgets it, or let it keep session settings"
        )
    elif settings.default_synchronous_commit in TOO_SOON:
        said.append(
            f"synchronous_commit is {settings.default_synchronous_commit} for this role and database, which would hold for "
            "tasks submitted in transactions of your own: alter database ... set synchronous_commit = on (or alter role)"
        )
    if require_standby and not settings.synchronous_standby_names:
        said.append(
            "synchronous_standby_names is empty, so that commits wait for no standby, and LEASEQ_REQUIRE_STANDBY is true: "
            "name the standbys on the primary, or unset LEASEQ_REQUIRE_STANDBY"
        )
    if settings.in_recovery:
        said.append(
            "this is a standby, which takes no writes: point LEASEQ_POSTGRES_URL at the primary"
        )
    elif settings.read_only == "on":
        said.append("default_transaction_read_only is on: set it off for this role and database")
    findings = [Finding("postgres", True, message) for message in said]
    if settings.pooled:
        doubt = (
            "a pooler in session mode stands between leaseq and Postgres: its pool_size must be larger than the number of all "
            "connections of leaseq (docs/operations.md, Sizing)"
        )
        findings.append(Finding("postgres", False, doubt))
    return findings


def judge_roles(service: ServiceRole, handler: HandlerRole | None) -> list[Finding]:
    """Findings about excessive or missing rights of these roles. `handler` None: handlers use the
    role of the service."""
    grant = "run `leaseq migrate --grants` as the owner of the schema"
    faults = _lacks("the role", service.name, service.missing, grant)
    doubts: list[str] = []
    if service.is_superuser:
        doubts.append(
            f"the role {service.name} is a superuser: {grant} and put leaseq_service into LEASEQ_POSTGRES_URL"
        )
    elif service.is_owner:
        doubts.append(
            f"the role {service.name} owns the schema leaseq, which only `leaseq migrate` needs: {grant}, and use leaseq_service"
        )
    if service.unsignalled:
        doubts.append(
            f"sessions of {', '.join(service.unsignalled)} cannot be ended when their worker dies, and keep their locks: "
            f"{grant}, or grant that role to the owner"
        )
    if unseen := [role for role in service.unseen if role not in service.unsignalled]:
        doubts.append(
            f"sessions of {', '.join(unseen)} cannot be recognized when their worker dies, since Postgres hides their start, and "
            f"keep their locks: {grant}, or grant pg_read_all_stats to {service.name}"
        )
    if handler is None:
        doubts.append(
            f"handlers use the role {service.name}, so that SQL injected into one handler reads and changes the tasks of all: "
            "put a URL with the role leaseq_handler into LEASEQ_HANDLER_POSTGRES_URL"
        )
    else:
        faults += _lacks("the role of handlers", handler.name, handler.missing, grant)
        if handler.is_superuser:
            doubts.append(
                f"the role of handlers, {handler.name}, is a superuser: use leaseq_handler in LEASEQ_HANDLER_POSTGRES_URL"
            )
        if handler.database != service.database:
            faults.append(
                "LEASEQ_HANDLER_POSTGRES_URL leads to another database than LEASEQ_POSTGRES_URL: only user and password differ"
            )
        if handler.excess and not handler.is_superuser:
            some = ", ".join(handler.excess[:SOME]) + (
                " and more" if len(handler.excess) > SOME else ""
            )
            doubts.append(
                f"the role of handlers, {handler.name}, has rights that SQL injected into one would use ({some}): {grant}"
            )
    return [
        *(Finding("postgres", True, message) for message in faults),
        *(Finding("postgres", False, message) for message in doubts),
    ]


def _lacks(kind: str, name: str, missing: Sequence[str], grant: str) -> list[str]:
    if not missing:
        return []
    some = ", ".join(missing[:SOME]) + (" and more" if len(missing) > SOME else "")
    return [f"{kind} {name} lacks {some}: {grant}"]


def judge_schema(version: int) -> list[Finding]:
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
    said = f"the schema is at version {version}, this code needs {LATEST}: run `leaseq migrate`"
    return [Finding("schema", True, said)]


def judge_redis(policy: Mapping[str, str]) -> list[Finding]:
    """Findings about the settings of Redis (`Survey.policy`)."""
    faults: list[str] = []
    doubts: list[str] = []
    version = _numbers(policy["version"])
    if not version:
        doubts.append(
            "it does not tell its version, nor whether it was restarted: let this user run INFO"
        )
    if version and version < OLDEST_REDIS:
        faults.append(f"Redis {policy['version']} is too old: use Redis 6.2, Valkey 7.2, or newer")
    if policy["role"] in ("slave", "replica"):
        faults.append(
            "this is a replica, which takes no writes: point LEASEQ_REDIS_URL at the primary"
        )
    if policy["mode"] == "cluster":
        faults.append(
            "this is a node of a cluster, which is not supported yet: use a server that stands alone"
        )
    eviction = policy["maxmemory_policy"]
    if not eviction:
        doubts.append("it does not tell its eviction policy: make sure that it is noeviction")
    elif eviction != "noeviction":
        faults.append(
            f"maxmemory-policy is {eviction}, which evicts whole queues: set maxmemory-policy noeviction"
        )
    if policy["aof_enabled"] == "0":
        doubts.append(
            "its append-only file is off, so every restart means rebuilding queues: set appendonly yes"
        )
    return [
        *(Finding("redis", True, message) for message in faults),
        *(Finding("redis", False, message) for message in doubts),
    ]


def judge_owner(prefix: str, *, ledger_id: str | None, owner: str | None) -> list[Finding]:
    """Findings about the owner of a prefix in Redis. None: the ledger has no identity yet, or the
    prefix no owner."""
    if ledger_id is None or owner in (None, ledger_id):
        return []
    return [Finding("redis", True, foreign(prefix, ledger_id=ledger_id, found=str(owner)))]


async def survey(config: Config, *, migrates: bool = False) -> Report:
    """Ask both servers and return all findings. `migrates`: the start migrates an old schema, so it
    is not a problem."""
    servers: dict[str, str] = {}
    dispatch: tuple[dict[str, str], Owner] | ServerUnreachable
    try:
        dispatch = await _ask_redis(config)
    except ServerUnreachable as error:
        dispatch = error
    found, ledger_id = await _survey_postgres(config, servers, migrates=migrates)
    if isinstance(dispatch, ServerUnreachable):
        message = _away(dispatch, "start it (an empty one is enough)", "LEASEQ_REDIS_URL")
        return Report(servers, [*found, Finding("redis", True, message)])
    policy, owner = dispatch
    servers["redis"] = f"{policy['product']} {policy['version']}".strip()
    found += judge_redis(policy) + judge_owner(
        config.redis_prefix, ledger_id=ledger_id, owner=owner.ledger
    )
    return Report(servers, found)


async def require_fit(
    config: Config, *, migrates: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when a process may start on these servers; waits for a Postgres that does not answer
    yet.

    Raises `ServerUnreachable` when it has not come within `patience_seconds`, `SchemaMismatch`, and
    `ServerUnfit`, which names all grave findings. The other findings are emitted as
    `server.doubted`.
    """
    dispatch = None
    try:
        dispatch = await _ask_redis(config)
    except ServerUnreachable as error:
        emit("dispatch.unreachable", error=str(error))
    found, schema = await _wait_for_ledger(config, patience_seconds)
    findings = _judge_ledger(config, found)
    if dispatch is not None:
        policy, owner = dispatch
        findings += judge_redis(policy) + judge_owner(
            config.redis_prefix, ledger_id=found.ledger_id, owner=owner.ledger
        )
    _refuse(findings)
    if not migrates:
        if wrong := judge_schema(schema):
            raise SchemaMismatch(wrong[0].message)
        _refuse(await _survey_roles(config))


async def _wait_for_ledger(config: Config, patience_seconds: float) -> tuple[FoundLedger, int]:
    """The findings about Postgres, and the version of the schema (0 if the server is refused
    anyway)."""
    give_up = monotonic() + patience_seconds
    told = False
    while True:
        try:
            found = await _read_ledger(config)
            schema = 0 if found.refusal else await schema_version(config.postgres_url or "")
            break
        except ServerUnreachable as error:
            if monotonic() + RETRY_SECONDS > give_up:
                raise
            if not told:
                emit("ledger.unreachable", error=str(error), waiting_seconds=patience_seconds)
                told = True
            await asyncio.sleep(RETRY_SECONDS)
    if told:
        emit("ledger.returned")
    return found, schema


def _judge_ledger(config: Config, found: FoundLedger) -> list[Finding]:
    findings = judge_postgres(found.settings, require_standby=config.require_standby)
    # The findings about its settings already say that it takes no writes.
    if found.refusal and not found.settings.in_recovery and found.settings.read_only != "on":
        findings.append(Finding("postgres", True, found.refusal))
    return findings


def _refuse(findings: list[Finding]) -> None:
    names = {"postgres": "Postgres", "redis": "Redis"}
    for finding in findings:
        if not finding.grave:
            emit("server.doubted", server=finding.about, reason=finding.message)
    if grave := [
        f"{names[finding.about]}: {finding.message}" for finding in findings if finding.grave
    ]:
        raise ServerUnfit("; ".join(grave))


async def _read_ledger(config: Config) -> FoundLedger:
    """The answers of the primary among the hosts, or of the first host that answers. Raises
    `ServerUnreachable`."""
    refusal, pooled = "", False
    try:
        pooled = await check_reachable(config, name="leaseq check")
    except NotPrimary as error:
        refusal = str(error)
    pool = await open_pool(config, name="leaseq check", max_size=1, wait=False, guarded=not refusal)
    try:
        session = Session(pool, deadline_seconds=config.statement_timeout_seconds)
        settings = replace(await read_server_settings(session), pooled=pooled)
        try:
            return FoundLedger(settings, await read_ledger_id(session), refusal)
        except SchemaMismatch:
            return FoundLedger(settings, None, refusal)
    finally:
        await pool.close()


async def _survey_roles(config: Config) -> list[Finding]:
    service = await _ask_role(config, find_service_role)
    if config.handler_postgres_url is None:
        return judge_roles(service, None)
    handlers = replace(config, postgres_url=config.handler_postgres_url, handler_postgres_url=None)
    try:
        return judge_roles(service, await _ask_role(handlers, find_handler_role))
    except ServerUnreachable as error:
        raise ServerUnreachable(
            str(error).replace("Postgres cannot", "as LEASEQ_HANDLER_POSTGRES_URL, Postgres cannot")
        ) from error


async def _ask_role(config: Config, ask: Callable[[Session], Awaitable[R]]) -> R:
    pool = await open_pool(config, name="leaseq check", max_size=1)
    try:
        return await ask(Session(pool, deadline_seconds=config.statement_timeout_seconds))
    finally:
        await pool.close()


async def _ask_redis(config: Config) -> tuple[dict[str, str], Owner]:
    """The settings of Redis, and the owner of the prefix. The owner also tells this process the
    newest timeline of Postgres, so Postgres is asked afterwards."""
    redis = open_redis(config, name="leaseq check")
    try:
        asked = Survey(redis, Keys(config.redis_prefix))
        policy, owner = await asked.policy(), await asked.owner()
    finally:
        await redis.aclose()
    if owner.timeline is not None:
        learn_timeline(owner.timeline)
    return policy, owner


async def _survey_postgres(
    config: Config, servers: dict[str, str], *, migrates: bool
) -> tuple[list[Finding], str | None]:
    try:
        found = await _read_ledger(config)
    except ServerUnreachable as error:
        return [Finding("postgres", True, _away(error, "start it", "LEASEQ_POSTGRES_URL"))], None
    except ServerUnfit as error:
        return [Finding("postgres", True, str(error))], None
    version = found.settings.version
    servers["postgres"] = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    findings = _judge_ledger(config, found)
    if found.refusal:  # the schema and the roles of a server that is not the primary do not matter
        return findings, found.ledger_id
    try:
        schema = await schema_version(config.postgres_url or "")
        outdated = [] if migrates else judge_schema(schema)
        findings += outdated
        if not outdated:
            servers["schema"] = f"version {schema} of {LATEST}"
        if not (migrates or outdated):
            findings += await _survey_roles(config)
    except SchemaMismatch as error:
        findings.append(Finding("schema", True, str(error)))
    except (ServerUnfit, ServerUnreachable) as error:
        findings.append(Finding("postgres", True, str(error)))
    return findings, found.ledger_id


def _away(error: ServerUnreachable, start: str, variable: str) -> str:
    return f"{str(error).strip().rstrip('.')}: {start}, or correct {variable}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


__all__ = [
    "Finding",
    "Report",
    "judge_owner",
    "judge_postgres",
    "judge_redis",
    "judge_roles",
    "judge_schema",
    "require_fit",
    "survey",
]
