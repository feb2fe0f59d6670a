"""Tasks of limits with rates: started up to the rate in any window.

Tokens are taken at the start. Time is moved by moving `tat`."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import LimitInvalid
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.prepared import PREPARED
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import LIMITED, RATED, LimitBounds, check_bounds
from leaseq.model import Claim
from leaseq.rates import bucket
from support.ledger import (
    RETENTION,
    holding,
    lost,
    open_worker,
    submission,
    until_blocked,
)

NAME = "stripe"


@pytest.fixture
def limits(session: Session) -> LimitLedger:
    return LimitLedger(session)


class Line:
    """Tasks of one limit, and a worker that claims and starts them."""

    def __init__(self, ledger: TaskLedger, limits: LimitLedger, plain: Connection) -> None:
        self.ledger = ledger
        self.limits = limits
        self.plain = plain
        self.worker = ""
        self.left: list[str] = []

    async def submit(self, *keys: str | None) -> list[str]:
        batch = [submission(task_id=new_task_id(), limit=NAME, concurrency_key=key) for key in keys]
        await self.ledger.submit(batch, retention_seconds=RETENTION)
        return [one.task_id for one in batch]

    async def admit(self) -> list[str]:
        admission = await self.limits.admit(NAME)
        return [task_id for one in admission.lanes for task_id in one.task_ids]

    async def claim(self, task_ids: list[str]) -> list[Claim]:
        claimed = await self.ledger.claim(sorted(task_ids), worker_id=self.worker)
        return [each.claim for each in claimed]

    async def start(self, claims: list[Claim]) -> list[str]:
        """The ids that may start now."""
        waits = await self.limits.start(claims)
        return [task_id for task_id, wait in waits.items() if wait == 0]

    async def pass_over(self, seconds: float) -> None:
        """Let this time pass, for every bucket."""
        for table in ("guards", "buckets"):
            await self.plain.execute(
                f"update leaseq.{table} set tat = tat - make_interval(secs => %s)", (seconds,)
            )


@pytest.fixture
async def line(
    ledger: TaskLedger, limits: LimitLedger, worker_ledger: Any, plain: Connection
) -> Line:
    made = Line(ledger, limits, plain)
    made.worker = await open_worker(worker_ledger)
    return made


@pytest.mark.parametrize(
    ("rate", "burst"),
    [
        ("100/1s", 20),
        ("100/1s", 0),
        ("90/10s", 0),
        ("1/1s", 0),
        ("1/h", 3),
        ("99999/s", 1),
        ("7/3m", 2),
    ],
)
def test_a_bucket_allows_n_and_burst_in_a_window_and_a_pass_between(rate: str, burst: int) -> None:
    every, most = bucket(rate, burst, where="limit a")
    starts, text = rate.split("/")
    period = Fraction(int(text[:-1] or 1) * {"s": 1, "m": 60, "h": 3600}[text[-1]])
    # less than a period passes, so fewer tokens than this come: n + burst is the most
    assert Fraction(most) + period / Fraction(every) <= int(starts) + burst + 1
    assert most >= 1
    assert Fraction(most) - 1 >= Fraction("0.0999") / Fraction(every) - Fraction(1, 1000)
    if burst >= int(starts) / period / 10:
        assert Fraction(every) - period / int(starts) < Fraction(
            1, 10**6
        )  # no slower than the rate


async def test_a_full_bucket_starts_its_burst_and_then_the_rate(line: Line) -> None:
    await line.limits.put(LimitBounds(name=NAME, rate="10/10s", burst=4))
    await line.submit(*[None] * 30)
    first = await line.admit()
    assert len(first) == 5
    claims = await line.claim(first)
    assert {claim.traits for claim in claims} == {LIMITED | RATED}
    assert await line.start(claims) == sorted(first)
    assert await line.start(claims) == sorted(first)  # an answer was lost: no token is taken twice
    assert await line.admit() == []
    await line.pass_over(1.0)
    assert len(await line.admit()) == 1
    assert await line.admit() == []  # it has not started, and nothing piles up
    await line.pass_over(3600)
    assert len(await line.admit()) == 4


async def starts_of(line: Line, passes: int) -> list[float]:
    """The times at which tasks start in so many passes 0.1 s apart, or a little more: in seconds of a
    clock that goes on by 0.1 s in each pass."""
    starts: list[float] = []
    for step in range(passes):
        if admitted := await line.admit():
            started = await line.start(await line.claim(admitted))
            found = await line.plain.execute(
                "select extract(epoch from started_at)::float8 from leaseq.limited where task_id = any(%s::uuid[])",
                (started,),
            )
            starts += [row[0] + step / 10 for row in await found.fetchall()]
        await line.pass_over(0.1)
    return starts


def most_in_a_window(starts: list[float], period: float) -> int:
    return max(sum(first <= each < first + period for each in starts) for first in starts)


@pytest.mark.parametrize(
    ("rate", "burst", "n", "period"), [("18/2s", 0, 18, 2), ("60/1s", 12, 60, 1)]
)
async def test_a_rate_is_kept_in_every_window_and_does_not_starve(
    rate: str, burst: int, n: int, period: int, line: Line
) -> None:
    """Four simulated seconds. A rate of nine a second is just under one in each pass."""
    await line.limits.put(LimitBounds(name=NAME, rate=rate, burst=burst))
    await line.submit(*[None] * 900)
    starts = await starts_of(line, 40)
    assert most_in_a_window(starts, period) <= n + burst
    assert len(starts) >= 0.9 * 4 * n / period


async def test_starts_that_take_no_token_break_the_rate(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeded bug, which the test before catches."""
    free = STATEMENTS["start_limited"].replace("+ t.tokens * make", "+ 0 * make", 1)
    assert free != STATEMENTS["start_limited"]
    monkeypatch.setitem(STATEMENTS, "start_limited", free)
    monkeypatch.delitem(PREPARED, "start_limited", raising=False)
    await line.limits.put(LimitBounds(name=NAME, rate="4/2s"))
    await line.submit(*[None] * 60)
    assert most_in_a_window(await starts_of(line, 10), 2) > 4


