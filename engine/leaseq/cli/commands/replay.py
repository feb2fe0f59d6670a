"""The command that submits a task again as a new task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import print_json
from leaseq.cli.servers import with_engine
from leaseq.cli.streams import note, say
from leaseq.errors import SubmissionInvalid
from leaseq.model import Submission, Submitted, Task
from leaseq.operations.engine import Engine
from leaseq.operations.operator import Operation
from leaseq.operations.replay import Replay, accept_replay
from leaseq.operations.submission import PRIORITIES
from leaseq.options import SubmitOptions
from leaseq_api.views import task_view


@click.command()
@parameters.task_id
@click.option(
    "--payload",
    metavar="JSON | @FILE | -",
    help="In place of the payload of the original; - reads standard input.",
)
@click.option("--key", help="Idempotency key of the new task (default: replay-ID-1).")
@click.option("--queue", type=parameters.to_name, metavar="NAME", help="Another queue.")
@click.option("--priority", type=click.Choice(list(PRIORITIES)), help="Another priority.")
@parameters.tenant
@parameters.as_json
def replay(
    *,
    task_id: str,
    payload: str | None,
    key: str | None,
    tenant: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit task ID again as a new task, perhaps with another payload. Prints the id of the new task.

    The original does not change. The new task has an idempotency key, so the same command again
    returns the same task; --key makes another one.
    """
    wanted = Replay(
        payload=None if payload is None else _read(payload),
        options=SubmitOptions(**options),
        idempotency_key=key,
    )

    async def work(engine: Engine) -> tuple[Submitted, Task]:
        client = engine.for_tenant(tenant)

        async def build(original: Task) -> Submission:
            types = engine.known_types()
            return await accept_replay(original, wanted, config=engine.config, types=types)

        async def submit(submission: Submission, _: Operation) -> Submitted:
            return await client.submit(submission)

        operator = engine.as_operator(command_line(tenant))
        _, submitted = await operator.replay(task_id, build, submit)
        return submitted, await client.find(submitted.task_id)

    submitted, task = with_engine(work)
    if as_json:
        print_json(task_view(task))
    else:
        say(submitted.task_id)
    if submitted.replayed:
        note(f"it was replayed under this key before ({submitted.state})")


def _read(given: str) -> bytes:
    """The payload, from the argument, a file or standard input."""
    try:
        if given == "-":
            return sys.stdin.buffer.read().strip()
        if given.startswith("@"):
            return Path(given[1:]).read_bytes().strip()
    except OSError as error:
        raise SubmissionInvalid(f"the payload cannot be read: {error.strerror}") from None
    return given.encode("utf-8", "surrogateescape").strip()


__all__ = ["replay"]
