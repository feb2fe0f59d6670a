"""The commands that list the causes of failures, show one and acknowledge one."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_block, print_json, print_line, print_table, styled
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import say
from leaseq.errors import FailureNotFound
from leaseq.ledger.failures import (
    GROUP_STATES,
    MOST_DEAD,
    FailedAttempt,
    FailureFilter,
    FailureGroup,
    FailurePage,
)
from leaseq.operations.engine import Engine
from leaseq_api.failures.views import failure_detail, failure_page, failure_view

type_name = click.argument("type_name", type=parameters.to_name, metavar="TYPE")
fingerprint = click.argument("fingerprint", type=parameters.to_name, metavar="FINGERPRINT")
tenant = click.option("--tenant", type=parameters.to_name, help="Only those of this tenant.")


@click.group(invoke_without_command=True)
@click.option("--type", type=parameters.to_name, help="Only those of this task type.")
@click.option("--queue", type=parameters.to_name, help="Only those in this queue.")
@click.option("--state", type=click.Choice(GROUP_STATES), help="Only those in this state.")
@click.option(
    "--days",
    type=click.FloatRange(0, 30, min_open=True),
    default=7.0,
    show_default=True,
    help="Only those that have occurred in so many days.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="Maximum number of rows.",
)
@tenant
@parameters.as_json
@click.pass_context
def failures(
    ctx: click.Context,
    /,
    *,
    days: float,
    tenant: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """List why attempts have failed: one row for each cause, the one that occurred last first.

    1H, 24H, 7D: attempts that failed in this time. DEAD: tasks that are FAILED now. STATE new: first
    seen, or back in a new version, in the last 24 hours.
    """
    if ctx.invoked_subcommand is not None:
        return
    wanted = FailureFilter(window_seconds=days * 86_400, **filters)

    async def work(engine: Engine) -> FailurePage:
        return await engine.failures.list_groups(wanted, tenant=tenant)

    page = reading(work)
    if as_json:
        print_json(failure_page(page))
    elif page.groups:
        print_table(
            ("type", "fingerprint", "state", "1h", "24h", "7d", "dead", "last seen", "cause", "in"),
            [_row(group) for group in page.groups],
        )


@failures.command()
@type_name
@fingerprint
@tenant
@parameters.as_json
def show(type_name: str, fingerprint: str, tenant: str | None, as_json: bool) -> None:
    """Show one cause with its versions, hosts, messages and recent attempts."""

    async def work(engine: Engine) -> tuple[FailureGroup, list[FailedAttempt]]:
        group = await _find(engine, type_name, fingerprint, tenant=tenant)
        recent = await engine.failures.list_attempts(type_name, fingerprint, tenant=tenant)
        return group, recent

    group, recent = reading(work)
    detail = failure_detail(group, recent)
    if as_json:
        print_json(detail)
        return
    print_line(styled(_cause(group), "bold"), f"in {group.type}, {group.state}")
    if group.frame:
        print_line(f"raised in {group.frame}")
    print_line(
        f"{group.in_hour} in the last hour, {group.in_day} in 24 hours, {group.in_week} in 7 days; "
        f"{group.dead} FAILED now"
    )
    print_line(f"first {moment(group.first_seen)}, last {moment(group.last_seen)}")
    for seen in group.versions:
        print_line(f"version {seen.version} since {moment(seen.first_seen)}")
    print_line(f"hosts {', '.join(group.hosts) or 'unknown'}")
    if group.acknowledged_at is not None:
        print_line(f"acknowledged {moment(group.acknowledged_at)} by {group.acknowledged_by}")
    for variant in detail.messages or ():
        print_line(f"{variant.count} of the last {len(recent)}:")
        print_block(_message(bytes(variant.error)))
    if recent:
        print_table(
            ("task", "attempt", "state", "outcome", "host", "version", "ended"),
            [
                (
                    attempt.task_id,
                    str(attempt.attempt),
                    attempt.state,
                    attempt.outcome,
                    attempt.host or "-",
                    attempt.version or "-",
                    moment(attempt.finished_at),
                )
                for attempt in recent
            ],
        )


@failures.command()
@type_name
@fingerprint
@click.option("--undo", is_flag=True, help="Take the acknowledgement back.")
@tenant
@parameters.as_json
def ack(type_name: str, fingerprint: str, undo: bool, tenant: str | None, as_json: bool) -> None:
    """Acknowledge one cause, until it occurs in a new version of the application."""

    async def work(engine: Engine) -> FailureGroup:
        operator = engine.as_operator(command_line(tenant))
        act = operator.unacknowledge if undo else operator.acknowledge
        await act(type_name, fingerprint)
        return await _find(engine, type_name, fingerprint, tenant=tenant)

    group = with_engine(work)
    if as_json:
        print_json(failure_view(group))
    elif undo:
        say(f"failure {type_name}/{fingerprint} is {group.state}")
    else:
        say(f"failure {type_name}/{fingerprint} is acknowledged until it occurs in a new version")


async def _find(
    engine: Engine, type_name: str, fingerprint: str, *, tenant: str | None
) -> FailureGroup:
    group = await engine.failures.find_group(type_name, fingerprint, tenant=tenant)
    if group is None:
        raise FailureNotFound(f"no failure of type {type_name} has the fingerprint {fingerprint}")
    return group


def _row(group: FailureGroup) -> tuple[str, ...]:
    return (
        group.type,
        group.fingerprint,
        group.state,
        str(group.in_hour),
        str(group.in_day),
        str(group.in_week),
        f"{group.dead}+" if group.dead >= MOST_DEAD else str(group.dead),
        moment(group.last_seen),
        _cause(group),
        group.frame or "-",
    )


def _cause(group: FailureGroup) -> str:
    return group.exception or group.code


def _message(error: bytes) -> str:
    fields: dict[str, str] = msgspec.json.decode(error)
    return f"{fields.get('message', '')}\n{fields.get('traceback', '')}"


__all__ = ["failures"]
