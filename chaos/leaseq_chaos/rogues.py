"""Handlers that misbehave, in the app of the imagined user.

They change their session, keep their connections, end their connection, their transaction or their
process, and leave threads behind. Each is recorded in the history, so that checkers know whether a
neighbour felt it. Invariants: writes of a rogue after its time go to a separate table, and are
noted only if they were accepted; `meddle`, `observe`, `keep` and `linger` end in SUCCESS with one
effect, the others in FAILED with none.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import Any

from psycopg.rows import dict_row

from leaseq import Context
from leaseq_chaos.handlers import PATIENT, app, effect_of, record, running
from leaseq_chaos.history import Kind, boottime
from leaseq_chaos.statements import STATEMENTS

__all__ = ["app"]

MEDDLING = ("meddle", "create_temporary", "listen")
LATE_SECONDS = (0.3, 1.0, 2.0)
# The connections of the latest attempts, and their attempts.
_kept: list[tuple[Any, dict[str, str | int], Context]] = []
MOST_KEPT = 3
KEPT_SECONDS = 0.2


@app.task(max_attempts=PATIENT)
async def meddle(ctx: Context) -> None:
    """Leaves everything that a session can remember."""
    with running(ctx):
        async with ctx.transaction() as tx:
            for name in MEDDLING:
                await tx.execute(
                    STATEMENTS[name].encode(),
                    {"task_id": ctx.task_id} if name == "meddle" else None,
                )
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))
            with suppress(AttributeError):
                tx.row_factory = dict_row


@app.task(max_attempts=PATIENT)
async def observe(ctx: Context) -> None:
    """Notes what others have left in its session."""
    with running(ctx):
        async with ctx.transaction() as tx:
            cursor = await tx.execute(STATEMENTS["find_marks"].replace("%%", "%").encode())
            row: Any = await cursor.fetchone()
            marks = ["row_factory", *row.values()] if isinstance(row, dict) else list(row[0])
            record(Kind.OK, "session", ctx, marks=", ".join(map(str, marks)))
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))


@app.task(max_attempts=PATIENT)
async def keep(ctx: Context) -> None:
    """Writes through the transactions of other attempts, those that are over and those that run,
    before and inside its own."""
    with running(ctx):
        await _write_through_kept(ctx)
        async with ctx.transaction() as tx:
            await _write_through_kept(ctx)
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))
            _kept.append((tx, effect_of(ctx), ctx))
            del _kept[:-MOST_KEPT]
            await asyncio.sleep(KEPT_SECONDS)


@app.task(max_attempts=PATIENT)
def linger(ctx: Context) -> None:
    """Leaves a thread that goes on writing."""
    with running(ctx), ctx.transaction() as tx:
        tx.execute(STATEMENTS["insert_effect"], effect_of(ctx))
        Thread(target=_write_late, args=(tx, effect_of(ctx), ctx), daemon=True).start()


@app.task(max_attempts=2)
async def sever(ctx: Context) -> None:
    """Ends its own session in Postgres."""
    with running(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(STATEMENTS["sever"].encode())


@app.task(max_attempts=2)
async def finish(ctx: Context) -> None:
    """Commits, though the transaction is not its own to end."""
    with running(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(STATEMENTS["finish"].encode())


@app.task(max_attempts=2)
async def leave(ctx: Context) -> None:
    """Ends the process from a task of its own."""
    with running(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(_quit())
            group.create_task(asyncio.sleep(1))


async def _quit() -> None:
    sys.exit(3)


async def _write_through_kept(writer: Context) -> None:
    for tx, row, ctx in tuple(_kept):
        began = boottime()
        with suppress(Exception):  # it has to be refused, with any message
            await tx.execute(STATEMENTS["insert_late"].encode(), row)
            record(Kind.OK, "late", ctx, began=began, by=writer.task_id)


def _write_late(tx: Any, row: dict[str, str | int], ctx: Context) -> None:
    for seconds in LATE_SECONDS:
        time.sleep(seconds)
        began = boottime()
        with suppress(Exception):
            tx.execute(STATEMENTS["insert_late"], row)
            record(Kind.OK, "late", ctx, began=began)
