"""What has happened to a task, and what is it waiting for?"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.text import Text

from leaseq.cli import parameters
from leaseq.cli.paper import console, moment, print_json, printable, styled
from leaseq.cli.stores import reading
from leaseq.cli.story import Whereabouts, headline, tell
from leaseq.cli.views import attempt_json, task_json
from leaseq.engine.engine import Engine
from leaseq.errors import ServerUnreachable
from leaseq.lifecycle import lane_of
from leaseq.model import TERMINAL, Task
from leaseq.records import Attempt

# A frozen Redis must not keep the ledger's part from being shown.
LOCATE_SECONDS = 5.0
INDENT = "  "

Found = tuple[Task, list[Attempt], Whereabouts]


@click.command()
@parameters.task_id
@parameters.tenant
@parameters.as_json
def show(task_id: str, tenant: str, as_json: bool) -> None:
    """Tell the story of the task ID: its attempts, its ending, or what it waits for."""

    async def work(engine: Engine) -> Found:
        task = await engine.find(task_id, tenant=tenant)
        attempts = await engine.list_attempts(task_id, tenant=tenant)
        return task, attempts, await find_whereabouts(engine, task)

    task, attempts, where = reading(work)
    if as_json:
        print_json(_json(task, attempts, where))
    else:
        _print(task, attempts, where)


async def find_whereabouts(engine: Engine, task: Task) -> Whereabouts:
    """Where its delivery is. Not asked for a task that has ended."""
    if task.state in TERMINAL:
        return Whereabouts(lanes=[], holders=[], paused=False, workers=[])
    lanes: list[str] | None = None
    holders: list[str] | None = None
    backlog_since: datetime | None = None
    try:
        async with asyncio.timeout(LOCATE_SECONDS):
            found, holders = await engine.stores.survey.locate(task.queue, task.task_id)
            lanes = [lane.value for lane in found]
            backlog_since = await _backlog_since(engine, task)
    except (ServerUnreachable, TimeoutError):
        pass
    workers = await engine.stores.fleet.list_workers()
    return Whereabouts(
        lanes=lanes,
        holders=holders,
        paused=any(q.paused for q in await engine.stores.fleet.list_queues() if q.name == task.queue),
        workers=[worker for worker in workers if task.queue in worker.queues],
        backlog_since=backlog_since,
    )


async def _backlog_since(engine: Engine, task: Task) -> datetime | None:
    """When the first task of the backlog was submitted that this one is part of."""
    lane = lane_of(task.priority, crash_count=task.crash_count, loss_count=task.loss_count)
    backlog = (await engine.stores.survey.backlogs(task.queue)).get(lane)
    return None if backlog is None or task.task_id < backlog.cursor else backlog.since


def _json(task: Task, attempts: list[Attempt], where: Whereabouts) -> dict[str, Any]:
    known = where.lanes is not None
    return task_json(task) | {
        "attempts": [attempt_json(attempt) for attempt in attempts],
        "delivery": {"lanes": where.lanes, "workers": where.holders, "backlog_since": where.backlog_since} if known else None,
        "queue_paused": where.paused,
        "queue_workers": [worker.worker_id for worker in where.workers],
    }


def _print(task: Task, attempts: list[Attempt], where: Whereabouts) -> None:
    out = console()
    out.print(Text(task.task_id, style="bold"), styled(task.state))
    out.print(printable(headline(task)))
    out.print()
    for line in tell(task, attempts, where):
        when = moment(line.when, fine=True) if line.when else "now".ljust(23)
        out.print(Text(when, style="dim"), printable(line.said))
    out.print()
    for name, value in (("payload", task.payload), ("progress", task.progress), ("result", task.result)):
        if value is not None:
            out.print(Text(name.ljust(9), style="dim"), printable(value.decode()))
    _print_error(task)


def _print_error(task: Task) -> None:
    error: dict[str, Any] = msgspec.json.decode(task.error) if task.error else {}
    if not error:
        return
    out = console()
    out.print(Text("error".ljust(9), style="dim"), printable(f"{error.get('code', '')}: {error.get('message', '')}"))
    for line in printable(str(error.get("traceback", ""))).splitlines():
        out.print(f"{INDENT}{line}")


__all__ = ["find_whereabouts", "show"]
