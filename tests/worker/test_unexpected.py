"""Unexpected exceptions within the worker, from armed failpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaseq import Context, Leaseq, failpoints
from leaseq.config import Config
from leaseq.model import State
from support.client import Client
from support.worker import promoting, until, working

INSERT = "insert into effects values (%s, %s, 0)"


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Failpoints look here."""
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("point", ["settle.sending", "settle.sent"])
async def test_an_ending_that_goes_wrong_alone_is_tried_once_more(
    config: Config, client: Client, armed: Path, point: str
) -> None:
    """It must not be treated as a result that Postgres refuses: the next try may well go
    through."""
    app, runs = Leaseq(), 0

    @app.task
    async def answer() -> int:
        nonlocal runs
        runs += 1
        return 42

    async with working(config, app):
        (armed / point).write_text("error")
        task = await client.ended(await client.submit("answer"))
        await until(lambda: not (armed / point).exists())
    assert (task.state, task.attempt, task.result, runs) == (State.SUCCESS, 1, b"42", 1)


@pytest.mark.parametrize("point", ["attempt.ending", "commit.sent", "settle.committed"])
async def test_a_connection_for_transactions_is_never_lost(
    config: Config, client: Client, armed: Path, point: str
) -> None:
    """There is one connection. The second run gets it, and finds no lock of the first run."""
    app = Leaseq()

    @app.task
    async def write(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))

    async with promoting(client.engine), working(config, app, concurrency=1) as worker:
        (armed / point).write_text("error")
        for _ in range(2):
            task = await client.ended(await client.submit("write"))
            assert (task.state, await client.effects(task.task_id)) == (State.SUCCESS, 1)
            assert not (armed / point).exists()
        await until(lambda: worker.running == 0)
        assert worker.attempts._services.handle.pool.get_stats()["pool_available"] == 1
