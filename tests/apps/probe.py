"""Handlers for tests, with effects in a table without a unique constraint."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time

from leaseq import Context, Fail, Leaseq, Retry

app = Leaseq()


@app.task
async def note(ctx: Context, n: int = 0) -> int:
    """One effect, committed with the task."""
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
    return n


@app.task
async def hold(ctx: Context, seconds: float) -> str:
    """One effect in a transaction that stays open while the handler sleeps."""
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
        await asyncio.sleep(seconds)
    return "held"


@app.task
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "napped"


@app.task
def doze(ctx: Context, seconds: float) -> str:
    """A plain `def` handler with an effect in the blocking face of the transaction."""
    with ctx.transaction() as tx:
        tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
        rows = tx.execute("select count(*) from effects where task_id = %s", (ctx.task_id,))
    time.sleep(seconds)
    return f"dozed beside {rows[0][0]}"


@app.task(max_attempts=3)
async def flaky(ctx: Context, failures: int) -> int:
    """Fails that often, then succeeds; every failing attempt has written something that must not
    stay."""
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
    if ctx.retry_count < failures:
        raise ValueError(f"failure {ctx.retry_count}")
    return ctx.attempt


@app.task
async def later(ctx: Context, delay: float) -> int:
    if ctx.retry_count == 0:
        raise Retry("not yet", delay=delay)
    return ctx.attempt


@app.task
async def refuse(reason: str) -> None:
    raise Fail(reason)


@app.task(timeout=0.2)
async def overrun() -> None:
    await asyncio.sleep(60)


@app.task(timeout=0.2, max_attempts=1)
def overrun_in_a_thread(seconds: float) -> None:
    time.sleep(seconds)


@app.task
async def unwritable(ctx: Context) -> object:
    """A result that is no JSON: the effect must go with it."""
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
    return object()


@app.task
async def commits_itself(ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(
            "insert into effects values (%s, %s, %s)", (ctx.task_id, ctx.attempt, os.getpid())
        )
        await tx.execute("commit")


@app.task
async def poison() -> None:
    """Kills its process, as a segmentation fault would."""
    os._exit(139)


@app.task
async def die_once(ctx: Context) -> None:
    """Kills its process with SIGKILL in the first attempt."""
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def segfault() -> None:
    ctypes.string_at(0)


@app.task
async def block(seconds: float) -> str:
    """Stops the event loop, as careless code does."""
    time.sleep(seconds)  # noqa: ASYNC251 (that is what it is for)
    return "blocked"


@app.task(queue="side")
async def aside(n: int) -> int:
    return n


@app.task
async def report_progress(ctx: Context) -> None:
    await ctx.set_progress({"done": 0.5})
    await asyncio.sleep(0.2)


@app.task
async def shrug(seconds: float) -> None:
    """Swallows every cancellation, as careless code does, and waits in a hidden thread."""
    end = time.monotonic() + seconds
    thread = asyncio.get_running_loop().run_in_executor(None, time.sleep, seconds)
    while time.monotonic() < end:
        try:
            await asyncio.shield(thread)
        except asyncio.CancelledError:
            continue


@app.task
async def fork(ctx: Context, seconds: float) -> None:
    """Its first attempt leaves a process behind that holds every descriptor of this one, and tells
    its pid as progress."""
    if ctx.attempt > 1:
        return
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)  # noqa: ASYNC251 (another process by now)
        os._exit(0)
    await ctx.set_progress({"pid": pid})
    await asyncio.sleep(seconds)
