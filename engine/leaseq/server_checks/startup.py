"""Ask both servers at the start of a process, and refuse unsafe settings.

`require_usable_servers` refuses to start, and `inspect_servers` reports all findings together. A
missing Redis does not prevent a start, since nothing in it carries authority. A missing Postgres is
waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres import NotPrimary, check_reachable, open_pool
from leaseq.connections.primary import learn_timeline
from leaseq.connections.redis import open_redis
from leaseq.dispatch.dispatch_server import DispatchServer
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.ownership import Owner
from leaseq.errors import SchemaMismatch, ServerUnfit, ServerUnreachable
from leaseq.ledger.roles import find_handler_role, find_service_role
from leaseq.ledger.schema import LATEST, schema_version
from leaseq.ledger.server import ServerSettings, read_ledger_id, read_server_settings
from leaseq.ledger.session import Session
from leaseq.loop import Pauses, Retries, retry
from leaseq.observability.telemetry import emit
from leaseq.server_checks.findings import (
    Finding,
    check_owner,
    check_postgres,
    check_redis,
    check_roles,
    check_schema,
)
from leaseq.server_checks.schedules import check_schedules

R = TypeVar("R")

PATIENCE_SECONDS = 60.0
PAUSES = Pauses(0.5)


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


async def inspect_servers(config: Config, *, migrates: bool = False) -> Report:
    """Ask both servers and return all findings. `migrates`: the start migrates an old schema, so it
    is not a problem."""
    servers: dict[str, str] = {}
    dispatch: tuple[dict[str, str], Owner] | ServerUnreachable
    try:
        dispatch = await _ask_redis(config)
    except ServerUnreachable as error:
        dispatch = error
    found, ledger_id = await _inspect_postgres(config, servers, migrates=migrates)
    if isinstance(dispatch, ServerUnreachable):
        message = _away(dispatch, "start it (an empty one is enough)", "LEASEQ_REDIS_URL")
        return Report(servers, [*found, Finding("redis", True, message)])
    policy, owner = dispatch
    servers["redis"] = f"{policy['product']} {policy['version']}".strip()
    found += check_redis(policy) + check_owner(
        config.redis_prefix, ledger_id=ledger_id, owner=owner.ledger
    )
    return Report(servers, found)


async def require_usable_servers(
    config: Config, *, migrates: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when a process may start on these servers; waits for a Postgres that does not answer
    yet.

    Raises `ServerUnreachable` when it has not come within `patience_seconds`, `SchemaMismatch`, and
    `ServerUnfit`, which names all fatal findings. The other findings are emitted as
    `server.doubted`.
    """
    dispatch = None
    try:
        dispatch = await _ask_redis(config)
    except ServerUnreachable as error:
        emit("dispatch.unreachable", error=str(error))
    found, schema = await _wait_for_ledger(config, patience_seconds)
    findings = _check_ledger(config, found)
    if dispatch is not None:
        policy, owner = dispatch
        findings += check_redis(policy) + check_owner(
            config.redis_prefix, ledger_id=found.ledger_id, owner=owner.ledger
        )
    _refuse(findings)
    if not migrates:
        if wrong := check_schema(schema):
            raise SchemaMismatch(wrong[0].message)
        _refuse(await _check_roles(config))


async def _wait_for_ledger(config: Config, patience_seconds: float) -> tuple[FoundLedger, int]:
    """The findings about Postgres, and the version of the schema (0 if the server is refused
    anyway)."""

    async def read() -> tuple[FoundLedger, int]:
        found = await _read_ledger(config)
        return found, 0 if found.refusal else await schema_version(config.postgres_url or "")

    retries = Retries(
        PAUSES,
        report=lambda error: emit(
            "ledger.unreachable", error=str(error), waiting_seconds=patience_seconds
        ),
        seconds=patience_seconds,
    )
    answer = await retry(read, retries)
    if retries.failures:
        emit("ledger.returned")
    return answer


def _check_ledger(config: Config, found: FoundLedger) -> list[Finding]:
    findings = check_postgres(found.settings, require_standby=config.require_standby)
    # The findings about its settings already say that it takes no writes.
    if found.refusal and not found.settings.in_recovery and found.settings.read_only != "on":
        findings.append(Finding("postgres", True, found.refusal))
    return findings


def _refuse(findings: list[Finding]) -> None:
    names = {"postgres": "Postgres", "redis": "Redis"}
    for finding in findings:
        if not finding.fatal:
            emit("server.doubted", server=finding.about, reason=finding.message)
    if fatal := [
        f"{names[finding.about]}: {finding.message}" for finding in findings if finding.fatal
    ]:
        raise ServerUnfit("; ".join(fatal))


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


async def _check_roles(config: Config) -> list[Finding]:
    service = await _ask_role(config, find_service_role)
    if config.handler_postgres_url is None:
        return check_roles(service, None)
    handlers = replace(config, postgres_url=config.handler_postgres_url, handler_postgres_url=None)
    try:
        return check_roles(service, await _ask_role(handlers, find_handler_role))
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
        server = DispatchServer(redis, Keys(config.redis_prefix))
        policy, owner = await server.settings(), await server.owner()
    finally:
        await redis.aclose()
    if owner.timeline is not None:
        learn_timeline(owner.timeline)
    return policy, owner


async def _inspect_postgres(
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
    findings = _check_ledger(config, found)
    if found.refusal:  # the schema and the roles of a server that is not the primary do not matter
        return findings, found.ledger_id
    try:
        schema = await schema_version(config.postgres_url or "")
        outdated = [] if migrates else check_schema(schema)
        findings += outdated
        if not outdated:
            servers["schema"] = f"version {schema} of {LATEST}"
        if not (migrates or outdated):
            findings += await _check_roles(config)
            findings += await _ask_role(config, check_schedules)
    except SchemaMismatch as error:
        findings.append(Finding("schema", True, str(error)))
    except (ServerUnfit, ServerUnreachable) as error:
        findings.append(Finding("postgres", True, str(error)))
    return findings, found.ledger_id


def _away(error: ServerUnreachable, start: str, variable: str) -> str:
    return f"{str(error).strip().rstrip('.')}: {start}, or correct {variable}"


__all__ = ["Report", "inspect_servers", "require_usable_servers"]
