"""The command that shows the history of a task and what it is waiting for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from leaseq.cli import parameters
from leaseq.cli.commands.tasks import line_of
from leaseq.cli.commands.why import print_next
from leaseq.cli.output import STYLES, moment, one_line, print_block, print_json, print_line, styled
from leaseq.cli.servers import reading
from leaseq.model import AttemptRecord, Task
from leaseq.operations.engine import Engine
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.life.history import summary_line, task_history
from leaseq.operations.why.explain import explain
from leaseq.operations.why.facts import Facts
from leaseq_api.views import attempt_view, task_view

Found = tuple[LifeFacts, Facts]
NOW = "now".ljust(23)


@click.command()
@parameters.task_id
@parameters.tenant
@parameters.as_json
@click.option(
    "--story",
    is_flag=True,
    help="With --json: the task, its attempts, where its delivery is, and why.",
)
def show(task_id: str, tenant: str, as_json: bool, story: bool) -> None:
    """Show the history of task ID: its attempts, its end, or what it is waiting for."""
    if story and not as_json:
        raise click.UsageError("--story adds to the output of --json: add --json")

    async def work(engine: Engine) -> Found:
        life = await engine.read_life(task_id, tenant=tenant)
        return life, await engine.read_facts(task_id, tenant=tenant)

    life, facts = reading(work)
    if as_json:
        print_json(_story_json(life.task, life.attempts, facts) if story else task_view(life.task))
    else:
        _print(life, facts)


def _story_json(task: Task, attempts: Sequence[AttemptRecord], facts: Facts) -> dict[str, Any]:
    dispatch = facts.dispatch
    place = None if dispatch is None else dispatch.place
    return {
        "task": task_view(task),
        "attempts": [attempt_view(attempt) for attempt in attempts],
        "delivery": None
        if dispatch is None
        else {
            "lanes": [] if place is None else [place.lane],
            "workers": dispatch.holders,
            "backlog_since": dispatch.backlog_since,
        },
        "queue_paused": facts.queue is not None and facts.queue.paused,
        "queue_workers": [worker.worker_id for worker in facts.serving],
        "why": explain(facts),
    }


def _print(life: LifeFacts, facts: Facts) -> None:
    task = life.task
    print_line(styled(task.task_id, "bold"), styled(task.state, STYLES[task.state]))
    print_line(summary_line(task))
    print_line()
    for line in task_history(task, life.attempts, life):
        when = moment(line.when, fine=True) if line.when else "-".ljust(23)
        print_line(styled(when, "dim"), line.text)
    why = explain(facts)
    print_line(styled(NOW, "dim"), why.sentence)
    print_line()
    print_next(why)
    print_line()
    if task.labels:
        labels = "  ".join(f"{name}={value}" for name, value in sorted(task.labels.items()))
        print_line(styled("labels".ljust(9), "dim"), labels)
    if task.unique_key is not None:
        held = "" if task.has_unique_key else ", which names another task now"
        print_line(
            styled("unique".ljust(9), "dim"), f"{task.unique_key} ({task.unique_hold}){held}"
        )
    if waits := line_of(task):
        print_line(styled("line".ljust(9), "dim"), waits)
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


__all__ = ["show"]
