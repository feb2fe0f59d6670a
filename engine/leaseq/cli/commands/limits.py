"""The commands that list limits, and show, set or delete one."""

from __future__ import annotations

from typing import Any

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import say
from leaseq.ledger.limits import Limit, LimitKey
from leaseq.limits import LimitBounds
from leaseq.operations.engine import Engine
from leaseq.operations.limit_operator import LimitOperator
from leaseq_api.limits.schemas import LimitDetail, LimitList
from leaseq_api.limits.views import key_view, limit_view

MOST_LIMITS = 200
MOST_KEYS = 50


@click.group(invoke_without_command=True)
@parameters.as_json
@click.pass_context
def limits(ctx: click.Context, as_json: bool) -> None:
    """List the limits, with the tasks that have a permit and those that wait for one."""
    if ctx.invoked_subcommand is not None:
        return

    async def work(engine: Engine) -> list[Limit]:
        return await engine.limits.list_limits(after="", limit=MOST_LIMITS, tenant=None)

    found = reading(work)
    if as_json:
        print_json(LimitList(limits=[limit_view(each) for each in found], next_cursor=None))
    elif found:
        _print([*found])


@limits.command()
@click.argument("name")
@parameters.as_json
def show(name: str, as_json: bool) -> None:
    """Show limit NAME, and those of its keys with the longest lines."""

    async def work(engine: Engine) -> tuple[Limit, list[LimitKey]]:
        limit = await engine.limits.find(name, tenant=None)
        return limit, await engine.limits.list_keys(name, tenant=None, limit=MOST_KEYS)

    limit, keys = reading(work)
    if as_json:
        views = [key_view(each) for each in keys]
        print_json(LimitDetail(limit=limit_view(limit), keys=views))
        return
    _print([limit])
    if keys:
        print_table(
            ("tenant", "key", "admitted", "waiting"),
            [
                (each.tenant, each.key or "-", str(each.admitted), str(each.waiting))
                for each in keys
            ],
        )


@limits.command("set")
@click.argument("name")
@click.option("--concurrency", type=int, help="Tasks that may run at the same time.")
@click.option("--key-concurrency", type=int, help="The same for each key.")
@click.option("--rate", help="Tasks that may start in a period: 100/1s, 90/10s, 1000/h.")
@click.option("--burst", type=int, help="How many more may start in one period.")
@click.option("--key-rate", help="The rate of each key.")
@click.option("--key-burst", type=int, help="The burst of each key.")
@click.option("--order", type=click.Choice(["strict"]), help="One task of a key after the other.")
@click.option(
    "--weight",
    "weights",
    type=(str, int),
    multiple=True,
    help="A key, and how many of its tasks have a turn together.",
)
def set_(name: str, order: str | None, weights: tuple[tuple[str, int], ...], **given: Any) -> None:
    """Make limit NAME, or change it. A bound or a rate that is left out is none."""
    bounds = LimitBounds(
        name=name, strict=order is not None, weights=dict(weights) or None, **given
    )

    async def work(engine: Engine) -> None:
        await LimitOperator(engine.as_operator(command_line(None)), engine).put(bounds)

    with_engine(work)
    say(f"limit {name} is set")


@limits.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete limit NAME, which no unfinished task has."""

    async def work(engine: Engine) -> None:
        await LimitOperator(engine.as_operator(command_line(None)), engine).delete(name)

    with_engine(work)
    say(f"limit {name} is deleted")


def _per_key(limit: Limit) -> str:
    """The bound, the rate and the order of each key, in one cell."""
    parts = [] if limit.key_concurrency is None else [str(limit.key_concurrency)]
    if limit.key_rate is not None:
        parts.append(limit.key_rate + (f" +{limit.key_burst}" if limit.key_burst else ""))
    if limit.strict:
        parts.append("strict")
    return ", ".join(parts) or "-"


def _print(found: list[Limit]) -> None:
    print_table(
        ("limit", "concurrency", "per key", "rate", "admitted", "waiting", "oldest"),
        [
            (
                each.name,
                "-" if each.concurrency is None else str(each.concurrency),
                _per_key(each),
                "-" if each.rate is None else each.rate + (f" +{each.burst}" if each.burst else ""),
                str(each.admitted),
                str(each.waiting),
                moment(each.oldest_at),
            )
            for each in found
        ],
    )


__all__ = ["limits"]
