"""A census says how many tasks there are, and how far it may be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger import census as module
from leaseq.ledger.census import Census, CensusLedger
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State
from leaseq.operations.census import LEAST_PAGES, CensusTaker
from support.ledger import holding, submit

TRIES = 100
FILL = """
insert into leaseq.tasks (id, queue, type, payload, state, max_attempts, timeout_seconds, finished_at, result)
select
    ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, f.queue, 'add',
    json_build_object('n', repeat('x', f.size)), f.state, 5, 30,
    case when f.state = 'SUCCESS' then now() end, case when f.state = 'SUCCESS' then '1'::json end
from generate_series(1, %s) as n, lateral ({}) as f (queue, state, size)
"""
# Each puts states and queues on pages in its own way: alternating; in blocks, as they were submitted; a
# rare queue in bursts; tasks of very different sizes; and a table most of whose pages are empty.
SKEWED = {
    "alternating": "select 'q' || n %% 3, case when n %% 4 = 0 then 'PENDING' else 'SUCCESS' end, 80",
    "in blocks": "select 'q', case when n < 14000 then 'SUCCESS' else 'PENDING' end, 80",
    "in bursts": "select case when n %% 2000 < 200 then 'rare' else 'q' end, 'PENDING', 80",
    "of all sizes": "select 'q' || n %% 2, 'PENDING', case when n %% 100 < 5 then 1800 else 20 end",
    "mostly empty": "select 'q', case when n %% 1000 < 700 then 'SUCCESS' else 'PENDING' end, 80",
}
EMPTY = "delete from leaseq.tasks where state = 'SUCCESS'"
COUNT = "select queue, state, count(*) from leaseq.tasks group by queue, state"
PAGES = 150
RUNNING = """
select count(*) from pg_stat_activity
where query like '%tablesample%' and state = 'active' and pid <> pg_backend_pid()
"""


@pytest.fixture
def census(session: Session) -> CensusLedger:
    return CensusLedger(session)


async def take(ledger: CensusLedger, *, pages: int, seed: int = 0) -> Census:
    taken = await ledger.take(pages=pages, rest_seconds=0, seed=seed)
    assert taken is not None
    return taken


async def truth(plain: Connection) -> dict[tuple[str, str], int]:
    return {
        (queue, state): count
        for queue, state, count in await (await plain.execute(COUNT)).fetchall()
    }


@pytest.mark.parametrize("kind", SKEWED)
async def test_the_truth_lies_within_two_standard_errors(
    census: CensusLedger, plain: Connection, kind: str
) -> None:
    """In 90 of 100 samples, for each queue and state that an estimate is given for."""
    await plain.execute(FILL.format(SKEWED[kind]).encode(), [20_000])
    if kind == "mostly empty":
        await plain.execute(EMPTY)
        # A vacuum cuts off empty pages at the end, and no others.
        await plain.execute("vacuum leaseq.tasks")
    expected = await truth(plain)
    hits = dict.fromkeys(expected, 0)
    given = dict.fromkeys(expected, 0)
    for seed in range(TRIES):
        taken = await take(census, pages=PAGES, seed=seed)
        assert not taken.exact
        for each in taken.counts:
            if each.fewer_than is None:
                key = each.queue, each.state.value
                given[key] += 1
                hits[key] += abs(each.count - expected[key]) <= 2 * each.error
    assert max(given.values()) >= 0.9 * TRIES
    for key, tries in given.items():
        assert hits[key] >= 0.9 * tries, (key, hits[key], tries)


async def test_few_tasks_are_fewer_than_a_bound(census: CensusLedger, plain: Connection) -> None:
    few = "select case when n %% 1000 < 3 then 'rare' else 'q' end, 'PENDING', 80"
    await plain.execute(FILL.format(few).encode(), [20_000])
    expected = (await truth(plain))["rare", "PENDING"]
    bounds: list[int] = []
    for seed in range(TRIES):
        for each in (await take(census, pages=PAGES, seed=seed)).counts:
            if each.queue == "rare":
                assert each.fewer_than is not None
                bounds.append(each.fewer_than)
    assert len(bounds) >= 0.8 * TRIES
    assert sum(expected < bound for bound in bounds) >= 0.9 * len(bounds)


async def test_a_table_of_500_pages_is_counted_exactly(
    census: CensusLedger, plain: Connection
) -> None:
    await plain.execute(FILL.format(SKEWED["in bursts"]).encode(), [9_000])
    taken = await take(census, pages=module.MOST_PAGES)
    assert taken.exact
    assert 400 < taken.of_pages < 600
    found = {(each.queue, each.state.value): each.count for each in taken.counts}
    assert found == await truth(plain)
    assert {(each.error, each.fewer_than) for each in taken.counts} == {(0, None)}


async def test_a_census_of_no_tasks_is_exact(census: CensusLedger) -> None:
    assert await census.find() is None
    taken = await take(census, pages=10)
    assert (taken.exact, taken.counts) == (True, [])


async def test_a_census_is_kept_and_not_taken_again_soon(
    census: CensusLedger, ledger: TaskLedger, plain: Connection
) -> None:
    await submit(ledger)
    taken = await census.take()
    assert taken is not None
    await submit(ledger)
    assert await census.take() is None
    kept = await census.find()
    assert kept is not None
    assert (kept.at, kept.counts) == (taken.at, taken.counts)
    assert [(each.queue, each.state, each.count) for each in kept.counts] == [
        ("default", State.PENDING, 1)
    ]
    await plain.execute("update leaseq.census set at = at - interval '31 seconds'")
    again = await census.take()
    assert again is not None
    assert [each.count for each in again.counts] == [2]


async def test_one_takes_a_census_and_others_do_not_wait(census: CensusLedger, pool: Pool) -> None:
    async with holding(pool) as held:
        assert await CensusLedger(held).take(rest_seconds=0) is not None
        assert await census.take(rest_seconds=0) is None
    assert await census.take(rest_seconds=0) is not None


async def test_a_census_without_leave_reads_no_task(
    census: CensusLedger, plain: Connection
) -> None:
    """The scan of the table is left out."""
    await census.take()
    params = {"pages": "2000", "rest": "30", "seed": "1"}
    text = STATEMENTS["take_census"]
    for name, value in params.items():
        text = text.replace(f"%({name})s", value)
    cursor = await plain.execute(f"explain (analyze, format json) {text}".encode())
    ((plan,),) = await cursor.fetchall()
    samples = [node for node in _nodes(plan[0]["Plan"]) if node["Node Type"] == "Sample Scan"]
    assert [node["Actual Loops"] for node in samples] == [0]


def _nodes(plan: dict) -> list[dict]:  # type: ignore[type-arg]
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


async def test_who_asks_gets_a_census_and_the_same_one_for_a_while(
    census: CensusLedger, ledger: TaskLedger
) -> None:
    taker = CensusTaker(census)
    assert await taker.read() is None
    await submit(ledger)
    first, second = await asyncio.gather(taker.ask(), taker.ask())
    assert first is not None
    assert second is not None
    assert first.at == second.at
    read = await taker.read()
    assert read is not None
    assert read.counts == first.counts


async def test_an_old_census_is_no_metric(census: CensusLedger, plain: Connection) -> None:
    taker = CensusTaker(census)
    await taker.ask()
    await plain.execute("update leaseq.census set at = at - interval '11 minutes'")
    assert await taker.read() is None


async def test_a_census_that_takes_too_long_is_given_up_and_made_smaller(
    session: Session, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(CensusLedger):
        asked: Sequence[int] = ()

        async def take(self, *, pages: int = 0, **rest: object) -> Census | None:
            self.asked = [*self.asked, pages]
            return await super().take(pages=pages, rest_seconds=0)

    monkeypatch.setattr("leaseq.operations.census.SECONDS", 0.2)
    monkeypatch.setattr("leaseq.operations.census.REST_SECONDS", 0.0)
    ledger = Slow(session)
    taker = CensusTaker(ledger)
    async with plain.transaction():
        await plain.execute("lock table leaseq.census in share mode")
        for _ in range(6):
            assert await taker.ask() is None
    assert ledger.asked == [2000, 1000, 500, 250, 125, LEAST_PAGES]
    assert await taker.ask() is not None
    assert taker.pages == 2 * LEAST_PAGES
    # The statement that was given up has ended on the server, too.
    assert await (await plain.execute(RUNNING)).fetchall() == [(0,)]
