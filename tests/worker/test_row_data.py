"""Row data in a Postgres error is not stored, shown or reported."""

from __future__ import annotations

import msgspec
import psycopg

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from support.client import Client
from support.worker import working

SECRET = "ada@example.org"
TABLES = (
    "create table public.mails (email text, constraint mails_once unique (email) deferrable initially immediate)",
    "create table public.late (email text, constraint late_once unique (email) deferrable initially deferred)",
    f"insert into public.mails values ('{SECRET}')",
    f"insert into public.late values ('{SECRET}')",
    "grant all on public.mails, public.late to public",
)


async def test_detail_of_postgres_goes_nowhere(config: Config, client: Client) -> None:
    app = Leaseq()

    @app.task
    async def plainly(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into public.mails values (%s)", (SECRET,))

    @app.task
    async def at_commit(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into public.late values (%s)", (SECRET,))

    @app.task
    async def passed_on(ctx: Context) -> None:
        try:
            async with ctx.transaction() as tx:
                await tx.execute("insert into public.mails values (%s)", (SECRET,))
        except psycopg.Error as error:
            raise ValueError(f"could not save: {error}") from None

    for statement in TABLES:
        await client.rows(statement)
    with recorded() as events:
        async with working(config, app):
            for name in ("plainly", "at_commit", "passed_on"):
                task = await client.ended(await client.submit(name, options={"max_attempts": 1}))
                assert (task.state, task.attempt) == (State.FAILED, 1)
                assert task.error is not None
                error = msgspec.json.decode(task.error)
                assert (
                    error["message"]
                    .removeprefix("could not save: ")
                    .startswith("duplicate key value violates")
                ), error
                assert ("SQLSTATE 23505" in error["message"]) == (name != "passed_on")
                assert SECRET not in task.error.decode()
    rows = await client.rows("select error::text from leaseq.attempts")
    assert len(rows) == 3
    assert SECRET not in str(rows)
    assert SECRET not in str(events)
