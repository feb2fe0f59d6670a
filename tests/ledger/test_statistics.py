"""Statistics are flushed once, folded once, and read at any moment of both."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import ServerUnreachable
from leaseq.ledger import statistics
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.statistics import StatisticsLedger
from leaseq.metrics.percentiles import percentile
from leaseq.metrics.tally import BOUNDS, MOST_PAIRS, OTHER, Tally
from leaseq.model import Outcome, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.statistics import flush
from leaseq.operations.statistics.flush import StatisticsFlush, flushing
from leaseq.operations.statistics.read import Statistics, Window, read_statistics
from support.ledger import holding

AGE = "update leaseq.tallies set at = at - interval '1 minute'"
REST = "update leaseq.stats_fold set folded_at = '-infinity'"


@pytest.fixture
def stats(session: Session) -> StatisticsLedger:
    return StatisticsLedger(session)


class Process:
    """A process that counts, and flushes on demand."""

    def __init__(self, stats: StatisticsLedger) -> None:
        self.tally = Tally()
        self.flushes = StatisticsFlush(stats, "supervisor", self.tally.series)

    async def does(self, queue: str = "q", type_name: str = "t", *, attempts: int = 1) -> None:
        """Count attempts that waited for 0.1 s, ran for a second and succeeded, and flush."""
        counts = self.tally.of_task(queue, type_name)
        counts.created += attempts
        counts.starts += [0.1] * attempts
        counts.successes += [1.0] * attempts
        await self.flushes.flush()


async def fold(stats: StatisticsLedger, plain: Connection) -> int:
    """Fold all that is there, as if a minute had passed."""
    await plain.execute(AGE)
    await plain.execute(REST)
    return await stats.fold()


async def read(stats: StatisticsLedger, window: Window = "1h", **only: str | None) -> Statistics:
    return await read_statistics(
        stats, window, queue=only.get("queue"), type_name=only.get("type_name")
    )


async def succeeded(stats: StatisticsLedger, window: Window = "1h", **only: str | None) -> int:
    found = await read(stats, window, **only)
    assert found.total is not None
    assert found.total.ended.succeeded == sum(
        step.figures.ended.succeeded for step in found.steps if step.figures is not None
    )
    return found.total.ended.succeeded


async def test_what_was_counted_is_read_before_and_after_the_fold(
    stats: StatisticsLedger, plain: Connection
) -> None:
    process = Process(stats)
    await process.does(attempts=3)
    process.tally.of_task("q", "t").settled(Outcome.ERRORED, State.FAILED, 4.0)
    process.tally.of_task("q", "u").lost(State.PENDING)
    await process.flushes.flush()
    for is_folded in (False, True):
        if is_folded:
            assert await fold(stats, plain) == 3
        found = await read(stats)
        total = found.total
        assert total is not None
        assert (total.submitted, total.started, total.ended.succeeded) == (3, 3, 3)
        assert (total.ended.errored, total.ended.lost, total.failed_tasks) == (1, 1, 1)
        assert total.failing_share == pytest.approx(2 / 5)
        assert (total.wait.count, total.run.count) == (3, 4)
        assert total.run.mean == pytest.approx(7 / 4)
        assert total.run.p50 == pytest.approx(1.0, rel=0.19)
        assert total.run.p99 == pytest.approx(4.0, rel=0.19)
        (first, second) = found.types
        assert (first.type, first.run_share) == ("t", 1.0)
        assert (second.type, second.figures.ended.lost, second.run_share) == ("u", 1, 0.0)


async def test_every_window_has_the_same_sums(stats: StatisticsLedger, plain: Connection) -> None:
    process = Process(stats)
    await process.does(attempts=2)
    await fold(stats, plain)
    await process.does(attempts=5)
    await fold(stats, plain)
    await process.does()
    for window, steps in {"1h": 60, "6h": 36, "24h": 144, "7d": 168}.items():
        found = await read(stats, window)  # type: ignore[arg-type]
        assert await succeeded(stats, window) == 8  # type: ignore[arg-type]
        assert len(found.steps) == steps
        assert found.steps[0].figures is None, "before the first report"
        last = found.steps[-1]
        assert last.at <= found.now < last.at + timedelta(seconds=found.step_seconds)
        assert last.seconds <= found.step_seconds


async def test_one_queue_or_one_type_alone(stats: StatisticsLedger, plain: Connection) -> None:
    process = Process(stats)
    await process.does("mail", "send", attempts=2)
    await process.does("mail", "bounce", attempts=3)
    await fold(stats, plain)
    await process.does("billing", "send", attempts=4)
    assert await succeeded(stats) == 9
    assert await succeeded(stats, queue="mail") == 5
    assert await succeeded(stats, type_name="send") == 6
    assert await succeeded(stats, queue="mail", type_name="send") == 2
    assert await succeeded(stats, queue="none") == 0
    found = await read(stats)
    assert [(each.queue, each.type) for each in found.types] == [
        ("billing", "send"),
        ("mail", "bounce"),
        ("mail", "send"),
    ], "those that ran longest first"
    assert found.types[0].run_share == pytest.approx(4 / 9)


async def test_a_queue_is_the_sum_of_its_types(stats: StatisticsLedger, plain: Connection) -> None:
    process = Process(stats)
    for queue, type_name, attempts in (("q", "a", 4), ("q", "b", 5), ("r", "a", 2)):
        await process.does(queue, type_name, attempts=attempts)
    assert await fold(stats, plain) == 3
    await process.does("r", "c")  # not folded yet
    found = await read(stats)
    ended = {each.queue: each.figures.ended.succeeded for each in found.queues}
    assert list(ended.items()) == [("q", 9), ("r", 3)]
    first = found.queues[0].figures
    assert first.wait.count == 9
    assert first.wait.p95 == pytest.approx(0.1, rel=0.19)
    assert len(found.types) == 4
    assert [each.queue for each in (await read(stats, queue="r")).queues] == ["r"]


@pytest.mark.parametrize("is_folded", [False, True])
async def test_a_flush_whose_answer_was_lost_counts_once(
    stats: StatisticsLedger,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
    is_folded: bool,
) -> None:
    process = Process(stats)
    await process.does(attempts=2)
    write = stats.flush

    async def lose_answer(*given: Any) -> None:
        await write(*given)
        raise ServerUnreachable("the answer was lost")

    monkeypatch.setattr(stats, "flush", lose_answer)
    with pytest.raises(ServerUnreachable):
        await process.does(attempts=3)
    monkeypatch.setattr(stats, "flush", write)
    if is_folded:
        assert await fold(stats, plain) == 2, "its row is gone before it is sent again"
    await process.does(attempts=4)
    assert await succeeded(stats) == 9


async def test_an_outage_keeps_the_counts(
    stats: StatisticsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(stats)
    write = stats.flush

    async def away(*_: Any) -> None:
        raise ServerUnreachable("away")

    monkeypatch.setattr(stats, "flush", away)
    for _ in range(5):
        with pytest.raises(ServerUnreachable):
            await process.does(attempts=2)
    monkeypatch.setattr(stats, "flush", write)
    await process.flushes.flush()
    assert await succeeded(stats) == 10


async def test_a_second_fold_leaves_what_the_first_one_folds(
    stats: StatisticsLedger, pool: Pool, plain: Connection
) -> None:
    """Neither waits for the other, and no tally is folded twice."""
    process = Process(stats)
    await process.does(attempts=2)
    await plain.execute(AGE)
    async with holding(pool) as held:
        assert await StatisticsLedger(held).fold() == 1
        assert await stats.fold() == 0
        assert await succeeded(stats) == 2, "it is not committed yet"
    assert await stats.fold() == 0
    assert await succeeded(stats) == 2


async def test_a_fold_that_dies_has_folded_nothing(
    stats: StatisticsLedger, pool: Pool, plain: Connection
) -> None:
    await Process(stats).does(attempts=2)
    await plain.execute(AGE)

    async def die() -> None:
        async with holding(pool) as held:
            assert await StatisticsLedger(held).fold() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await die()
    assert await succeeded(stats) == 2
    assert await stats.fold() == 1
    assert await succeeded(stats) == 2


async def test_processes_and_reapers_meet_and_every_attempt_counts_once(
    stats: StatisticsLedger, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "FOLDED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(statistics, "FOLD_PAUSE_SECONDS", 0.0)
    processes = [Process(stats) for _ in range(3)]

    async def work(process: Process) -> None:
        for n in range(20):
            await process.does("q", f"t{n % 4}", attempts=n)

    async def reap(until: asyncio.Event) -> int:
        folded = 0
        while not until.is_set():
            folded += await stats.fold()
        return folded

    over = asyncio.Event()
    reapers = [asyncio.create_task(reap(over)) for _ in range(3)]
    await asyncio.gather(*map(work, processes))
    over.set()
    assert sum(await asyncio.gather(*reapers)) > 0
    assert await succeeded(stats) == 3 * sum(range(20))


async def test_a_step_has_a_bounded_number_of_pairs(
    stats: StatisticsLedger, plain: Connection
) -> None:
    one, other = Process(stats), Process(stats)
    for n in range(MOST_PAIRS - 100):
        one.tally.of_task("q", f"one-{n}").created += 1
    for n in range(MOST_PAIRS - 100):
        other.tally.of_task("q", f"other-{n}").created += 1
    for process in (one, other):
        await process.flushes.flush()
        await fold(stats, plain)
    cursor = await plain.execute(
        "select count(*), sum(created)::integer from leaseq.stats where step = 3600 and type <> %s",
        [OTHER],
    )
    ((pairs, _),) = await cursor.fetchall()
    assert pairs <= 2 * MOST_PAIRS - 200
    found = await read(stats)
    assert found.total is not None
    assert found.total.submitted == 2 * (MOST_PAIRS - 100)
    cursor = await plain.execute(
        "select at, step, count(*) from leaseq.stats where type <> %s group by 1, 2", [OTHER]
    )
    assert max(count for _, _, count in await cursor.fetchall()) == MOST_PAIRS


async def test_what_is_not_known_is_not_zero(stats: StatisticsLedger, plain: Connection) -> None:
    before = await read(stats)
    assert (before.total, before.since, before.reporting) == (None, None, 0)
    assert {step.figures for step in before.steps} == {None}
    assert before.unknown == "no process has reported statistics yet"
    process = Process(stats)
    await process.flushes.flush()  # it has counted nothing
    idle = await read(stats)
    assert idle.total is not None
    assert (idle.total.submitted, idle.total.failing_share, idle.total.run.p95) == (0, None, None)
    assert idle.reporting == 1
    known = [step for step in idle.steps if step.figures is not None]
    assert len(known) in (1, 2), "the first report may have been in the minute before"
    await plain.execute("update leaseq.tally_flushes set at = at - interval '5 minutes'")
    silent = await read(stats)
    assert silent.reporting == 0
    assert silent.steps[-1].figures is None
    assert silent.unknown is not None
    assert "no process has reported for more than a minute" in silent.unknown


async def test_tallies_that_no_reaper_folds_are_told(
    stats: StatisticsLedger, plain: Connection
) -> None:
    process = Process(stats)
    await process.does()
    await plain.execute("update leaseq.tallies set at = at - interval '10 minutes'")
    await plain.execute("update leaseq.stats_fold set began_at = now() - interval '1 day'")
    found = await read(stats)
    assert found.unknown is not None
    assert "no reaper has summed" in found.unknown
    assert await succeeded(stats) == 1
    await fold(stats, plain)
    assert (await read(stats)).unknown is None


async def test_sums_past_their_retention_are_pruned(
    stats: StatisticsLedger, plain: Connection
) -> None:
    await Process(stats).does()
    await fold(stats, plain)

    async def steps_after(days: float) -> list[int]:
        await plain.execute(
            "update leaseq.stats set at = at - make_interval(secs => %s)", [days * 86_400]
        )
        await stats.prune(limit=1000)
        cursor = await plain.execute("select step from leaseq.stats order by step")
        return [step for (step,) in await cursor.fetchall()]

    assert await steps_after(1.9) == [60, 600, 3600]
    assert await steps_after(0.2) == [600, 3600]
    assert await steps_after(6) == [3600]
    assert await steps_after(81) == [3600]
    assert await steps_after(2) == []
    await plain.execute("update leaseq.tally_flushes set at = at - interval '8 days'")
    await stats.prune(limit=1000)
    assert (await stats.read_reports()).flushed_at is None


async def test_a_process_flushes_at_its_end(stats: StatisticsLedger) -> None:
    tally = Tally()
    async with flushing(stats, "api", tally.series):
        tally.of_task("q", "t").successes.append(1.0)
    assert await succeeded(stats) == 1


async def test_no_error_of_statistics_disturbs_the_end_of_a_process(
    stats: StatisticsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise PermissionError("this role may not insert")

    tally = Tally()
    monkeypatch.setattr(stats, "flush", refuse)
    with recorded() as events:
        async with flushing(stats, "program", tally.series):
            tally.of_task("q", "t").created += 1
    assert [event.fields["loop"] for event in events] == ["statistics"]


async def test_a_program_flushes_its_own_submissions(
    stats: StatisticsLedger, config: Config
) -> None:
    apps = [Leaseq(config), Leaseq(config)]
    for app in apps:

        @app.task
        async def noop() -> None: ...

        async with app:
            assert (await stats.read_reports()).reporting == apps.index(app), "nothing so far"
            for _ in range(3):
                await noop.submit()
    found = await read(stats)
    assert found.total is not None
    assert (found.total.submitted, found.reporting) == (6, 2)


async def test_a_process_reports_although_nothing_happens(
    stats: StatisticsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(stats)
    await process.flushes.flush()
    first = (await stats.read_reports()).flushed_at
    await process.flushes.flush()
    assert (await stats.read_reports()).flushed_at == first, "not at every flush"
    monkeypatch.setattr(flush, "monotonic", lambda: monotonic() + flush.SILENCE_SECONDS)
    await process.flushes.flush()
    assert (await stats.read_reports()).flushed_at != first


async def test_values_beyond_the_bounds_are_kept(
    stats: StatisticsLedger, plain: Connection
) -> None:
    process = Process(stats)
    counts = process.tally.of_task("q", "t")
    counts.successes += [0.0, 1e6]
    await process.flushes.flush()
    await fold(stats, plain)
    found = await read(stats)
    assert found.total is not None
    assert (found.total.run.count, found.total.run.p50) == (2, BOUNDS[0])
    assert found.total.run.p99 == BOUNDS[-1]


async def test_the_run_times_of_a_type_are_those_of_the_last_hours(
    stats: StatisticsLedger, plain: Connection
) -> None:
    process = Process(stats)
    await process.does("q", "t", attempts=30)
    await process.does("q", "other", attempts=5)
    await fold(stats, plain)
    assert sum(await stats.sum_runs("q", "t", hours=24)) == 30
    assert percentile(await stats.sum_runs("q", "t", hours=24), 0.95) == pytest.approx(
        1.0, rel=0.19
    )
    assert await stats.sum_runs("q", "none", hours=24) == []
    await plain.execute("update leaseq.stats set at = at - interval '26 hours'")
    assert await stats.sum_runs("q", "t", hours=24) == []
