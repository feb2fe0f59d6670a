"""The command that lists what happened to the cluster."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from leaseq.cli import parameters
from leaseq.cli.output import moment, print_json, print_line, print_table, styled
from leaseq.cli.servers import reading
from leaseq.ledger.notices import NoticeFilter, NoticeListing, NoticeRecord
from leaseq.observability.meanings import meaning_of
from leaseq.operations.engine import Engine
from leaseq.operations.notices import NAMES
from leaseq_api.notice_views import notice_page

# Pages that are read, each from a bounded number of rows, to find enough.
PAGE = 200
# Fields that have columns of their own.
PLACED = ("queue", "task_id", "worker_id")


@click.command()
@click.option(
    "--name", type=click.Choice(sorted(NAMES)), metavar="EVENT", help="Only events of this name."
)
@click.option("--queue", type=parameters.to_name, metavar="NAME", help="Only of this queue.")
@click.option("--worker", "worker_id", metavar="ID", help="Only of this worker.")
@click.option("--since", type=parameters.to_moment, metavar="TIME", help="Only since this time.")
@click.option("--until", type=parameters.to_moment, metavar="TIME", help="Only before this time.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Maximum number of rows.",
)
@click.option(
    "--cursor",
    type=click.IntRange(min=1),
    metavar="N",
    help="Continue behind this event: next_cursor of --json.",
)
@parameters.as_json
def diary(
    limit: int,
    as_json: bool,
    cursor: int | None,
    since: datetime | None,
    until: datetime | None,
    **filters: Any,
) -> None:
    """List what happened to the cluster, newest first: workers that were lost, queues that were
    paused, servers that did not answer. The meaning of each event follows, with what to do.

    A TIME is 2026-11-30T03:12 in the time zone of this machine, or has its zone. Some events may be
    missing: a process records at most ten of a name in a second.
    """
    wanted = NoticeFilter(cursor=cursor, since=since, until=until, **filters)

    async def work(engine: Engine) -> NoticeListing:
        """Page by page, each from a bounded number of rows, until there are enough or no more."""
        found: list[NoticeRecord] = []
        left = wanted
        while True:
            left = replace(left, limit=min(limit - len(found), PAGE))
            page = await engine.list_notices(left)
            found += page.notices
            if page.cursor is None or len(found) >= limit:
                return NoticeListing(found, page.cursor)
            left = replace(left, cursor=page.cursor)

    found = reading(work)
    if as_json:
        print_json(notice_page(found))
    elif found.notices:
        titles = ("at", "level", "event", "queue", "task", "worker", "by", "more", "fields")
        print_table(titles, [_row(notice) for notice in found.notices])
        print_line()
        for name in dict.fromkeys(notice.name for notice in found.notices):
            print_line(styled(name, "bold"), meaning_of(name))


def _row(notice: NoticeRecord) -> tuple[str, ...]:
    fields = msgspec.json.decode(notice.fields)
    return (
        moment(notice.at),
        notice.level,
        notice.name,
        notice.queue or "-",
        notice.task_id or "-",
        notice.worker_id or "-",
        f"{notice.role} {notice.pid}@{notice.host}",
        str(notice.count),
        " ".join(f"{name}={value}" for name, value in fields.items() if name not in PLACED),
    )


__all__ = ["diary"]
