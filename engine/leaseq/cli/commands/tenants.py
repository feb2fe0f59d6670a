"""The commands that list tenants, create one, and set the quotas of one."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import say
from leaseq.model import Tenant

NO_LIMIT = "none"
Limit = int | None


class LimitType(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or none."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Limit]:
        """The limit, in a tuple: an option that is not given is None."""
        text = str(value)
        if text == NO_LIMIT:
            return (None,)
        try:
            return (int(text),)
        except ValueError:
            self.fail(f"{text[:20]!r} is not a whole number, and not {NO_LIMIT}", param, ctx)


LIMIT = LimitType()


@click.group(invoke_without_command=True)
@parameters.as_json
@click.pass_context
def tenants(ctx: click.Context, as_json: bool) -> None:
    """List the tenants that API keys may be bound to, with their quotas."""
    if ctx.invoked_subcommand is not None:
        return
    found = reading(lambda engine: engine.access.list_tenants())
    if as_json:
        print_json(found)
    else:
        print_table(
            ("tenant", "since", "unfinished", "per queue", "bytes a day"),
            [(each.name, moment(each.created_at), *_limits(each)) for each in found],
        )


@tenants.command()
@click.argument("name", metavar="NAME")
def create(name: str) -> None:
    """Make tenant NAME known."""
    created = with_engine(lambda engine: engine.as_operator(command_line(None)).create_tenant(name))
    say(f"tenant {name} is {'created' if created else 'known already'}")


@tenants.command()
@click.argument("name", metavar="NAME")
@click.option("--unfinished", type=LIMIT, help="Tasks that have not ended; none: no limit.")
@click.option("--unfinished-per-queue", type=LIMIT, help="The same in each queue.")
@click.option("--payload-bytes-per-day", type=LIMIT, help="Bytes of payloads in a UTC day.")
@parameters.as_json
def limit(
    name: str,
    unfinished: tuple[Limit] | None,
    unfinished_per_queue: tuple[Limit] | None,
    payload_bytes_per_day: tuple[Limit] | None,
    as_json: bool,
) -> None:
    """Set quotas of tenant NAME, or remove them with `none`. Those that are not named stay.

    Each API process applies them within 5 seconds, to tasks that are submitted over HTTP.
    """
    given = {
        "unfinished": unfinished,
        "unfinished_per_queue": unfinished_per_queue,
        "payload_bytes_per_day": payload_bytes_per_day,
    }
    changes = {quota: limit[0] for quota, limit in given.items() if limit is not None}
    if not changes:
        raise click.UsageError("name a quota, such as --unfinished 10000")
    tenant = with_engine(
        lambda engine: engine.as_operator(command_line(None)).limit_tenant(name, changes)
    )
    if as_json:
        print_json(tenant)
    else:
        shown = zip(("unfinished", "per queue", "bytes a day"), _limits(tenant), strict=True)
        say(f"tenant {name}: " + ", ".join(f"{quota} {limit}" for quota, limit in shown))


def _limits(tenant: Tenant) -> list[str]:
    shown = (tenant.unfinished, tenant.unfinished_per_queue, tenant.payload_bytes_per_day)
    return ["-" if limit is None else str(limit) for limit in shown]


__all__ = ["tenants"]
