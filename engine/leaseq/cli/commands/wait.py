"""Report the end of a task with the words and exit codes of the command line."""

from __future__ import annotations

import sys

import click
import msgspec

from leaseq.cli import parameters
from leaseq.cli.exit_codes import FAILED, OK, TIMED_OUT
from leaseq.cli.output import print_json, print_raw_json
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.model import YEAR_SECONDS, State, Task
from leaseq.operations.engine import Engine
from leaseq_api.views import task_view


@click.command()
@parameters.task_id
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting after this time (exit code 124).",
)
@parameters.tenant
@parameters.as_json
def wait(task_id: str, timeout: float | None, tenant: str, as_json: bool) -> None:
    """Wait for the task ID to end and print its result.

    Exit code 0: it ended in SUCCESS; 1: in FAILED or CANCELLED; 124: it has not ended yet.
    """

    async def work(engine: Engine) -> Task:
        return await engine.for_tenant(tenant).wait(
            task_id, timeout=YEAR_SECONDS if timeout is None else timeout
        )

    sys.exit(print_result(reading(work), as_json=as_json))


def print_result(task: Task, *, as_json: bool) -> int:
    """Report how it ended: the result on stdout, everything else on stderr. Returns the exit
    code."""
    code = {State.SUCCESS: OK, State.FAILED: FAILED, State.CANCELLED: FAILED}.get(
        task.state, TIMED_OUT
    )
    if as_json:
        print_json(task_view(task))
    elif task.erased_at is not None:
        note(f"task {task.task_id} ended in {task.state}, and was erased since")
    elif task.state is State.SUCCESS:
        print_raw_json(task.result or b"null")
    elif code == TIMED_OUT:
        note(f"task {task.task_id} is still {task.state}: wait again, or run `leaseq show`")
    else:
        note(f"task {task.task_id} ended in {task.state}{_reason(task)}")
    return code


def _reason(task: Task) -> str:
    error = msgspec.json.decode(task.error) if task.error else {}
    kind, message = error.get("type", ""), error.get("message", "")
    text = " ".join((f"{kind}: {message}" if kind else message).split())
    return f": {text}" if text else ""


__all__ = ["print_result", "wait"]
