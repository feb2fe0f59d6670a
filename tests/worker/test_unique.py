"""Unique keys in Python: of types, of calls, and in handlers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from examples import one_sync_at_a_time
from leaseq import Context, Leaseq, UniqueConflict
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.errors import IdempotencyInFlight, ScheduleInvalid, SubmissionInvalid
from leaseq.model import State
from leaseq.operations.engine import Engine
from leaseq_reaper.duties.promote import Promote
from support.worker import until, working


def _declare(**options: Any) -> Any:
    app = Leaseq()

    @app.task(**options)
    async def sync(account: str, n: int = 0) -> None: ...

    return sync


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"unique_key": "sync:{acount}"}, "unknown parameter 'acount'"),
        ({"unique_key": "sync:{account.name}"}, "names of parameters"),
        ({"unique_key": "sync:{account!r}"}, "names of parameters"),
        ({"unique_key": "sync:{"}, "no template"),
        ({"unique_key": ""}, "must not be empty"),
        ({"unique_key": 7}, "a template or a function"),
        ({"unique": "while_unfinished"}, "give unique_key="),
        ({"unique": "forever", "unique_key": "k"}, "while_unfinished"),
        ({"unique": 0, "unique_key": "k"}, "more than 0"),
        ({"throttle": timedelta(days=400), "unique_key": "k"}, "at most one year"),
        ({"debounce": 5, "throttle": 5, "unique_key": "k"}, "not both"),
        ({"debounce": 5, "max_wait": 1, "unique_key": "k"}, "must not be less"),
    ],
)
def test_a_rule_that_no_submission_can_have_is_refused_at_registration(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        _declare(**options)


def test_a_schedule_takes_no_type_with_a_unique_key() -> None:
    app = Leaseq()
    with pytest.raises(ScheduleInvalid, match="unique key"):

        @app.every(30)
        @app.task(unique_key="k")
        async def sync() -> None: ...


async def test_a_key_function_that_raises_or_returns_no_key_stores_nothing(config: Config) -> None:
    app = Leaseq(config)

    @app.task(
        unique_key=lambda account, **_: {"a": account, "b": 1 / 0 if account == "b" else ""}[
            account
        ]
    )
    async def sync(account: str) -> None: ...

    async with app:
        for account, reason in (("b", "ZeroDivisionError"), ("c", "KeyError")):
            with pytest.raises(SubmissionInvalid, match=reason):
                await sync.submit(account)
        long = _declare(unique_key=lambda account, **_: account * 1_000)
        with pytest.raises(SubmissionInvalid, match="1 to 255 characters"):
            long._accept(("abc",), {})
        assert (await sync.submit("a")).deduplicated is False


async def test_rules_of_types_and_of_calls(config: Config) -> None:
    app = Leaseq(config)

    @app.task(unique_key="sync:{account}", unique=timedelta(minutes=5))
    async def sync(account: str, n: int = 0) -> None: ...

    @app.task
    async def plain(n: int) -> None: ...

    async with app:
        first = await sync.submit("a1")
        again = await sync.submit("a1", n=2)
        assert (again.id, again.deduplicated, again.replayed) == (first.id, True, True)
        assert (await sync.options(unique_key="other").submit("a1")).id != first.id
        with pytest.raises(UniqueConflict) as refused:
            await sync.options(on_conflict="refuse").submit("a1")
        assert refused.value.task_id == first.id
        late = await plain.options(debounce=60, unique_key="doc").submit(1)
        await plain.options(debounce=60, unique_key="doc").submit(2)
        task = await late.find()
        assert (task.payload, task.state) == (b'{"n":2}', State.SCHEDULED)
        shut = plain.options(throttle=60, unique_key="disk")
        handles = await app.submit_many([shut.bind(n) for n in range(3)] + [plain.bind(9)])
        assert len({handle.id for handle in handles}) == 2


async def test_in_a_callers_transaction_the_key_comes_with_the_commit(config: Config) -> None:
    app = Leaseq(config)

    @app.task(unique_key="{account}")
    async def sync(account: str) -> None: ...

    async with app, await psycopg.AsyncConnection.connect(config.postgres_url or "") as conn:
        first = await sync.options(connection=conn).submit("a")
        with pytest.raises(IdempotencyInFlight, match="unique key"):
            await sync.submit("a")
        assert (await sync.options(connection=conn).submit("a")).id == first.id
        await conn.rollback()
        second = await sync.submit("a")
        assert second.id != first.id
        assert (await sync.options(connection=conn).submit("a")).id == second.id
        await conn.commit()


async def test_a_handler_submits_under_a_key(config: Config, plain: Connection) -> None:
    app = Leaseq(config)
    made: list[tuple[str, bool]] = []

    @app.task(unique_key="{account}", on_conflict="replace")
    async def sync(account: str) -> None: ...

    @app.task(unique_key="{document}", debounce=3600)
    async def index(document: str, text: str) -> None: ...

    @app.task(max_attempts=1)
    async def outer(ctx: Context, key: str | None = None) -> None:
        async with ctx.transaction() as tx:
            inner = sync.options(connection=tx, delay=3600)
            for _ in range(2):
                handle = await inner.submit("a")
                made.append((handle.id, handle.deduplicated))
            for text in ("old", "new"):
                handle = await index.options(connection=tx).submit("d", text)
                made.append((handle.id, handle.deduplicated))
            named = note.options(connection=tx, unique_key="p", idempotency_key=key)
            for _ in range(2):
                handle = await named.submit()
                made.append((handle.id, handle.replayed))

    @app.task
    async def note() -> None: ...

    async with app, working(config, app):
        await (await outer.submit()).result(timeout=20)
        await (await outer.submit(key="k")).result(timeout=20)
    found = await (await plain.execute("select count(*) from leaseq.uniques")).fetchone()
    assert found == (3,)
    (first, second), (early, late) = made[:2], made[2:4]
    assert first[0] != second[0]  # replaced
    assert (late[0], late[1]) == (early[0], True)
    assert [x[1] for x in made[4:6]] == [False, True]


async def test_the_example_runs_once_for_many_submissions(
    config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = one_sync_at_a_time.app, ""
    monkeypatch.setattr(app, "_config", config)
    async with app:
        editing = asyncio.create_task(one_sync_at_a_time.edit())

        def is_refused() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "in the way: " in said

        await until(is_refused)
        promoting = asyncio.create_task(promote(app.engine))
        async with working(config, app):
            await editing
        promoting.cancel()
    lines = (said + capsys.readouterr().out).splitlines()
    assert lines[0] == "True True"
    assert lines[2:] == ["document 7: 3 words", "1"]


async def promote(engine: Engine) -> None:
    duty = Promote(engine.stores)
    while True:
        await duty.run_once()
        await asyncio.sleep(0.05)
