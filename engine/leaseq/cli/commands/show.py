"""The command that shows the history of a task and what it is waiting for."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from leaseq.cli import parameters
from leaseq.cli.output import STYLES, moment, one_line, print_block, print_json, print_line, styled
from leaseq.cli.servers import reading
from leaseq.cli.timeline import Situation, summary_line, task_history
from leaseq.errors import ServerUnreachable
from leaseq.model import TERMINAL, AttemptRecord, Task
from leaseq.operations.engine import DeliveryLocation, Engine
from leaseq_api.views import attempt_view, task_view

# A frozen Redis must not delay the part that comes from the ledger.
LOCATE_SECONDS = 5.0

Found = tuple[Task, list[AttemptRecord], Situation]


@click.command()
@parameters.task_id
@parameters.tenant
@parameters.as_json
@click.option(
    "--story",
    is_flag=True,
    help="With --json: the task, its attempts, and situation its delivery is.",
)
def show(task_id: str, tenant: str, as_json: bool, story: bool) -> None:
    """Show the history of task ID: its attempts, its end, or what it is waiting for."""
    if story and not as_json:
        raise click.UsageError("--story adds to the output of --json: add --json")

    async def work(engine: Engine) -> Found:
        client = engine.for_tenant(tenant)
        task, attempts = await client.find(task_id), await client.list_attempts(task_id)
        return task, attempts, await find_situation(engine, task)

    task, attempts, situation = reading(work)
    if as_json:
        print_json(_story_json(task, attempts, situation) if story else task_view(task))
    else:
        _print(task, attempts, situation)


async def find_situation(engine: Engine, task: Task) -> Situation:
    """Where the delivery of the task is. Not read for a task that has ended."""
    if task.state in TERMINAL:
        return Situation(lanes=[], holders=[], paused=False, workers=[])
    found: DeliveryLocation | None = None
    try:
        async with asyncio.timeout(LOCATE_SECONDS):
            found = await engine.locate(task)
    except (ServerUnreachable, TimeoutError):
        pass
    workers = await engine.list_workers()
    return Situation(
        lanes=None if found is None else [lane.value for lane in found.lanes],
        holders=None if found is None else found.worker_ids,
        paused=any(q.paused for q in await engine.list_queues() if q.name == task.queue),
        workers=[worker for worker in workers if task.queue in worker.queues],
        backlog_since=None if found is None else found.backlog_since,
    )


def _story_json(task: Task, attempts: list[AttemptRecord], situation: Situation) -> dict[str, Any]:
    known = situation.lanes is not None
    return {
        "task": task_view(task),
        "attempts": [attempt_view(attempt) for attempt in attempts],
        "delivery": {
            "lanes": situation.lanes,
            "workers": situation.holders,
            "backlog_since": situation.backlog_since,
        }
        if known
        else None,
        "queue_paused": situation.paused,
        "queue_workers": [worker.worker_id for worker in situation.workers],
    }


def _print(task: Task, attempts: list[AttemptRecord], situation: Situation) -> None:
    print_line(styled(task.task_id, "bold"), styled(task.state, STYLES[task.state]))
    print_line(summary_line(task))
    print_line()
    for line in task_history(task, attempts, situation):
        when = moment(line.when, fine=True) if line.when else "now".ljust(23)
        print_line(styled(when, "dim"), line.text)
    print_line()
    for name, value in (
        ("payload", task.payload),
        ("progress", task.progress),
        ("result", task.result),
    ):
        if value is not None:
            print_line(styled(name.ljust(9), "dim"), one_line(value))
    _print_error(task)


def _print_error(task: Task) -> None:
    error: dict[str, Any] = msgspec.json.decode(task.error) if task.error else {}
    if not error:
        return
    print_line(
        styled("error".ljust(9), "dim"), f"{error.get('code', '')}: {error.get('message', '')}"
    )
    if error.get("traceback"):
        print_block(str(error["traceback"]))


__all__ = ["find_situation", "show"]
