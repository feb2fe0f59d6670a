"""The tables of `leaseq top`: pure functions from looks to texts.

A number that is not known is a dash and never a 0. While Redis is away the numbers of dispatch are
those of the last look that had them, and their rows are marked as old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from leaseq.cli.top.look import Look, Wanted
from leaseq.ledger.failures import MOST_DEAD
from leaseq.operations.overview.answer import LaneCounts, QueueStanding
from leaseq.operations.overview.needs import longest_wait, oldest_seconds
from leaseq.operations.statistics.read import Figures
from leaseq.operations.why.wording import SHORT, span

UNKNOWN = "—"
BARS = "▁▂▃▄▅▆▇█"
TREND_STEPS = 20


class Row(Struct, frozen=True, kw_only=True):
    """One row: a key that stays the same from look to look, and its cells. `old`: some of its
    numbers are those of an earlier look."""

    key: str
    cells: tuple[str, ...]
    old: bool = False


class Tab(Struct, frozen=True):
    """One table: its name, its titles, and its rows from the last look and the one before that had
    an answer of Redis."""

    name: str
    titles: tuple[str, ...]
    rows: Callable[[Look, Look | None, Wanted], list[Row]]


def head_of(look: Look) -> list[str]:
    """The first lines: the servers, the rates, and what needs a person."""
    overview, fleet = look.overview, look.overview.fleet
    servers = (
        f"{overview.at:%H:%M:%S} UTC   Postgres up   Redis {overview.redis}   "
        f"reapers {fleet.reapers}   workers {fleet.workers - fleet.workers_silent}/{fleet.workers}   "
        f"busy {_count(fleet.busy)} of {fleet.slots}"
    )
    total = look.statistics.total
    failing = None if total is None else total.failing_share
    rates = (
        f"ended/s {_rate(total)} {trend_of(look)}   failing {_share(failing)}   "
        f"oldest {_span(longest_wait(overview))}"
    )
    return [servers, rates, *(f"! {need.sentence}" for need in overview.needs)]


def trend_of(look: Look) -> str:
    """The ended attempts of the last minutes as bars. A blank is a minute that is not known."""
    rates = [
        None if step.figures is None else step.figures.ended_per_second
        for step in look.statistics.steps[-TREND_STEPS:]
    ]
    most = max((rate for rate in rates if rate), default=0.0)
    return "".join(
        " " if rate is None else BARS[round((len(BARS) - 1) * rate / most) if most else 0]
        for rate in rates
    )


def _queue_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    seen = {} if before is None else {queue.name: queue for queue in before.overview.queues}
    figures = {each.queue: each.figures for each in look.statistics.queues}
    rows = []
    for queue in look.overview.queues:
        if wanted.queue not in (None, queue.name):
            continue
        shown = queue if queue.lanes is not None else seen.get(queue.name)
        rows.append(
            Row(
                key=queue.name,
                cells=(
                    queue.name,
                    _state(queue),
                    *_lane_cells(look, shown),
                    *_pace(figures.get(queue.name)),
                    *_served(queue),
                ),
                old=queue.lanes is None,
            )
        )
    return rows


def _lane_cells(look: Look, queue: QueueStanding | None) -> tuple[str, str]:
    if queue is None or queue.lanes is None:
        return UNKNOWN, UNKNOWN
    return _depths(queue.lanes), _span(oldest_seconds(look.overview, queue))


def _depths(lanes: LaneCounts) -> str:
    more = "" if lanes.backlog_since is None else "+"  # behind a full lane
    return f"{lanes.high}/{lanes.normal}/{lanes.low}/{lanes.suspect}{more}"


def _state(queue: QueueStanding) -> str:
    if queue.paused:
        return "paused"
    return "open" if queue.workers else "unserved"


def _pace(figures: Figures | None) -> tuple[str, str, str]:
    if figures is None:
        return UNKNOWN, UNKNOWN, UNKNOWN
    return (
        _per_second(figures.submitted_per_second),
        _per_second(figures.ended_per_second),
        _span(figures.wait.p95),
    )


def _served(queue: QueueStanding) -> tuple[str, str, str]:
    return str(queue.workers), _count(queue.slots), _span(queue.overdue_seconds)


def _running_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    running = look.running
    if running is None:
        running = (before.running if before is not None else None) or []
    return [
        Row(
            key=task.task_id,
            cells=(
                task.task_id,
                task.type,
                task.queue,
                str(task.attempt),
                f"{task.worker_id[:SHORT]}@{task.host}",
                _since(look, task.started_at),
                _span(task.lease_left_seconds),
            ),
            old=look.running is None,
        )
        for task in running
    ]


def _worker_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    holdings = look.holdings
    if holdings is None and before is not None:
        holdings = before.holdings
    rows = []
    for worker in look.workers:
        if wanted.queue is not None and wanted.queue not in worker.queues:
            continue
        holding = (holdings or {}).get(worker.worker_id)
        left = None if holding is None or holding.left_ms is None else holding.left_ms / 1000
        rows.append(
            Row(
                key=worker.worker_id,
                cells=(
                    worker.worker_id[:SHORT],
                    worker.host,
                    str(worker.pid),
                    ",".join(worker.queues),
                    worker.version,
                    _since(look, worker.last_seen),
                    _span(left),
                    UNKNOWN if holding is None else str(holding.count),
                ),
                old=look.holdings is None,
            )
        )
    return rows


def _failure_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    return [
        Row(
            key=f"{each.type} {each.fingerprint}",
            cells=(
                each.exception or each.code,
                each.type,
                each.state,
                str(each.in_hour),
                str(each.in_day),
                f"{each.dead}+" if each.dead >= MOST_DEAD else str(each.dead),
                _since(look, each.last_seen),
                each.frame or UNKNOWN,
            ),
        )
        for each in look.failures
    ]


def _letter_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    return [
        Row(key=f"{each.queue} {each.type}", cells=(each.queue, each.type, str(each.count)))
        for each in look.letters
    ]


def _type_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    return [
        Row(
            key=f"{each.queue} {each.type}",
            cells=(
                each.type,
                each.queue,
                _per_second(each.figures.submitted_per_second),
                _rate(each.figures),
                _share(each.figures.failing_share),
                _span(each.figures.wait.p95),
                _span(each.figures.run.p95),
                _share(each.run_share),
            ),
        )
        for each in look.statistics.types
    ]


def _operation_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    return [
        Row(
            key=each.operation_id,
            cells=(
                f"{each.began_at:%m-%d %H:%M:%S}",
                each.action,
                each.target,
                each.actor,
                each.outcome,
            ),
        )
        for each in look.operations
    ]


def _notice_rows(look: Look, before: Look | None, wanted: Wanted) -> list[Row]:
    return [
        Row(
            key=f"{each.notice_id} {each.task_id or ''}",
            cells=(
                f"{each.at:%m-%d %H:%M:%S}",
                each.level,
                each.name,
                each.queue or UNKNOWN,
                each.task_id or (each.worker_id or UNKNOWN)[:SHORT],
                f"{each.role} {each.host}",
                str(each.count),
            ),
        )
        for each in look.notices
    ]


TABS: Sequence[Tab] = (
    Tab(
        "queues",
        (
            *("queue", "state", "wait h/n/l/s", "oldest", "in/s", "out/s", "p95 wait"),
            *("workers", "slots", "overdue"),
        ),
        _queue_rows,
    ),
    Tab(
        "running",
        ("task", "type", "queue", "attempt", "worker@host", "since", "lease"),
        _running_rows,
    ),
    Tab(
        "workers",
        ("worker", "host", "pid", "queues", "version", "seen", "lease", "holds"),
        _worker_rows,
    ),
    Tab(
        "failures",
        ("cause", "type", "state", "1h", "24h", "dead", "last", "in"),
        _failure_rows,
    ),
    Tab(
        "types",
        ("type", "queue", "in/s", "out/s", "failing", "p95 wait", "p95 run", "run share"),
        _type_rows,
    ),
    Tab("operations", ("at (UTC)", "action", "target", "actor", "outcome"), _operation_rows),
    Tab(
        "diary",
        ("at (UTC)", "level", "event", "queue", "task or worker", "by", "times"),
        _notice_rows,
    ),
    Tab("dead", ("queue", "type", "dead letters"), _letter_rows),
)


def _since(look: Look, when: datetime | None) -> str:
    return UNKNOWN if when is None else _span((look.overview.at - when).total_seconds())


def _span(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else span(seconds)


def _count(count: int | None) -> str:
    return UNKNOWN if count is None else str(count)


def _rate(figures: Figures | None) -> str:
    return UNKNOWN if figures is None else _per_second(figures.ended_per_second)


def _per_second(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


__all__ = ["TABS", "UNKNOWN", "Row", "Tab", "head_of", "trend_of"]
