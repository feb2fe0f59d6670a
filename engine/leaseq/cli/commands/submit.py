"""The command that submits a task.

The task is recorded in Postgres when the command returns. Only the id goes to stdout, for scripts;
the rest goes to stderr.
"""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec
from msgspec import UNSET, Struct

from leaseq.cli.commands.wait import print_result
from leaseq.cli.output import print_json
from leaseq.cli.parameters import as_json, labels, tenant, to_name
from leaseq.cli.servers import with_engine
from leaseq.cli.streams import note, say
from leaseq.errors import SubmissionInvalid, TaskNotFound
from leaseq.labels import MAX_LABELS
from leaseq.model import YEAR_SECONDS, Submission, Submitted, Task
from leaseq.operations.engine import Engine
from leaseq.operations.submission import PRIORITIES, Request, accept
from leaseq.options import SubmitOptions
from leaseq.uniqueness import CONFLICT_NAMES, UNIQUE_NAMES
from leaseq_api.schemas import RememberedTask, TaskView
from leaseq_api.views import fresh_view, remembered, task_view


class Arguments(Struct, frozen=True, kw_only=True):
    """The command line, as parsed by click."""

    type_: str
    payload: str
    options: SubmitOptions
    key: str | None
    waits: bool
    timeout: float | None
    tenant: str
    as_json: bool

    def to_request(self) -> Request:
        """The same as a request to the engine."""
        raw: bytes = self.payload.encode()
        if self.payload == "-":
            try:
                raw = sys.stdin.buffer.read()
            except OSError as error:
                message = f"standard input cannot be read ({error.strerror}): give the payload as an argument, or pipe it in"
                raise SubmissionInvalid(message) from None
        return Request(
            type=self.type_, payload=raw.strip(), options=self.options, idempotency_key=self.key
        )


class SubmitResult(Struct, frozen=True):
    """The result of `submit`. `view`: the answer that HTTP would give. `ended`: the task after a
    wait."""

    submission: Submission
    submitted: Submitted
    known: bool
    view: TaskView | RememberedTask
    ended: Task | None = None


@click.command()
@click.argument("type_", type=to_name, metavar="TYPE")
@click.argument("payload", default="{}", metavar="[PAYLOAD_JSON | -]")
@click.option("--key", help="Idempotency key: a repeated submission returns the same task.")
@click.option(
    "--queue",
    type=to_name,
    metavar="NAME",
    help="Queue (default: the queue of the task type, else default).",
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES)),
    help="Priority within the queue (default: normal).",
)
@click.option(
    "--delay", "delay_seconds", type=float, metavar="SECONDS", help="Delay before the task is due."
)
@click.option("--unique-key", metavar="KEY", help="One task with this key is enough; see --unique.")
@click.option(
    "--unique",
    type=click.Choice(UNIQUE_NAMES),
    help="As long as which another task with the key is returned (default: while_unfinished).",
)
@click.option(
    "--unique-for",
    "unique_seconds",
    type=float,
    metavar="SECONDS",
    help="Also return a task with the key that was submitted so long ago and has succeeded.",
)
@click.option(
    "--debounce",
    "debounce_seconds",
    type=float,
    metavar="SECONDS",
    help="Run one task, so long after the last submission with the key.",
)
@click.option(
    "--max-wait",
    "max_wait_seconds",
    type=float,
    metavar="SECONDS",
    help="With --debounce: the longest delay (default: ten times as long).",
)
@click.option(
    "--throttle",
    "throttle_seconds",
    type=float,
    metavar="SECONDS",
    help="Make one task with the key in so long, the first.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(CONFLICT_NAMES),
    help="If another task has the key: return it (default), refuse, or replace it.",
)
@labels(most=MAX_LABELS, help="A label to find the task by; may be given more than once.")
@click.option(
    "--wait",
    "waits",
    is_flag=True,
    help="Wait for the task to end and print its result, like `leaseq wait`.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --wait: stop waiting after this time.",
)
@tenant
@as_json
def submit(**given: Any) -> None:
    """Submit a task of TYPE with a JSON payload ({}; - reads it from standard input). Prints the
    task's id."""
    options = SubmitOptions(
        **{name: given.pop(name) for name in SubmitOptions.__struct_fields__ if name in given}
    )
    arguments = Arguments(options=options, **given)

    async def work(engine: Engine) -> SubmitResult:
        result = await _submit(engine, arguments)
        if not arguments.waits:
            return result
        _report(result, as_json=arguments.as_json)
        seconds = YEAR_SECONDS if arguments.timeout is None else arguments.timeout
        ended = await engine.for_tenant(arguments.tenant).wait(
            result.submitted.task_id, timeout=seconds
        )
        return msgspec.structs.replace(result, ended=ended)

    result = with_engine(work, may_create=True)
    if result.ended is not None:
        sys.exit(print_result(result.ended, as_json=arguments.as_json))
    _report(result, as_json=arguments.as_json)
    if arguments.as_json:
        print_json(result.view)


async def _submit(engine: Engine, arguments: Arguments) -> SubmitResult:
    request, client = arguments.to_request(), engine.for_tenant(arguments.tenant)
    known = await engine.known_types().look_again(request.type)
    submission = accept(request, engine.config, tenant=arguments.tenant, known=known)
    submitted = await client.submit(submission)
    view: TaskView | RememberedTask = fresh_view(submission, submitted)
    if submitted.replayed and arguments.as_json:
        try:
            view = task_view(
                await client.find(submitted.task_id),
                deduplicated=True if submitted.deduplicated else UNSET,
            )
        except TaskNotFound:
            view = remembered(submission, submitted)
    return SubmitResult(submission, submitted, known is not None, view)


def _report(result: SubmitResult, *, as_json: bool) -> None:
    if not as_json:
        say(result.submitted.task_id)
    if result.submitted.deduplicated:
        note(f"this task has the unique key already ({result.submitted.state})")
    elif result.submitted.replayed:
        note(f"a task with this key already exists ({result.submitted.state})")
    elif not result.known:
        type_, queue = result.submission.type, result.submitted.queue
        note(f"no worker has registered the task type {type_} yet; it waits in queue {queue}")


__all__ = ["submit"]
