"""A lane keeps to its window, and the other tasks wait in order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from leaseq.codec import FIRST_ID, LAST_ID, made_at, new_task_id, next_id
from leaseq.dispatch.backlog import Backlog, read_backlogs
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.parts import DispatchParts
from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.model import Lane
from leaseq.observability.telemetry import recorded
from support.dispatch import KEYS, QUEUE, ids, in_lane

WINDOW = 10


@pytest.fixture
def dispatcher(valkey: Redis) -> Dispatcher:
    return Dispatcher(valkey, KEYS, window=WINDOW)


async def backlog_of(reads: DispatchParts, lane: Lane = Lane.NORMAL) -> Backlog | None:
    return (await reads.lane_backlogs.read(QUEUE)).get(lane)


async def test_push_to_a_full_lane_and_every_later_one_waits(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    first, second = ids(WINDOW + 5), ids(3)
    with recorded() as events:
        assert await dispatcher.push(QUEUE, first) == first[:WINDOW]
        await valkey.lpop(KEYS.ready(QUEUE, Lane.NORMAL), 5)
        # though there is room: others are before them
        assert await dispatcher.push(QUEUE, second) == []
    assert await in_lane(valkey) == first[5:WINDOW]
    assert await backlog_of(reads) == Backlog.of(first[WINDOW])
    assert [event.fields["lane"] for event in events if event.name == "backlog.began"] == [
        Lane.NORMAL
    ]


async def test_a_batch_of_many_script_calls_is_cut_at_the_window_once(
    valkey: Redis, reads: DispatchParts
) -> None:
    dispatcher = Dispatcher(valkey, KEYS, window=SCRIPT_BATCH + 7)
    pushed = ids(3 * SCRIPT_BATCH)
    assert await dispatcher.push(QUEUE, pushed[::-1]) == pushed[: SCRIPT_BATCH + 7]
    assert await backlog_of(reads) == Backlog.of(pushed[SCRIPT_BATCH + 7])


async def test_one_lane_is_full_and_the_others_are_not(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    await dispatcher.push(QUEUE, ids(WINDOW + 1))
    high = ids(WINDOW)
    suspects = ids(3 * WINDOW)
    assert await dispatcher.push(QUEUE, high, lane=Lane.HIGH) == high
    assert await dispatcher.push(QUEUE, suspects, lane=Lane.SUSPECT) == suspects
    assert await reads.lane_backlogs.read("another") == {}
    assert (await reads.lane_backlogs.read(QUEUE)).keys() == {Lane.NORMAL}
    assert [*await reads.lane_backlogs.queues()] == [QUEUE]


async def test_refused_push_wakes_no_worker(dispatcher: Dispatcher, valkey: Redis) -> None:
    await dispatcher.push(QUEUE, ids(WINDOW + 1), lane=Lane.LOW)
    await valkey.delete(KEYS.ready(QUEUE, Lane.NORMAL))
    await dispatcher.push(QUEUE, ids(1), lane=Lane.LOW)
    assert await in_lane(valkey) == []


async def test_an_older_task_goes_in_before_the_backlog_up_to_twice_the_window(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    older, pushed = ids(WINDOW + 2), ids(WINDOW + 1)
    await dispatcher.push(QUEUE, pushed)
    assert await dispatcher.push(QUEUE, older) == older[:WINDOW]
    assert len(await in_lane(valkey)) == 2 * WINDOW
    # From here on it is sought: the backlog begins with the first that found no room.
    assert await backlog_of(reads) == Backlog.of(older[WINDOW])
    assert await dispatcher.push(QUEUE, older[-1:]) == []
    assert await backlog_of(reads) == Backlog.of(older[WINDOW])


async def test_redelivery_starts_no_backlog_at_the_window(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    again = ids(2 * WINDOW + 1)
    assert await dispatcher.push(QUEUE, again[: WINDOW + 3], redelivery=True) == again[: WINDOW + 3]
    assert await backlog_of(reads) is None
    await dispatcher.push(QUEUE, again[WINDOW + 3 :], redelivery=True)
    assert await backlog_of(reads) == Backlog.of(again[2 * WINDOW])


async def test_push_into_an_announced_batch_is_accepted(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    pushed, within, behind = ids(WINDOW + 1), ids(2), ids(2)
    await dispatcher.push(QUEUE, pushed)
    await valkey.ltrim(KEYS.ready(QUEUE, Lane.NORMAL), 0, 1)
    seen = await backlog_of(reads)
    assert seen is not None
    announced = seen.announce(behind[0])
    assert await dispatcher.refill(QUEUE, [], lane=Lane.NORMAL, seen=seen, left=announced)
    assert await dispatcher.push(QUEUE, [*within, *behind]) == within
    assert await backlog_of(reads) == announced


async def test_a_range_that_finds_no_room_is_announced_no_longer(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    """Otherwise a pass that has read the range before would miss a task that is refused now."""
    pushed, within = ids(WINDOW + 1), ids(WINDOW + 1)
    await dispatcher.push(QUEUE, pushed)
    announced = Backlog.of(pushed[WINDOW]).announce(LAST_ID)
    await dispatcher.refill(
        QUEUE, [], lane=Lane.NORMAL, seen=Backlog.of(pushed[WINDOW]), left=announced
    )
    assert await dispatcher.push(QUEUE, within) == within[:WINDOW]
    assert await backlog_of(reads) == Backlog.of(pushed[WINDOW])
    assert not await dispatcher.refill(QUEUE, [], lane=Lane.NORMAL, seen=announced, left=None)


async def test_of_two_refills_one_counts(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    pushed = ids(WINDOW + 4)
    await dispatcher.push(QUEUE, pushed)
    await valkey.delete(KEYS.ready(QUEUE, Lane.NORMAL))
    seen = Backlog.of(pushed[WINDOW])
    left = Backlog.of(pushed[WINDOW + 2])
    assert await dispatcher.refill(
        QUEUE, pushed[WINDOW : WINDOW + 2], lane=Lane.NORMAL, seen=seen, left=left
    )
    assert not await dispatcher.refill(
        QUEUE, pushed[WINDOW : WINDOW + 2], lane=Lane.NORMAL, seen=seen, left=left
    )
    assert await in_lane(valkey) == pushed[WINDOW : WINDOW + 2]
    assert await dispatcher.refill(
        QUEUE, pushed[WINDOW + 2 :], lane=Lane.NORMAL, seen=left, left=None
    )
    assert await in_lane(valkey) == pushed[WINDOW:]
    assert not await valkey.exists(KEYS.backlog(QUEUE))


async def test_a_refill_of_another_lane_rings_the_bell_once(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    pushed = ids(WINDOW + 2)
    await dispatcher.push(QUEUE, pushed, lane=Lane.HIGH)
    await valkey.delete(KEYS.ready(QUEUE, Lane.NORMAL))
    seen, left = Backlog.of(pushed[WINDOW]), Backlog.of(pushed[WINDOW + 1])
    await dispatcher.refill(QUEUE, [], lane=Lane.HIGH, seen=seen, left=left)
    assert await in_lane(valkey) == []
    await dispatcher.refill(QUEUE, pushed[WINDOW + 1 :], lane=Lane.HIGH, seen=left, left=None)
    assert await in_lane(valkey) == [""]


def test_unreadable_backlog_value_counts_from_the_beginning() -> None:
    task_id = new_task_id()
    for hostile in (
        b"",
        b"x",
        b"\xff\xfe",
        f"{task_id} x".encode(),
        f"{task_id} {task_id}".encode(),
    ):
        assert Backlog.read(hostile) == Backlog(hostile, FIRST_ID)
    for written in (Backlog.of(task_id), Backlog.of(task_id).announce(LAST_ID)):
        assert Backlog.read(written.text) == written
    assert read_backlogs([None, None, b"x"]) == {Lane.LOW: Backlog(b"x", FIRST_ID)}


async def test_foreign_backlog_value_harms_no_push(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    """It refuses everything or nothing, as may be; a refused task is sought from the beginning
    on."""
    for hostile in ("", "x", "0", "\xff" * 50, "z" * 100):
        await valkey.hset(KEYS.backlog(QUEUE), "normal", hostile)
        pushed = ids(3)
        taken = await dispatcher.push(QUEUE, pushed)
        assert taken in ([], pushed)
        found = await backlog_of(reads)
        assert found is not None
        assert found.cursor == FIRST_ID
        assert await dispatcher.refill(QUEUE, [], lane=Lane.NORMAL, seen=found, left=None)


def test_next_id_follows_its_id() -> None:
    task_id = new_task_id()
    assert task_id < next_id(task_id) < LAST_ID
    assert next_id("01900000-0000-7000-8000-ffffffffffff") == "01900000-0000-7000-8001-000000000000"
    assert abs((made_at(task_id) - datetime.now(UTC)).total_seconds()) < 60
    assert made_at(FIRST_ID).year == 1970
    assert made_at(LAST_ID).year == 9999