async def claimed_without_a_rate(line: Line, count: int) -> list[Claim]:
    await line.limits.put(LimitBounds(name=NAME, concurrency=100))
    await line.submit(*["a"] * count)
    claims = await line.claim(await line.admit())
    assert len(claims) == count
    return claims


async def two_starters(line: Line, pool: Pool) -> list[str]:
    """The ids that start, of two batches at the same time and a bucket of three."""
    claims = await claimed_without_a_rate(line, 6)
    await line.limits.put(LimitBounds(name=NAME, rate="1/h", burst=2))
    async with holding(pool) as held:
        first = await LimitLedger(held).start(claims[:2])
        late = asyncio.create_task(line.start(claims[2:]))
        await until_blocked(line.plain, late)
    return [task_id for task_id, wait in first.items() if wait == 0] + await late


async def test_two_starters_at_once_share_one_bucket(line: Line, pool: Pool) -> None:
    assert len(await two_starters(line, pool)) == 3


async def test_a_start_that_meets_a_lowered_rate_takes_tokens_by_the_new_one(
    line: Line, pool: Pool
) -> None:
    claims = await claimed_without_a_rate(line, 6)
    await line.limits.put(LimitBounds(name=NAME, rate="100/1s", burst=20))
    async with holding(pool) as held:
        await LimitLedger(held).put(LimitBounds(name=NAME, rate="1/h"))
        late = asyncio.create_task(line.start(claims))
        await until_blocked(line.plain, late)
    assert len(await late) == 1


