"""The tasks and handlers of the state machine.

A handler writes one row of `machine.effects` in its transaction, or nothing; and it stands at the
gate of its worker while it "works", so that it can be overtaken, interrupted and killed there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from leaseq.context import Context
from leaseq.errors import Fail
from leaseq.registry import Registry, describe

# The worker of a handler gives it: a place to stand, and a book of how attempts came out.
WORK: ContextVar[Callable[[], Awaitable[None]]] = ContextVar("machine_work")
BOOK: ContextVar[set[tuple[str, int, bool]]] = ContextVar("machine_book")

TRANSACTIONAL = ("note", "flaky", "refuse")
TYPES = (*TRANSACTIONAL, "plain")


async def note(ctx: Context, body: str) -> None:
    """One effect."""
    await _write(ctx, body)
    await WORK.get()()
    _returns(ctx)


async def flaky(ctx: Context, body: str) -> None:
    """An effect that is rolled back, then an effect."""
    await _write(ctx, body)
    if ctx.retry_count == 0:
        raise RuntimeError("not at the first time")
    _returns(ctx)


async def refuse(ctx: Context, body: str) -> None:
    """Never an effect."""
    await _write(ctx, body)
    BOOK.get().add((ctx.task_id, ctx.attempt, False))
    raise Fail("it will never do")


async def plain(ctx: Context, body: str) -> None:
    """Something outside of Postgres."""
    await WORK.get()()
    _returns(ctx)


def handlers() -> Registry:
    """All of them."""
    registry = Registry()
    for function in (note, flaky, refuse, plain):
        registry.add(describe(function))
    return registry


async def _write(ctx: Context, body: str) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into machine.effects (task_id, attempt, body) values (%s, %s, %s)",
            [ctx.task_id, ctx.attempt, body],
        )


def _returns(ctx: Context) -> None:
    BOOK.get().add((ctx.task_id, ctx.attempt, True))


__all__ = ["BOOK", "TRANSACTIONAL", "TYPES", "WORK", "handlers"]
