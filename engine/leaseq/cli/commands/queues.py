"""The commands that list the queues, and show, pause, resume or change one."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import note, say
from leaseq.dispatch.queue_lists import Depths
from leaseq.ledger.limits import Limit, LimitKey
from leaseq.ledger.queue_limits import QueueLimit
from leaseq.limits import QueueRule
from leaseq.model import QueueRecord
from leaseq.operations.engine import Engine
from leaseq.operations.queue_operator import QueueOperator
from leaseq_api.limits.views import line_view
from leaseq_api.operate_schemas import (
    QueueList,
)
from leaseq_api.views import paused_view, queue_view

DEPTHS_SECONDS = 5.0
MOST_LINES = 50
LANES = ("high", "normal", "low", "suspect", "parked")

Row = tuple[QueueRecord, Depths | None]


@click.group(invoke_without_command=True)
@parameters.as_json
@click.pass_context
def queues(ctx: click.Context, as_json: bool) -> None:
    """List the queues and the deliveries that wait in each.

    MORE SINCE: a lane is full and more tasks wait in the ledger, the first of them since that time.
    OLDEST: when the oldest of the tasks was submitted that are next in a lane.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = reading(_list_queues)
    if as_json:
        views = [queue_view(record, depths) for record, depths in found]
        print_json(QueueList(queues=views, next_cursor=None))
    elif found:
        print_table(
            ("queue", "state", *LANES, "more since", "oldest", "paused by"),
            [_queue_row(record, depths) for record, depths in found],
        )
    if any(depths is None for _, depths in found):
        note("Redis does not answer, so waiting deliveries cannot be counted: run `leaseq check`")


@queues.command()
@parameters.queue_name
@click.option("--reason", help="Why, in one line: shown to others while the queue is paused.")
@parameters.as_json
def pause(name: str, reason: str | None, as_json: bool) -> None:
    """Start no more tasks of queue NAME. Running tasks continue, and submissions are still
    accepted."""
    _pause(name, paused=True, reason=reason, as_json=as_json)


@queues.command()
@parameters.queue_name
@parameters.as_json
def resume(name: str, as_json: bool) -> None:
    """Start tasks of queue NAME again."""
    _pause(name, paused=False, as_json=as_json)


@queues.command()
@parameters.queue_name
@parameters.as_json
def show(name: str, as_json: bool) -> None:
    """Show the limit of queue NAME, or the turns of its tenants, with the longest lines."""

    async def work(engine: Engine) -> tuple[QueueLimit | None, Limit | None, list[LimitKey]]:
        rule = await engine.queue_limits.find(name)
        if rule is None:
            return None, None, []
        limit = await engine.limits.find(rule.limit, tenant=None)
        return rule, limit, await engine.limits.list_keys(rule.limit, tenant=None, limit=MOST_LINES)

    rule, limit, keys = reading(work)
    view = line_view(rule or QueueRule(queue=name), limit, keys)
    if as_json:
        print_json(view)
        return
    print_table(
        ("queue", "tasks take", "permits", "admitted", "waiting", "oldest"),
        [
            (
                view.name,
                _rule_words(limit=view.limit, fair=view.fair),
                "-" if view.permits is None else str(view.permits),
                str(view.admitted),
                str(view.waiting),
                moment(view.oldest_at),
            )
        ],
    )
    if view.lines:
        print_table(
            ("tenant", "key", "admitted", "waiting"),
            [
                (each.tenant, each.key or "-", str(each.admitted), str(each.waiting))
                for each in view.lines
            ],
        )


@queues.command("set")
@parameters.queue_name
@click.option("--limit", help="The limit that tasks of the queue take.")
@click.option("--fair", is_flag=True, help="Tenants have turns.")
@click.option("--plain", is_flag=True, help="Neither: first in, first out.")
def set_(name: str, limit: str | None, fair: bool, plain: bool) -> None:
    """Give queue NAME a limit, make it fair between tenants, or make it plain."""
    if (limit is not None) + fair + plain != 1:
        raise click.UsageError("give --limit LIMIT, --fair or --plain")
    rule = QueueRule(queue=name, limit=limit, fair=fair)

    async def work(engine: Engine) -> None:
        await QueueOperator(engine.as_operator(command_line(None)), engine).put(rule)

    with_engine(work)
    say(f"queue {name}: {_rule_words(limit=limit, fair=fair)}")


def _rule_words(*, limit: str | None, fair: bool) -> str:
    if fair:
        return "turns of tenants"
    return "no limit" if limit is None else f"limit {limit}"


def _pause(name: str, *, paused: bool, as_json: bool, reason: str | None = None) -> None:
    async def work(engine: Engine) -> tuple[bool, QueueRecord]:
        known = any(record.name == name for record in await engine.list_queues())
        operator = engine.as_operator(command_line(None))
        if paused:
            return known, await operator.pause(name, reason=reason)
        return known, await operator.resume(name)

    known, record = with_engine(work)
    if as_json:
        print_json(paused_view(record))
    else:
        say(f"queue {record.name} is {'paused' if record.paused else 'open'}")
    if not known:
        note(f"queue {name} was not known before: check the name")


async def _list_queues(engine: Engine) -> list[Row]:
    records = await engine.list_queues()
    found = await engine.count_deliveries(
        [record.name for record in records], seconds=DEPTHS_SECONDS
    )
    return [(record, found.get(record.name)) for record in records]


def _queue_row(record: QueueRecord, depths: Depths | None) -> tuple[str, ...]:
    counts = (
        ["-"] * len(LANES) if depths is None else [str(getattr(depths, lane)) for lane in LANES]
    )
    since = moment(None if depths is None else depths.backlog_since)
    oldest = moment(None if depths is None else depths.oldest_at)
    return (
        record.name,
        "paused" if record.paused else "open",
        *counts,
        since,
        oldest,
        ": ".join(filter(None, (record.paused_by, record.paused_reason))) or "-",
    )


__all__ = ["queues"]
