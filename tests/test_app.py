"""The app: openings, handles, and task types that are called as functions."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap

import pytest

from leaseq import Config, Context, Leaseq, NotOpen, TaskNotFound
from leaseq.codec import new_task_id
from support.client import Client
from support.worker import until, working


async def connections(client: Client) -> int:
    found = await client.rows(
        "select count(*) from pg_stat_activity where application_name = 'leaseq client'"
    )
    return int(found[0][0])


async def test_openings_are_counted_and_the_last_closing_disconnects(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)

    @app.task
    async def ping() -> None: ...

    async def open_and_submit() -> None:
        async with app:
            await asyncio.sleep(0)
            await ping.submit()

    async with app:
        engine = app.engine
        await asyncio.gather(*(open_and_submit() for _ in range(12)))
        async with app:
            assert app.engine is engine
        assert app.engine is engine
        await ping.submit()
    with pytest.raises(NotOpen):
        _ = app.engine
    assert await client.rows("select count(*) from leaseq.tasks") == [(13,)]

    async def all_closed() -> bool:
        return await connections(client) == 0

    await until(all_closed)


async def test_an_opening_that_fails_leaves_nothing_open_and_may_be_repeated(
    config: Config,
) -> None:
    app, fails = Leaseq(config), True
    connect = app.openings._connect

    def sometimes():  # type: ignore[no-untyped-def]
        if fails:
            raise ValueError("not now")
        return connect()

    app.openings._connect = sometimes
    for outcome in await asyncio.gather(
        *(app.__aenter__() for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(outcome, ValueError)
    fails = False
    # The set of connections that failed keeps its own way to connect; a new one is made.
    async with app:
        assert app.engine.config is config


async def test_a_handle_is_found_by_its_id_and_knows_the_type_of_the_result(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)

    @app.task
    async def squares(n: int) -> set[int]:
        return {k * k for k in range(n)}

    async with app, working(config, app):
        submitted = await squares.submit(4)
        handle = await app.find(submitted.id)
        assert await handle.result() == {0, 1, 4, 9}
        assert handle.id == submitted.id
        for unknown in (new_task_id(), "no id", ""):
            with pytest.raises(TaskNotFound):
                await app.find(unknown)


async def test_a_task_type_is_called_as_the_function_that_it_decorates() -> None:
    app = Leaseq()

    @app.task
    async def double(n: int) -> int:
        """Twice the number."""
        return 2 * n

    @app.task(queue="sums")
    def add(a: int, b: int = 1) -> int:
        return a + b

    @app.task
    async def needs_a_context(ctx: Context, n: int) -> str:
        return f"{ctx.task_id} {n}"

    assert await double(4) == 8
    assert (add(1), add(a=1, b=2), add.options(delay=5)(3)) == (2, 3, 4)
    assert (double.__name__, double.__doc__, str(inspect.signature(double))) == (
        "double",
        "Twice the number.",
        "(n: 'int') -> 'int'",
    )
    with pytest.raises(NotOpen, match="pass ctx="):
        await needs_a_context(1)
    with pytest.raises(TypeError):
        await double(1, 2)  # type: ignore[call-arg]


SCRIPT = """
import os, sys
from leaseq import Leaseq

app = Leaseq()

@app.task
async def ping(n: int) -> int:
    return n

first = ping.sync.submit(1)
again = ping.options(idempotency_key="k").sync.submit(2)
assert ping.options(idempotency_key="k").sync.submit(2).id == again.id
assert first.state() == "PENDING" and first.find().type == "ping"
assert again.cancel() == "CANCELLED"
child = os.fork()
if child == 0:  # as a pre-forking web server does
    ping.sync.submit(3)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


async def test_code_without_an_event_loop_submits_through_sync(
    config: Config, client: Client
) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "LEASEQ_POSTGRES_URL": str(config.postgres_url),
        "LEASEQ_REDIS_URL": str(config.redis_url),
    }
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(SCRIPT)],
        env=env,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")
    assert await client.rows("select count(*) from leaseq.tasks") == [(3,)]
    assert await connections(client) == 0
