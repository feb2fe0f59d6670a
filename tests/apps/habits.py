"""An app with process-wide psycopg types, and handlers that change the process."""

from __future__ import annotations

import asyncio
import codecs
import concurrent.futures
import contextlib
import gc
import io
import locale
import logging
import logging.config
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader

from leaseq import Context, Leaseq

app = Leaseq()


class OddLoader(Loader):
    """Reads every value as an object of the app."""

    def load(self, data: Buffer) -> Any:
        return ("odd", bytes(data))


class OddDumper(Dumper):
    """Writes every value in the way of the app."""

    def dump(self, obj: Any) -> bytes:
        return f"odd {obj}".encode()


for known in list(psycopg.adapters.types):
    psycopg.adapters.register_loader(known.oid, OddLoader)
    psycopg.adapters.register_loader(
        known.oid, type("OddBinaryLoader", (OddLoader,), {"format": psycopg.pq.Format.BINARY})
    )
for kind in (str, int, float, bool, bytes, list, dict, datetime, date, type(None)):
    psycopg.adapters.register_dumper(kind, OddDumper)


Change = Callable[[Context], Awaitable[Any]]
CHANGES: dict[str, Change] = {}
_left: set[asyncio.Task[None]] = set()


def change(function: Change) -> Change:
    CHANGES[function.__name__] = function
    return function


@change
async def closes_standard_output(ctx: Context) -> None:
    with sys.stdout as out:
        print("a line", file=out)
    io.TextIOWrapper(sys.stdout.buffer).close()
    codecs.getwriter("utf-8")(sys.stdout.buffer).close()
    sys.stderr.close()


@change
async def redirects_its_output(ctx: Context) -> None:
    """Side by side: the second one to end puts the stream of the first one back, which is closed by
    then."""

    async def redirect() -> bool:
        with io.StringIO() as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            await asyncio.sleep(0.2)
        return sys.stdout.closed

    first = asyncio.create_task(redirect())
    await asyncio.sleep(0.1)
    second = await redirect()  # here, not in a task: nothing runs between its end and the handler's
    assert [first.result(), second] == [False, True]


@change
async def closes_its_descriptors(ctx: Context) -> None:
    os.close(1)


@change
async def sets_logging_up(ctx: Context) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    logging.disable(logging.CRITICAL)
    logging.shutdown()


@change
async def changes_the_process(ctx: Context) -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    time.tzset()
    locale.setlocale(locale.LC_ALL, "C")
    random.seed(0)
    socket.setdefaulttimeout(0.001)
    warnings.simplefilter("error")


@change
async def changes_the_interpreter(ctx: Context) -> None:
    gc.disable()
    gc.freeze()
    sys.setrecursionlimit(300)
    sys.settrace(_fail)
    sys.setswitchinterval(0.1)
    sys.set_asyncgen_hooks(None, None)
    sys.settrace(None)


@change
async def changes_the_loop(ctx: Context) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    loop.set_exception_handler(_fail)
    loop.set_debug(True)
    loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.14
        asyncio.set_event_loop_policy(None)
    loop.call_soon(_fail)
    try:
        loop.close()
    except RuntimeError:
        return


@change
async def sets_a_task_factory_of_old(ctx: Context) -> None:
    """It takes no options, which newer releases of Python give it."""
    asyncio.get_running_loop().set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))


@change
async def sets_a_task_factory_that_raises(ctx: Context) -> None:
    asyncio.get_running_loop().set_task_factory(_fail)


@change
async def ends_what_the_loop_keeps(ctx: Context) -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert await asyncio.to_thread(abs, -1) == 1


@change
async def sets_threads_that_end(ctx: Context) -> None:
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        assert (await asyncio.to_thread(threading.current_thread)).name.startswith("mine")


@change
async def sets_a_pool_that_refuses(ctx: Context) -> None:
    asyncio.get_running_loop().set_default_executor(_Refusing())


class _Refusing(concurrent.futures.ThreadPoolExecutor):
    def submit(self, *_: Any, **__: Any) -> NoReturn:
        raise ZeroDivisionError


@change
async def resets_signals(ctx: Context) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


@change
async def exhausts_the_stack(ctx: Context) -> None:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError:
        return


@change
async def uses_processes(ctx: Context) -> None:
    loop = asyncio.get_running_loop()
    for method in ("fork", "spawn"):
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            assert await loop.run_in_executor(pool, abs, -1) == 1
    await asyncio.to_thread(subprocess.run, ["true"], check=True, close_fds=False)


@change
async def reports_often(ctx: Context) -> None:
    await asyncio.gather(*[ctx.set_progress(n) for n in range(50)])


@change
async def reports_from_a_thread_of_its_own(ctx: Context) -> None:
    thread = threading.Thread(target=lambda: asyncio.run(ctx.set_progress(1)))
    thread.start()
    await asyncio.to_thread(thread.join)


@change
async def forks_in_a_sub_task(ctx: Context) -> None:
    """The copy returns into its copy of the event loop, where the other attempts wait."""

    async def fork() -> None:
        os.fork()

    _left.add(asyncio.create_task(fork()))
    await asyncio.sleep(0.4)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="ascii") as out:
        out.write(text)


def _fail(*_: object) -> NoReturn:
    raise ZeroDivisionError


@app.task(max_attempts=1)
async def changes(ctx: Context, what: str) -> str:
    await CHANGES[what](ctx)
    return what


@app.task(max_attempts=1)
async def limits(what: str) -> None:
    """No file can be opened any more, or no function called that calls a few others."""
    if what == "depth":
        sys.setrecursionlimit(60)
        return
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3 if what == "hard" else most))


@app.task(max_attempts=1)
def opens_a_file() -> int:
    subprocess.run(["true"], check=True)
    return len(Path(os.devnull).read_bytes())


@app.task(max_attempts=1)
def prints_and_stays(seconds: float) -> None:
    """Closes its standard output, and keeps its thread."""
    sys.stdout = io.StringIO()
    sys.stdout.close()
    time.sleep(seconds)


@app.task(max_attempts=1)
async def cancels_everything() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0.05)


@app.task
async def naps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.task(max_attempts=1)
async def receipt() -> int:
    return 7


@app.task(max_attempts=1)
async def steps(ctx: Context, file: str) -> str:
    """Writes its process id into a file ten times, which its copies in forked processes do, too."""
    for _ in range(10):
        _append(Path(file), f"{os.getpid()}\n")
        print("a step")
        await asyncio.sleep(0.05)
    assert await asyncio.to_thread(abs, -1) == 1
    await ctx.set_progress(10)
    async with ctx.transaction() as tx:
        await tx.execute(f"insert into effects values ('{ctx.task_id}', 1, 0)")
        row = await (await tx.execute("select 1")).fetchone()
        assert row is not None
        assert row[0][0] == "odd", "the app's own way of reading"
        handle = await receipt.options(connection=tx).submit()
    return handle.id