async def test_each_key_has_its_own_bucket(line: Line, pool: Pool) -> None:
    await line.limits.put(
        LimitBounds(name=NAME, key_rate="1/h", key_burst=1, rate="1000/1s", burst=100)
    )
    busy = await line.submit(*["a"] * 5)
    others = await line.submit("b", "c")
    first = await line.admit()
    assert len(set(first) & set(busy)) == 2
    assert set(first) - set(busy) == set(others)
    assert sorted(await line.start(await line.claim(first))) == sorted(first)
    assert await line.admit() == []
    await line.pass_over(3601)
    assert len(await line.admit()) == 1


async def test_a_bucket_of_a_key_that_was_just_made_gives_no_token_twice(
    line: Line, pool: Pool
) -> None:
    claims = await claimed_without_a_rate(line, 4)
    await line.limits.put(LimitBounds(name=NAME, key_rate="1/h", key_burst=1))
    async with holding(pool) as held:
        first = await LimitLedger(held).start(claims[:2])
        late = asyncio.create_task(line.start(claims[2:]))
        await until_blocked(line.plain, late)
    assert [*first.values()] == [0.0, 0.0]
    assert await late == []


async def test_a_task_that_starts_again_takes_another_token(line: Line) -> None:
    await line.limits.put(LimitBounds(name=NAME, rate="1/h"))
    (only,) = await line.submit("a")
    (claim,) = await line.claim(await line.admit())
    assert await line.start([claim]) == [only]
    await line.ledger.settle([lost(claim)])
    (again,) = await line.claim([only])
    assert again.traits == claim.traits
    assert await line.start([claim]) == []  # fenced
    assert await line.start([again]) == []
    await line.pass_over(3601)
    assert await line.start([again]) == [only]


@pytest.mark.parametrize("key", [False, True])
async def test_a_clock_that_is_set_back_empties_the_bucket_and_stalls_nothing(
    key: bool, line: Line
) -> None:
    bounds = LimitBounds(name=NAME, rate="2/10s", burst=1)
    if key:
        bounds = LimitBounds(name=NAME, key_rate="2/10s", key_burst=1)
    await line.limits.put(bounds)
    await line.submit(*["a"] * 9)
    first = await line.claim(await line.admit())
    assert len(await line.start(first)) == 2
    await line.pass_over(-3600)  # as a clock that was set back by an hour
    (probe,) = await line.claim(await line.admit())
    assert await line.start([probe]) == []
    await line.pass_over(5.1)
    assert await line.start([probe]) == [probe.task_id]


async def test_a_limit_without_a_rate_marks_no_task_and_asks_for_no_token(line: Line) -> None:
    (claim,) = await claimed_without_a_rate(line, 1)
    assert claim.traits == LIMITED
    assert await line.start([claim]) == [claim.task_id]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"rate": "0/1s"}, "1 to 1000000 starts, not 0"),
        ({"rate": "nonsense"}, 'such as "100/1s"'),
        ({"rate": "5/0s"}, "period of rate"),
        ({"rate": 5}, "not '5'"),
        ({"rate": "1/1s", "burst": -1}, "burst must be a whole number between 0 and"),
        ({"key_rate": "1/1s", "key_burst": -1}, "key_burst must be"),
        ({"concurrency": 1, "burst": 1}, "burst needs rate"),
        ({"key_rate": "999999/1s"}, "key_rate may be at most"),
        ({"strict": True, "key_concurrency": 2}, "strict order needs key_concurrency 1, not 2"),
        ({"concurrency": 1, "weights": {"a": 0}}, "the weight of key a"),
        ({"concurrency": 1, "weights": {"": 1}}, "weights: a key must have 1 to 255"),
    ],
)
def test_a_rate_that_cannot_be_kept_is_refused_with_its_place(
    bounds: dict[str, Any], message: str
) -> None:
    with pytest.raises(LimitInvalid, match=message) as refused:
        check_bounds(LimitBounds(name="stripe", **bounds))
    assert str(refused.value).startswith("limit stripe: ")
