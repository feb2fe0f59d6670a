"""Schedules of an app: declared in code, put by a program, and fired in processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from examples import reports_at_six
from leaseq import Config, Context, Leaseq, app_schedules
from leaseq.app_schedules import AppSchedules, by_interval
from leaseq.errors import ScheduleInvalid, ScheduleNotFound
from leaseq.limits import LimitBounds
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.server_checks.startup import inspect_servers
from leaseq.task import AsyncTask
from support.processes import Services
from support.source_tree import ROOT
from support.worker import until

ODD: Any = "never"


@pytest.fixture
def app(config: Config) -> Leaseq:
    return Leaseq(config)


@pytest.fixture
async def opened(app: Leaseq) -> AsyncIterator[Leaseq]:
    @app.task(queue="reports", max_attempts=3)
    async def report(ctx: Context, day: int = 1) -> int:
        return day

    async with app:
        yield app


def bound(app: Leaseq, **options: Any) -> Any:
    task = AsyncTask[Any, Any](app, app.registry.handlers["report"])
    return task.options(**options).bind(day=2)


def test_declarations_are_checked_at_import(app: Leaseq) -> None:
    async def report(day: int) -> None:
        """Never run."""

    def plain() -> None:
        """Never run."""

    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: app.cron("0 25 * * *"), "the hour, '25', is not 0 to 23"),
        (lambda: app.cron("0 6 * * *", tz="Mars/Olympus"), "'Mars/Olympus' is no time zone"),
        (lambda: app.every(0.1), "1 second to 366 days"),
        (lambda: app.every(30, name="no spaces")(plain), "1 to 128 characters"),
        (lambda: app.every(30, jitter=-1)(app.task(name="a")(plain)), "jitter_seconds must be"),
        (
            lambda: app.every(30, overlap=ODD)(app.task(name="b")(plain)),
            "overlap must be allow, skip or wait",
        ),
        (lambda: app.every(30)(app.task(name="c")(report)), "do not fit"),
        (lambda: app.every(30, arguments={"day": "x"})(app.task(name="d")(report)), "do not fit"),
    ]
    for declare, message in refused:
        with pytest.raises(ScheduleInvalid, match=message):
            declare()
    app.every(30)(app.task(name="e")(plain))
    with pytest.raises(ScheduleInvalid, match="two schedules are named 'e'"):
        app.every(60, name="e")(app.task(name="f")(plain))
    assert list(app.schedules.declared) == ["e"]


async def test_a_declaration_keeps_its_next_time_and_its_pause(app: Leaseq) -> None:
    @app.cron("0 6 * * *", tz="Europe/Zurich")
    async def report() -> None:
        """Never run."""

    async with app:
        await app.schedules.declare()
        first = await app.schedules.find("report")
        assert (first.source, first.tz, first.type) == (
            f"code:{__name__}",
            "Europe/Zurich",
            "report",
        )
        await app.schedules.pause("report", by="the night shift")
        await app.schedules.declare()
        again = await app.schedules.find("report")
        assert (again.next_at, again.paused_by) == (first.next_at, "the night shift")
        # The code of the next release.
        changed = Leaseq(app.config)
        changed.cron("0 7 * * *", tz="Europe/Zurich", name="report")(
            changed.task(report.__wrapped__)
        )
        async with changed:
            await changed.schedules.declare()
        later = await app.schedules.find("report")
        assert (later.cron, later.paused_by) == ("0 7 * * *", "the night shift")
        assert later.next_at is not None
        assert later.next_at != first.next_at


async def test_a_declaration_that_is_refused_for_now_is_recorded_later(
    app: Leaseq, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.every(60)
    @app.task(limit="stripe")
    async def charge() -> None:
        """Never run."""

    monkeypatch.setattr(app_schedules, "AGAIN_SECONDS", 0.01)
    with recorded() as events:
        async with app, app.schedules.declaring():
            refused = [each for each in events if each.name == "schedule.failed"]
            assert "there is no limit stripe" in refused[0].fields["error"]
            await app.engine.limits.put(LimitBounds(name="stripe", concurrency=1))
            await until(lambda: any(each.name == "schedule.put" for each in events))
            assert (await app.schedules.find("charge")).limit_name == "stripe"
    assert len([each for each in events if each.name == "schedule.failed"]) == 1, (
        "once for a reason"
    )


async def test_schedules_of_code_that_is_gone_are_found(app: Leaseq) -> None:
    @app.every(60, name="kept")
    async def tick() -> None:
        """Never run."""

    async with app:
        await app.schedules.declare()
        await app.engine.stores.workers.open_worker(
            "w", host="h", pid=1, queues=["default"], version="0"
        )
        report = await inspect_servers(app.config, migrates=False)
    (finding,) = [each for each in report.findings if each.about == "schedules"]
    assert "kept of tenant default was declared by code:" in finding.message
    assert "no open worker runs its task type tick" in finding.message


async def test_a_declaration_has_the_limit_and_the_key_of_its_tasks(app: Leaseq) -> None:
    app.limit("stripe", concurrency=1)

    @app.every(60, arguments={"customer": "acme-7"})
    @app.task(limit="stripe", key=lambda customer: customer.split("-")[1])
    async def charge(customer: str) -> None:
        """Never run."""

    with pytest.raises(ScheduleInvalid, match="key function of charge raised"):
        app.every(60, name="b", arguments={"customer": "acme"})(charge)
    async with app:
        await app.schedules.declare()
        found = await app.schedules.find("charge")
        assert (found.limit_name, found.concurrency_key) == ("stripe", "7")
        task = await (await app.schedules.run_now("charge")).find()
        assert (task.limit_name, task.concurrency_key) == ("stripe", "7")


async def test_code_leaves_a_schedule_of_another_way_alone(opened: Leaseq) -> None:
    await opened.schedules.put("report", bound(opened), every=60)
    schedules = AppSchedules(opened)
    schedules.add(
        AsyncTask[Any, Any](opened, opened.registry.handlers["report"]), by_interval(30, {}), {}
    )
    await schedules.declare()
    found = await opened.schedules.find("report")
    assert (found.every_seconds, found.source) == (60.0, "api")


async def test_a_program_puts_runs_pauses_and_deletes(opened: Leaseq) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    with recorded() as events:
        put = await opened.schedules.put(
            "mine",
            bound(opened, labels={"k": "v"}, priority="high"),
            every=timedelta(minutes=5),
            start=start,
        )
        assert put.next_at == start
        assert (put.queue, put.max_attempts, put.labels) == ("reports", 3, {"k": "v"})
        assert await opened.schedules.preview("mine", 2) == [start, start + timedelta(minutes=5)]
        task = await opened.schedules.run_now("mine", request="r")
        again = await opened.schedules.run_now("mine", request="r")
        assert (task.id, task.replayed, again.replayed) == (again.id, False, True)
        ((at, task_id, state),) = [
            (run.at, run.task_id, run.state) for run in await opened.schedules.runs("mine")
        ]
        assert (task_id, state, at < start) == (task.id, State.PENDING, True)
        assert [one.name for one in await opened.schedules.list_schedules()] == ["mine"]
        await opened.schedules.pause("mine")
        await opened.schedules.resume("mine")
        await opened.schedules.delete("mine")
    told = [event.name for event in events if event.name.startswith("schedule.")]
    assert told == [f"schedule.{verb}" for verb in ("put", "fired", "paused", "resumed", "deleted")]
    mine = opened.schedules
    for act in (mine.find, mine.pause, mine.resume, mine.delete, mine.run_now):
        with pytest.raises(ScheduleNotFound):
            await act("mine")


async def test_bad_schedules_are_refused_and_nothing_is_stored(opened: Leaseq) -> None:
    put = opened.schedules.put
    for call, message in [
        (put("a b", bound(opened), every=5), "name of a schedule"),
        (put("a", bound(opened), cron="* *"), "needs five"),
        (put("a", bound(opened)), "one of the two"),
        (put("a", bound(opened, delay=5), every=5), "leave out delay_seconds"),
        (put("a", bound(opened), every=5, max_catch_up=1000), "from 1 to 100"),
        (put("a", bound(opened), every=5, end=datetime(2020, 1, 1, tzinfo=UTC)), "never fires"),
    ]:
        with pytest.raises(ScheduleInvalid, match=message):
            await call
    assert await opened.schedules.list_schedules() == []


async def test_a_resumed_schedule_goes_on_from_now(opened: Leaseq) -> None:
    await opened.schedules.put("mine", bound(opened), every=1)
    await opened.schedules.pause("mine")
    async with await psycopg.AsyncConnection.connect(
        str(opened.config.postgres_url), autocommit=True
    ) as plain:
        await plain.execute(
            "update leaseq.schedules set next_at = now() - interval '10.5 s', anchor_at = now() - interval '10.5 s'"
        )
    resumed = await opened.schedules.resume("mine")
    assert resumed.next_at is not None
    assert resumed.next_at > resumed.now - timedelta(seconds=1)
    assert (resumed.missed, resumed.fired) in [(10, 0), (11, 0)]


async def test_leaseq_check_warns_of_schedules_that_fire_no_more(opened: Leaseq) -> None:
    await opened.schedules.put("whole", bound(opened), every=60)
    await opened.schedules.put("ended", bound(opened), every=60)
    await opened.schedules.put("lost", bound(opened), cron="0 6 * * *")
    async with await psycopg.AsyncConnection.connect(
        str(opened.config.postgres_url), autocommit=True
    ) as plain:
        await plain.execute(
            "update leaseq.schedules set next_at = null, due_at = null where name = 'ended'"
        )
        await plain.execute(
            "update leaseq.schedules set zone = 'Europe/Atlantis' where name = 'lost'"
        )
    report = await inspect_servers(opened.config, migrates=False)
    warned = {
        each.message[:20]: each.fatal for each in report.findings if each.about == "schedules"
    }
    assert warned == {"ended of tenant defa": False, "lost of tenant defau": False}


async def test_the_example_reports_in_real_processes(config: Config, services: Services) -> None:
    services.directory = ROOT
    await services.reaper()
    worker = await services.worker("--queues", "reports,default", app="examples.reports_at_six:app")
    await worker.hear("schedule.put", schedule="poll-orders")
    app = reports_at_six.app
    app._config = config
    async with app:
        task = await app.schedules.run_now("report")
        assert await task.result() == f"report of {datetime.now(UTC):%Y-%m-%d}"
        async with await psycopg.AsyncConnection.connect(
            str(config.postgres_url), autocommit=True
        ) as plain:
            # The morning comes.
            await plain.execute(
                "update leaseq.schedules set next_at = '2026-03-29T04:00Z', due_at = now() where name = 'report'"
            )
        await worker.hear("attempt.settled", count=2, type="report")
        runs = await app.schedules.runs("report")
        assert [run.state for run in runs] == [State.SUCCESS] * 2
        morning = await app.find(str(runs[0].task_id))
        assert str(await morning.result()).startswith("report of 20")
