"""The commands that list schedules, show, pause, resume, run and delete one."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_line, print_table, styled
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import note, say
from leaseq.ledger.schedules import Run
from leaseq.operations.engine import Engine
from leaseq.operations.schedule_operator import ScheduleOperator
from leaseq.operations.schedules import CODE
from leaseq.schedules.read_timing import describe
from leaseq.schedules.schedule import Schedule, ScheduleRun
from leaseq.worker.load import load_app
from leaseq_api.schedules.schemas import RunView
from leaseq_api.schedules.views import PREVIEWED, schedule_page, schedule_view

# Schedules that are read at a time.
PAGE = 1000
name_argument = click.argument("name", type=parameters.to_name, metavar="NAME")
tenant_option = parameters.tenant


@click.group(invoke_without_command=True)
@click.option("--tenant", type=parameters.to_name, help="Only those of this tenant.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=200,
    show_default=True,
    help="Maximum number of rows.",
)
@parameters.as_json
@click.pass_context
def schedules(ctx: click.Context, /, *, tenant: str | None, limit: int, as_json: bool) -> None:
    """List the schedules with their next times, by tenant and name."""
    if ctx.invoked_subcommand is not None:
        return

    async def work(engine: Engine) -> list[Schedule]:
        return await engine.schedules.list_schedules(tenant=tenant, limit=limit)

    found = reading(work)
    if as_json:
        print_json(schedule_page(found, limit=limit))
    elif found:
        print_table(
            ("name", "tenant", "type", "times", "zone", "next", "fired", "missed", "skipped"),
            [
                (
                    each.name,
                    each.tenant,
                    each.type,
                    each.cron or f"every {each.every_seconds:g} s",
                    each.tz,
                    _next(each),
                    str(each.fired),
                    str(each.missed),
                    str(each.skipped),
                )
                for each in found
            ],
        )


@schedules.command()
@name_argument
@tenant_option
@parameters.as_json
def show(name: str, tenant: str, as_json: bool) -> None:
    """Show one schedule with its policies, its next times and its last runs."""

    async def work(engine: Engine) -> tuple[Schedule, list[ScheduleRun]]:
        found = await engine.schedules.find(tenant, name)
        return found, await engine.schedules.runs(found)

    found, runs = reading(work)
    if as_json:
        print_json(schedule_view(found, runs))
        return
    print_line(styled(found.name, "bold"), describe(found.timing), f"in {found.tz}")
    print_line(f"submits {found.type} to {found.queue}, by {found.source}")
    if found.limit_name is not None:
        print_line(f"limit {found.limit_name}, key {found.concurrency_key or '-'}")
    print_line(
        f"catch-up {found.catch_up}, overlap {found.overlap}, jitter {found.jitter_seconds} s; "
        f"{found.fired} fired, {found.missed} missed, {found.skipped} skipped"
    )
    if found.paused_at is not None:
        print_line(f"paused {moment(found.paused_at)} by {found.paused_by or 'a program'}")
    for at in found.preview(PREVIEWED):
        print_line(f"next {moment(at)}")
    if runs:
        print_table(
            ("occurrence", "task", "state"),
            [(moment(run.at), run.task_id or "skipped", run.state or "-") for run in runs],
        )


@schedules.command()
@name_argument
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=PREVIEWED,
    show_default=True,
    help="How many times.",
)
@tenant_option
@parameters.as_json
def preview(name: str, count: int, tenant: str, as_json: bool) -> None:
    """Print the next times of a schedule, without its jitter."""

    async def work(engine: Engine) -> Schedule:
        return await engine.schedules.find(tenant, name)

    times = reading(work).preview(count)
    if as_json:
        print_json({"next_times": times})
    else:
        for at in times:
            print_line(moment(at))


@schedules.command()
@name_argument
@tenant_option
def pause(name: str, tenant: str) -> None:
    """Pause a schedule: its occurrences become no tasks."""

    async def work(engine: Engine) -> None:
        await _operator(engine, tenant).pause(tenant, name)

    with_engine(work)
    say(f"schedule {name} is paused")


@schedules.command()
@name_argument
@tenant_option
def resume(name: str, tenant: str) -> None:
    """Resume a schedule from now on."""

    async def work(engine: Engine) -> Schedule:
        return await _operator(engine, tenant).resume(tenant, name)

    resumed = with_engine(work)
    say(f"schedule {name} is resumed; next {_next(resumed)}")


@schedules.command()
@name_argument
@tenant_option
@parameters.as_json
def run(name: str, tenant: str, as_json: bool) -> None:
    """Submit a task of a schedule now, and print its id."""

    async def work(engine: Engine) -> Run:
        return await _operator(engine, tenant).run_now(tenant, name)

    done = with_engine(work)
    if as_json:
        print_json(RunView(task_id=done.task_id, created=done.created))
    else:
        print_line(done.task_id)


@schedules.command()
@name_argument
@tenant_option
def delete(name: str, tenant: str) -> None:
    """Delete a schedule. Its tasks stay."""

    async def work(engine: Engine) -> None:
        await _operator(engine, tenant).delete(tenant, name)

    with_engine(work)
    say(f"schedule {name} is deleted")


@schedules.command()
@click.argument("apps", nargs=-1, required=True, metavar="MODULE:APP...")
@click.option("--delete", is_flag=True, help="Delete them.")
@tenant_option
@parameters.as_json
def sync(apps: tuple[str, ...], delete: bool, tenant: str, as_json: bool) -> None:
    """Print the schedules of code that none of these apps declares any more.

    A schedule stays where its declaration is removed. Name all apps whose workers use this ledger.
    """
    declared = {name for each in apps for name in load_app(each).schedules.declared}

    async def work(engine: Engine) -> list[Schedule]:
        found = await _of_code(engine, tenant)
        left = [each for each in found if each.name not in declared]
        for each in left if delete else ():
            await _operator(engine, tenant).delete(tenant, each.name)
        return left

    left = with_engine(work) if delete else reading(work)
    if as_json:
        print_json({"schedules": [schedule_view(each) for each in left], "deleted": delete})
        return
    for each in left:
        print_line(each.name, f"by {each.source}", "is deleted" if delete else "is not declared")
    if left and not delete:
        note("delete them with --delete, if no other app declares them")


async def _of_code(engine: Engine, tenant: str) -> list[Schedule]:
    """The schedules of a tenant that code has declared."""
    found: list[Schedule] = []
    after = (tenant, "")
    while True:
        page = await engine.schedules.list_schedules(tenant=tenant, after=after, limit=PAGE)
        found += [each for each in page if each.source.startswith(CODE)]
        if len(page) < PAGE:
            return found
        after = (tenant, page[-1].name)


def _operator(engine: Engine, tenant: str) -> ScheduleOperator:
    return ScheduleOperator(engine.as_operator(command_line(tenant)), engine.schedules)


def _next(schedule: Schedule) -> str:
    if schedule.paused_at is not None:
        return "paused"
    return "never" if schedule.next_at is None else moment(schedule.next_at)


__all__ = ["schedules"]
