"""The command that explains why a task is where it is."""

from __future__ import annotations

import asyncio
import sys

import click

from leaseq.cli import parameters
from leaseq.cli.exit_codes import FAILED, OK
from leaseq.cli.output import print_json, print_line, styled
from leaseq.cli.servers import reading
from leaseq.model import TERMINAL, State
from leaseq.operations.engine import Engine
from leaseq.operations.why.answer import Why
from leaseq.operations.why.explain import explain
from leaseq.operations.why.wording import moment, span

WATCH_SECONDS = 1.0
LABEL = 9


@click.command()
@parameters.task_id
@click.option("--key", metavar="KEY", help="Its idempotency key, which remembers a pruned task.")
@click.option(
    "--watch", is_flag=True, help="Go on, and print each new sentence, until it has ended."
)
@parameters.tenant
@parameters.as_json
def why(task_id: str, key: str | None, watch: bool, tenant: str, as_json: bool) -> None:
    """Explain why task ID is where it is, what happens next and when, and what a person can do.

    Exit code 0: it succeeded, or goes on without a person; 1: it needs a person, or has ended in
    another way.
    """

    async def look(engine: Engine) -> Why:
        return explain(await engine.read_facts(task_id, tenant=tenant, key=key))

    async def work(engine: Engine) -> Why:
        found = await look(engine)
        while watch and found.state not in (None, *TERMINAL):
            show_why(found, as_json=as_json)
            found = await _next_sentence(found, engine)
        return found

    async def _next_sentence(last: Why, engine: Engine) -> Why:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            found = await look(engine)
            if found.sentence != last.sentence:
                return found

    found = reading(work)
    show_why(found, as_json=as_json)
    sys.exit(exit_code_of(found))


def exit_code_of(found: Why) -> int:
    """0 for a success and for a task that goes on alone."""
    is_over = found.state in (State.FAILED, State.CANCELLED)
    return FAILED if found.needs_person or is_over else OK


def show_why(found: Why, *, as_json: bool) -> None:
    """Print an explanation with its evidence."""
    if as_json:
        print_json(found)
        return
    print_line(styled(found.sentence, "bold"))
    print_next(found)
    label = "facts"
    for each in found.evidence:
        print_line(styled(label.ljust(LABEL), "dim"), styled(each.source.ljust(LABEL)), each.text)
        label = ""


def print_next(found: Why) -> None:
    """Print the next event, and what a person can do."""
    print_line(styled("next".ljust(LABEL), "dim"), found.next + _when(found))
    if found.since is not None:
        lasted = (found.at - found.since).total_seconds()
        print_line(styled("since".ljust(LABEL), "dim"), f"{moment(found.since)} ({span(lasted)})")
    label = "do"
    for action in found.actions:
        print_line(styled(label.ljust(LABEL), "dim"), action)
        label = ""


def _when(found: Why) -> str:
    if found.next_at is None:
        return ""
    left = (found.next_at - found.at).total_seconds()
    return (
        f": {moment(found.next_at)} (in {span(left)})" if left > 0 else f": {moment(found.next_at)}"
    )


__all__ = ["exit_code_of", "print_next", "show_why", "why"]
