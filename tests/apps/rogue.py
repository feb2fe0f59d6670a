"""Handlers whose code continues outside its own task."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import NoReturn

from leaseq import Context, Leaseq

app = Leaseq()


@app.task
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "napped"


@app.task
async def starts_processes(ctx: Context, seconds: float) -> None:
    """A forked process, programs and one with a session of its own, whose ids are stored as
    progress."""
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)  # noqa: ASYNC251 (another process by now)
        os._exit(0)
    sleep = ["/bin/sleep", str(seconds)]
    program = await asyncio.create_subprocess_exec(*sleep)
    bare = await asyncio.create_subprocess_exec(*sleep, env={})
    apart = subprocess.Popen(sleep, env={}, process_group=0)  # noqa: ASYNC220 (it does not block)
    detached = await asyncio.create_subprocess_exec(*sleep, start_new_session=True)
    await ctx.set_progress(
        {"pids": [pid, program.pid, bare.pid, apart.pid], "detached": detached.pid}
    )
    await asyncio.sleep(seconds)


@app.task(max_attempts=1)
async def signals_its_group(number: int) -> str:
    os.killpg(0, number)
    os.killpg(os.getpgrp(), number)
    return "signalled"


@app.task
def naps_in_a_thread(seconds: float) -> None:
    time.sleep(seconds)


@app.task
async def writes(ctx: Context, seconds: float) -> None:
    """Uses its transaction, shows progress, and leaves nothing behind."""
    async with ctx.transaction() as tx:
        await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))
    await ctx.set_progress({"done": 1})
    await asyncio.sleep(seconds)


@app.task(timeout=0.2, max_attempts=1)
def lingers(seconds: float) -> None:
    """Overruns, and goes on in its thread."""
    time.sleep(seconds)


@app.task(timeout=0.2, max_attempts=1)
async def lingers_in_threads(count: int, seconds: float) -> None:
    """Overruns, and each of its calls keeps a thread that serves all handlers."""
    await asyncio.gather(*[asyncio.to_thread(time.sleep, seconds) for _ in range(count)])


@app.task
async def asks_a_thread() -> int:
    return await asyncio.to_thread(abs, -1)


@app.task(timeout=0.2, max_attempts=1)
def lingers_and_kills(seconds: float) -> None:
    """Overruns, and later ends the process from the thread that it kept."""
    time.sleep(seconds)
    os._exit(139)


@app.task
async def leaves_a_killer(ctx: Context, seconds: float, how: str) -> str:
    """Succeeds immediately, and a timer that it left ends the process later."""
    match how:
        case "timer":
            asyncio.get_running_loop().call_later(seconds, os._exit, 139)
        case "task":
            _left.add(asyncio.create_task(_kill_later(seconds)))
        case "thread":
            _left.add(asyncio.create_task(asyncio.to_thread(_kill_after, seconds)))
        case "bare thread":
            threading.Thread(target=_kill_after, args=[seconds], daemon=True).start()
        case "process":
            await asyncio.create_subprocess_exec("sleep", str(seconds))
        case "watchdog":
            faulthandler.dump_traceback_later(seconds, exit=True)
    return how


_left: set[asyncio.Task[None]] = set()


async def _kill_later(seconds: float) -> None:
    await asyncio.sleep(seconds)
    os._exit(139)


def _kill_after(seconds: float) -> NoReturn:
    time.sleep(seconds)
    os._exit(139)


class Undying:
    """Exits when it is collected."""

    def __del__(self) -> None:
        sys.exit("a finalizer")


async def _exit(said: str) -> None:
    await asyncio.sleep(0)
    sys.exit(said)


async def _interrupt(said: str) -> None:
    await asyncio.sleep(0)
    raise KeyboardInterrupt(said)


@app.task(max_attempts=1)
async def exits(how: str) -> None:
    """Asks the process to exit, in a way that this handler waits for."""
    match how:
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(_exit("a sub-task of a group"))
        case "interrupt":
            async with asyncio.TaskGroup() as group:
                group.create_task(_interrupt("a sub-task of a group"))
        case "gather":
            await asyncio.gather(_exit("a gathered sub-task"), asyncio.sleep(0.2))
        case "task":
            await asyncio.create_task(_exit("a sub-task"))
        case "thread":
            await asyncio.to_thread(sys.exit, "a thread")


@app.task(max_attempts=1)
async def exits_aside(how: str) -> str:
    """Asks the process to exit, or the loop to stop, where nothing waits for it."""
    loop = asyncio.get_running_loop()
    match how:
        case "forgotten":
            _left.add(asyncio.create_task(_exit("nothing waits for it")))
        case "callback":
            loop.call_soon(sys.exit, "a callback")
        case "timer":
            loop.call_later(0.05, sys.exit, "a timer")
        case "finalizer":
            Undying()
        case "stop":
            loop.stop()
    await asyncio.sleep(0.2)
    return how


@app.task(max_attempts=1)
def exits_in_its_thread(how: str) -> None:
    if how == "exit":
        sys.exit("a plain handler")
    raise KeyboardInterrupt("a plain handler")


@app.task
async def blocks(seconds: float) -> None:
    """Stops the event loop."""
    time.sleep(seconds)  # noqa: ASYNC251 (that is what it is for)


@app.task
def pools(seconds: float) -> None:
    """Leaves a pool of forked processes that are busy: ending it sends each of them SIGTERM, and
    waits."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply_async(time.sleep, (60,))
        time.sleep(seconds)


@app.task
async def forks(ctx: Context, how: str) -> str:
    """Forks, and its copy goes on as if it were the handler."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        said = await _as_a_copy(ctx, how)
        os.write(writing, said.encode())
        os.close(writing)
        await asyncio.sleep(60)
        return said
    os.close(writing)
    said = await asyncio.to_thread(_read_all, reading)
    await ctx.set_progress({"said": said})
    return said


async def _as_a_copy(ctx: Context, how: str) -> str:
    try:
        match how:
            case "progress":
                await ctx.set_progress(1)
            case "transaction":
                async with ctx.transaction():
                    pass
            case "exit":
                raise RuntimeError("nothing was asked")
    except RuntimeError as error:
        return str(error)
    return "it was answered"


def _read_all(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


class Unspeakable:
    """A result that cannot be written."""

    def __str__(self) -> str:
        raise SystemExit("no text for you")

    __repr__ = __str__


@app.task(max_attempts=1)
async def logs_oddly() -> str:
    log = logging.getLogger("rogue")
    log.warning("%d", "no number")
    log.warning("too few %s %s", *["one"])
    log.warning("half a pair \ud800")
    log.warning("%s", Unspeakable())
    log.warning(Unspeakable())
    log.warning("large %s", "x" * 1_000_000)
    try:
        raise ValueError(Unspeakable())
    except ValueError:
        log.exception("an exception that cannot be shown")
    print("half a pair", "\ud800")
    return "logged"


@app.task
async def prints(lines: int) -> int:
    for n in range(lines):
        print(f"{n:06d}", "x" * 200)
        print(f"{n:06d}", "x" * 200, file=sys.stderr)
    return lines
