"""The app of an imagined user, which the workers of a run execute.

The app uses only the public interface of leaseq. Transactional handlers write a row without a
unique constraint. A plain handler notes its effect in the history. Some handlers fail, hang, block
or kill their process. Invariants: a handler writes to Postgres only through `ctx.transaction()`,
and its notes in the history are written before it returns.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from leaseq import Context, Fail, Leaseq
from leaseq_chaos.history import Kind, Recorder, boottime
from leaseq_chaos.statements import STATEMENTS

__all__ = ["PATIENT", "Flaked", "app", "effect_of", "record", "running"]

HISTORY = "LEASEQ_CHAOS_HISTORY"
# A handler's own statement may be refused while Postgres is hurt, and that costs a retry: there are
# plenty.
PATIENT = 50
BOMB_BYTES = 128 * 2**20
HANG_SECONDS = 0.5

# So long a task with a limit keeps its permit, at least.
PERMIT_SECONDS = 0.02

_asking = Lock()
app = Leaseq()
app.limit("fleet", concurrency=6, key_concurrency=2)
app.limit("side", concurrency=4, key_concurrency=1)


class Flaked(Exception):
    """A failure on purpose."""


@app.task(max_attempts=PATIENT)
async def transfer(ctx: Context, source: int, target: int, cents: int) -> int:
    """Money from one account to another. In the order of their numbers, or two transfers would wait
    for each other."""
    with running(ctx):
        async with ctx.transaction() as tx:
            for account, change in sorted([(source, -cents), (target, cents)]):
                await tx.execute(STATEMENTS["add_cents"].encode(), {"id": account, "cents": change})
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))
        return cents


@app.task(max_attempts=PATIENT)
def thread(ctx: Context, source: int, target: int, cents: int) -> int:
    """The same in a plain `def` handler."""
    with running(ctx):
        with ctx.transaction() as tx:
            for account, change in sorted([(source, -cents), (target, cents)]):
                tx.execute(STATEMENTS["add_cents"], {"id": account, "cents": change})
            tx.execute(STATEMENTS["insert_effect"], effect_of(ctx))
        return cents


@app.task(max_attempts=PATIENT)
async def note(ctx: Context, n: int) -> int:
    """One row."""
    with running(ctx):
        await _write_effect(ctx)
        return n


@app.task(max_attempts=PATIENT)
async def later(ctx: Context, n: int) -> int:
    """One row, of a task that was submitted with a delay."""
    with running(ctx):
        await _write_effect(ctx)
        return n


@app.task(max_attempts=PATIENT)
async def slow(ctx: Context, seconds: float) -> float:
    """One row in a transaction that stays open for a while."""
    with running(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))
            await asyncio.sleep(seconds)
        return seconds


@app.task(max_attempts=PATIENT)
async def flaky(ctx: Context, failures: int, mark: str = "") -> str:
    """Fails that often after it has written; none of those rows may stay."""
    with running(ctx):
        await _write_effect(ctx)
        if ctx.retry_count < failures:
            raise Flaked(f"failure {ctx.retry_count + 1} of {failures} {mark}")
        return f"attempt {ctx.attempt} {mark}"


@app.task(queue="side")
async def plain(ctx: Context, n: int) -> int:
    """An effect outside of Postgres: it may happen again, but only under an attempt that there
    was."""
    with running(ctx):
        record(Kind.OK, "effect", ctx)
        return n


@app.task(max_attempts=PATIENT, limit="fleet", key="customer")
async def bounded(ctx: Context, n: int, customer: int) -> int:
    """One row, of a task that needs a permit."""
    with running(ctx):
        async with ctx.transaction() as tx:
            await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))
            await asyncio.sleep(PERMIT_SECONDS)
        return n


@app.task(queue="side", max_attempts=PATIENT, limit="side", key="customer")
async def bounded_plain(ctx: Context, n: int, customer: int) -> int:
    """The same with an effect outside of Postgres. Some of these tasks fail once and are retried."""
    with running(ctx):
        record(Kind.OK, "effect", ctx)
        if n % 5 == 0 and ctx.retry_count == 0:
            raise Flaked("the first failure")
        return n


@app.task(limit="fleet", key="schedule", max_attempts=PATIENT)
async def fired(ctx: Context, schedule: str) -> str:
    """A task of a schedule that needs a permit: one row."""
    with running(ctx):
        await _write_effect(ctx)
        return f"{schedule} {ctx.scheduled_at}"


@app.task
async def refuse(ctx: Context, mark: str = "") -> None:
    """Fails permanently."""
    with running(ctx):
        await ctx.set_progress(mark)
        raise Fail(f"refused on purpose {mark}")


@app.task(timeout=HANG_SECONDS, max_attempts=2)
async def hang(ctx: Context) -> None:
    """Never returns."""
    with running(ctx):
        await asyncio.Event().wait()


@app.task
async def block(ctx: Context, seconds: float) -> None:
    """Stops the event loop, longer than its supervisor puts up with."""
    with running(ctx):
        time.sleep(seconds)  # noqa: ASYNC251 (that is what it is for)


@app.task
async def segfault(ctx: Context) -> None:
    """Reads where nothing is."""
    with running(ctx):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        ctypes.string_at(0)


@app.task
async def bomb(ctx: Context) -> None:
    """Takes much memory, and ends as the kernel ends a process that takes too much."""
    with running(ctx):
        taken = b"\x01" * BOMB_BYTES
        os.kill(os.getpid(), signal.SIGKILL)
        del taken


async def _write_effect(ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(STATEMENTS["insert_effect"].encode(), effect_of(ctx))


def effect_of(ctx: Context) -> dict[str, str | int]:
    return {"task_id": ctx.task_id, "attempt": ctx.attempt, "type": ctx.type, "pid": os.getpid()}


@contextmanager
def running(ctx: Context) -> Iterator[None]:
    """Tell the history of this attempt: `ok` when it is about to return, `fail` when it raises on
    purpose, else `info`."""
    record(Kind.INVOKE, "run", ctx, type=ctx.type, worker_pid=os.getpid())
    try:
        yield
    except (Fail, Flaked):
        record(Kind.FAIL, "run", ctx)
        raise
    except BaseException as error:
        record(Kind.INFO, "run", ctx, error=type(error).__name__)
        raise
    record(Kind.OK, "run", ctx)


def record(kind: Kind, op: str, ctx: Context, **value: str | int) -> None:
    directory = os.environ.get(HISTORY)
    if directory:
        _recorder(directory, os.getpid()).note(
            kind, op, task=ctx.task_id, attempt=ctx.attempt, value=value or None
        )


def _recorder(directory: str, pid: int) -> Recorder:
    """Of this process. A handler in a thread may ask first at the same time as one in the event
    loop: both get the same."""
    with _asking:
        return _recorder_of(directory, pid)


@cache
def _recorder_of(directory: str, pid: int) -> Recorder:
    # The time makes it unique: pids come again.
    return Recorder(Path(directory), f"handler-{pid}-{boottime() // 1_000_000}")
