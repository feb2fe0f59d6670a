"""Each script moves exactly what its header says."""

from __future__ import annotations

from random import Random

import pytest
from redis.asyncio import Redis

from leaseq.codec import made_at
from leaseq.dispatch.deliveries import Destination, PullCode, Release, as_bytes
from leaseq.dispatch.dispatcher import MAX_PULLED, Dispatcher
from leaseq.dispatch.parts import DispatchParts
from leaseq.dispatch.queue_lists import Depths
from leaseq.dispatch.scripts import SCRIPT_BATCH, SCRIPTS
from leaseq.model import Lane
from support.dispatch import KEYS, QUEUE, WORKER, begin, ids, in_hand, in_lane, leases_of


async def test_push_appends_in_order(dispatcher: Dispatcher, valkey: Redis) -> None:
    first, second = ids(3), ids(2)

    await dispatcher.push(QUEUE, first)
    await dispatcher.push(QUEUE, second)
    await dispatcher.push(QUEUE, [])

    assert await in_lane(valkey) == first + second


@pytest.mark.parametrize("lane", [Lane.HIGH, Lane.LOW])
async def test_push_to_another_lane_rings_the_bell_once(
    dispatcher: Dispatcher, valkey: Redis, lane: Lane
) -> None:
    pushed = ids(2)
    for task_id in pushed:
        await dispatcher.push(QUEUE, [task_id], lane=lane)

    assert await in_lane(valkey, lane) == pushed
    assert await in_lane(valkey) == [""]


async def test_push_wakes_no_worker_where_work_waits_or_none_listens(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    (normal,) = ids(1)
    await dispatcher.push(QUEUE, ids(1), lane=Lane.SUSPECT)
    assert await in_lane(valkey) == []

    await dispatcher.push(QUEUE, [normal])
    await dispatcher.push(QUEUE, ids(1), lane=Lane.HIGH)
    assert await in_lane(valkey) == [normal]


async def test_pull_takes_the_lanes_in_order_and_never_a_suspect(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    pushed = {lane: ids(2) for lane in Lane}
    for lane, task_ids in pushed.items():
        await dispatcher.push(QUEUE, task_ids, lane=lane)

    first = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=3)
    second = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=100)

    assert first.code is PullCode.OK
    assert first.task_ids == pushed[Lane.HIGH] + pushed[Lane.NORMAL][:1]
    assert second.task_ids == pushed[Lane.NORMAL][1:] + pushed[Lane.LOW]
    assert await in_hand(valkey) == first.task_ids + second.task_ids
    assert await in_lane(valkey) == []
    assert await in_lane(valkey, Lane.SUSPECT) == pushed[Lane.SUSPECT]


async def test_pull_of_the_suspect_lane_alone(dispatcher: Dispatcher) -> None:
    await begin(dispatcher)
    (suspect,) = ids(1)
    await dispatcher.push(QUEUE, [suspect], lane=Lane.SUSPECT)
    await dispatcher.push(QUEUE, ids(1))

    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=10, lanes=[Lane.SUSPECT])

    assert pulled.task_ids == [suspect]


async def test_low_and_normal_priority_still_move(dispatcher: Dispatcher) -> None:
    await begin(dispatcher)
    high, normal, low = ids(5), ids(1), ids(1)
    await dispatcher.push(QUEUE, high, lane=Lane.HIGH)
    await dispatcher.push(QUEUE, normal)
    await dispatcher.push(QUEUE, low, lane=Lane.LOW)

    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)).task_ids == high[:1]
    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1, turn=2)
    assert pulled.task_ids == normal
    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=2, turn=1)
    assert pulled.task_ids == low + high[1:2]


async def test_pull_drops_doorbell_tokens(dispatcher: Dispatcher, valkey: Redis) -> None:
    await begin(dispatcher)
    (high,), (normal,) = ids(1), ids(1)
    await dispatcher.push(QUEUE, [high], lane=Lane.HIGH)
    await dispatcher.push(QUEUE, [normal])
    assert await in_lane(valkey) == ["", normal]

    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=2)

    assert pulled.task_ids == [high, normal]
    assert pulled.garbage == []


async def test_pull_leaves_a_token_for_the_next_idle_worker(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    await dispatcher.push(QUEUE, ids(3), lane=Lane.HIGH)
    await dispatcher.push(QUEUE, ids(1), lane=Lane.SUSPECT)

    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=2)
    assert await in_lane(valkey) == [""]
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=2)
    assert await in_lane(valkey) == []


ODD = [b"\xff\x00", b"nonsense", b"x" * 100_000]


async def test_pull_parks_what_can_be_no_id_and_hands_out_the_rest(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    (good,) = ids(1)
    looks_alike = good.upper().encode()
    await valkey.rpush(
        KEYS.ready(QUEUE, Lane.NORMAL), *ODD, looks_alike, good.encode() + b"\n", good
    )

    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=100)

    assert (pulled.task_ids, pulled.garbage, pulled.parked) == ([good], [looks_alike], 4)
    assert await valkey.llen(KEYS.processing(QUEUE, WORKER)) == 2
    parked = await valkey.lrange(KEYS.parked(QUEUE), 0, -1)
    assert parked[::-1] == [*ODD[:2], ODD[2][:65_536], good.encode() + b"\n"]


async def test_pull_looks_at_so_many_values_and_leaves_the_rest(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    await valkey.rpush(KEYS.ready(QUEUE, Lane.NORMAL), *[b"x"] * 12_000)
    counts = [(await dispatcher.pull(QUEUE, worker_id=WORKER, limit=10)).parked for _ in range(4)]
    assert counts == [5000, 5000, 2000, 0]
    assert await valkey.llen(KEYS.parked(QUEUE)) == 1000


async def test_invalid_id_leaves_a_processing_list(dispatcher: Dispatcher, valkey: Redis) -> None:
    pushed = ids(3)
    processing = KEYS.processing(QUEUE, WORKER)
    await valkey.rpush(processing, pushed[0], "", *ODD, pushed[1], b"y", pushed[2])

    found = await dispatcher.held(QUEUE, worker_id=WORKER, limit=3)
    assert (found.task_ids, found.parked) == (pushed[1:], 1)
    found = await dispatcher.held(QUEUE, worker_id=WORKER)
    assert (found.task_ids, found.garbage, found.parked) == (pushed, [], 3)
    assert await in_hand(valkey) == pushed
    assert await valkey.llen(KEYS.parked(QUEUE)) == 4


async def test_pull_is_limited(dispatcher: Dispatcher, valkey: Redis) -> None:
    await begin(dispatcher)
    await dispatcher.push(QUEUE, ids(MAX_PULLED + 10))

    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=0)).task_ids == []
    assert (
        len((await dispatcher.pull(QUEUE, worker_id=WORKER, limit=10 * SCRIPT_BATCH)).task_ids)
        == MAX_PULLED
    )
    assert len(await in_lane(valkey)) == 10


async def test_pull_takes_nothing_while_paused(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    await begin(dispatcher)
    pushed = ids(1)
    await dispatcher.push(QUEUE, pushed)
    await reads.pause_flags.set(QUEUE, paused=True)

    paused = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)
    assert (paused.code, paused.task_ids) == (PullCode.PAUSED, [])
    assert await in_lane(valkey) == pushed

    await reads.pause_flags.set(QUEUE, paused=False)
    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)).task_ids == pushed


async def test_pull_takes_nothing_without_a_registered_lease(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    pushed = ids(1)
    await dispatcher.push(QUEUE, pushed)
    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)).code is PullCode.CLOSED

    await begin(dispatcher)
    assert await leases_of(dispatcher).close(QUEUE, worker_id=WORKER)
    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)).code is PullCode.CLOSED
    assert await in_lane(valkey) == pushed
    assert await in_hand(valkey) == []


async def test_release_to_the_head_keeps_the_order(dispatcher: Dispatcher, valkey: Redis) -> None:
    await begin(dispatcher)
    pushed = ids(5)
    await dispatcher.push(QUEUE, pushed)
    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=3)

    back = [Release(task_id, Lane.NORMAL) for task_id in reversed(pulled.task_ids)]
    assert await dispatcher.release(QUEUE, back, worker_id=WORKER) == 3

    assert await in_lane(valkey) == pushed
    assert await in_hand(valkey) == []


@pytest.mark.parametrize("lane", Lane)
async def test_release_to_a_lane_rings_like_a_push(
    dispatcher: Dispatcher, valkey: Redis, lane: Lane
) -> None:
    await begin(dispatcher)
    pushed = ids(1)
    await dispatcher.push(QUEUE, pushed)
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)

    await dispatcher.release(QUEUE, [Release(pushed[0], lane)], worker_id=WORKER)

    assert await in_lane(valkey, lane) == pushed
    rung = {Lane.HIGH: [""], Lane.LOW: [""], Lane.NORMAL: pushed, Lane.SUSPECT: []}
    assert await in_lane(valkey) == rung[lane]


async def test_release_of_what_is_not_held_does_nothing(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    (task_id,) = ids(1)
    releases = [
        Release(task_id, Lane.NORMAL),
        Release(task_id, Destination.PARKED),
        Release(task_id),
    ]

    assert await dispatcher.release(QUEUE, releases, worker_id=WORKER) == 0

    assert await valkey.exists(KEYS.ready(QUEUE, Lane.NORMAL), KEYS.parked(QUEUE)) == 0


async def test_release_again_is_harmless(dispatcher: Dispatcher, valkey: Redis) -> None:
    await begin(dispatcher)
    pushed = ids(2)
    await dispatcher.push(QUEUE, pushed)
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=2)
    releases = [Release(pushed[0], Lane.NORMAL), Release(pushed[1])]

    assert await dispatcher.release(QUEUE, [*releases, *releases], worker_id=WORKER) == 2

    assert await in_lane(valkey) == pushed[:1]


@pytest.mark.parametrize("seed", range(40))
async def test_finished_ids_leave_as_if_one_by_one(
    dispatcher: Dispatcher, valkey: Redis, seed: int
) -> None:
    """In the order of the list or in another, with values between them, with ids that come twice."""
    dice = Random(seed)
    made = ids(dice.choice([4, 12, 60]))
    held = made + dice.choices(made, k=seed % 3)
    gone = [task_id for task_id in held if dice.random() < dice.choice([0.5, 0.9, 1.0])] + ids(1)
    for _ in range(dice.choice([0, 0, 1, 30])):
        one, other = dice.choices(range(len(gone)), k=2)
        gone[one], gone[other] = gone[other], gone[one]
    await valkey.rpush(KEYS.processing(QUEUE, WORKER), *held)

    released = await dispatcher.release(QUEUE, [*map(Release, gone)], worker_id=WORKER)

    left, found = [*held], 0
    for task_id in gone:
        if task_id in left:
            left.remove(task_id)
            found += 1
    assert (released, await in_hand(valkey)) == (found, left)


async def test_finished_ids_at_the_head_leave_by_one_command(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    """Also if a few handlers before them, and between them, still run."""
    made = ids(120)
    await valkey.rpush(KEYS.processing(QUEUE, WORKER), *made)
    running = [made[0], made[1], made[50]]
    gone = [task_id for task_id in made[:103] if task_id not in running]
    await dispatcher.release(QUEUE, [], worker_id=WORKER)
    await valkey.config_resetstat()

    assert await dispatcher.release(QUEUE, [*map(Release, gone)], worker_id=WORKER) == 100

    stats = await valkey.info("commandstats")
    sent = {name.removeprefix("cmdstat_"): stats[name]["calls"] for name in stats}
    assert {name: sent.get(name, 0) for name in ("ltrim", "lpush", "lrem")} == {
        "ltrim": 1,
        "lpush": 3,
        "lrem": 0,
    }
    assert await in_hand(valkey) == running + made[103:]


async def test_very_many_that_leave_are_taken_out_together(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    """From the newest end, each as often as it is named; what stays keeps its order."""
    made = ids(3000)
    processing = KEYS.processing(QUEUE, WORKER)
    await valkey.rpush(processing, made[0], *made, made[1])
    leaving = [
        Release(task_id, Destination.PARKED if n % 2 else Destination.DONE)
        for n, task_id in enumerate(made[:2000])
    ]
    back = [Release(made[2500], Lane.HIGH)]

    assert (
        await dispatcher.release(QUEUE, [*leaving, *back, Release(ids(1)[0])], worker_id=WORKER)
        == 2001
    )

    assert await in_hand(valkey) == [made[0], made[1], *made[2000:2500], *made[2501:]]
    assert await in_lane(valkey, Lane.HIGH) == [made[2500]]
    parked = [as_bytes(value).decode() for value in await valkey.lrange(KEYS.parked(QUEUE), 0, -1)]
    assert parked == made[1:2000:2][::-1]


async def test_parked_garbage_is_capped(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    await begin(dispatcher)
    garbage = [f"junk-{n}".encode() for n in range(1_200)]
    await valkey.rpush(KEYS.processing(QUEUE, WORKER), *garbage)

    released = await dispatcher.release(
        QUEUE, [Release(value, Destination.PARKED) for value in garbage], worker_id=WORKER
    )

    assert released == 1_200
    assert (await reads.lists.depths(QUEUE)).parked == 1_000
    assert await valkey.lindex(KEYS.parked(QUEUE), 0) == garbage[-1]


async def test_restore_puts_back_only_what_is_missing(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    held = ids(3)
    await valkey.rpush(KEYS.processing(QUEUE, WORKER), held[1])

    assert await dispatcher.restore(QUEUE, held, worker_id=WORKER) == 2
    assert await dispatcher.restore(QUEUE, held, worker_id=WORKER) == 0

    assert await in_hand(valkey) == [held[1], held[0], held[2]]


async def test_close_refuses_while_deliveries_are_held(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await begin(dispatcher)
    pushed = ids(1)
    await dispatcher.push(QUEUE, pushed)
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)

    assert not await leases_of(dispatcher).close(QUEUE, worker_id=WORKER)
    assert [view.worker_id for view in await leases_of(dispatcher).list_leases(QUEUE)] == [WORKER]

    await dispatcher.release(QUEUE, [Release(pushed[0])], worker_id=WORKER)
    assert await leases_of(dispatcher).close(QUEUE, worker_id=WORKER)
    assert await leases_of(dispatcher).list_leases(QUEUE) == []
    assert set(await valkey.keys("*")) == {KEYS.epoch(QUEUE).encode()}


async def test_renew_holds_misses_and_lapses(dispatcher: Dispatcher, valkey: Redis) -> None:
    await begin(dispatcher, "held", "lapsed")
    await valkey.zincrby(KEYS.leases(QUEUE), -61_000, "lapsed")

    answers = await leases_of(dispatcher).renew(
        QUEUE, ["held", "lapsed", "missing"], lease_seconds=30
    )

    assert answers == {"held": "held", "lapsed": "lapsed", "missing": "missing"}
    views = {view.worker_id: view for view in await leases_of(dispatcher).list_leases(QUEUE)}
    assert 29_000 < views["held"].left_ms <= 30_000
    assert views["held"].beat == 2
    assert -2_000 < views["lapsed"].left_ms < 0
    assert views["lapsed"].beat == 1
    assert "missing" not in views


async def test_open_again_revives_a_lapsed_lease_and_keeps_the_epoch(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    assert (
        await leases_of(dispatcher).open(QUEUE, worker_id=WORKER, lease_seconds=60, token="one")
        == "one"
    )
    await valkey.zincrby(KEYS.leases(QUEUE), -61_000, WORKER)

    assert (
        await leases_of(dispatcher).open(QUEUE, worker_id=WORKER, lease_seconds=60, token="two")
        == "one"
    )

    assert await leases_of(dispatcher).renew(QUEUE, [WORKER], lease_seconds=60) == {WORKER: "held"}


async def test_survey_counts_and_finds(
    dispatcher: Dispatcher, reads: DispatchParts, valkey: Redis
) -> None:
    await begin(dispatcher)
    pushed = {lane: ids(n) for n, lane in enumerate(Lane, start=1)}
    for lane, task_ids in pushed.items():
        await dispatcher.push(QUEUE, task_ids, lane=lane)
    await valkey.rpush(KEYS.processing(QUEUE, "unregistered"), "x")
    (taken,) = (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)).task_ids

    oldest = made_at(min(pushed[lane][0] for lane in (Lane.NORMAL, Lane.LOW, Lane.SUSPECT)))
    assert await reads.lists.depths(QUEUE) == Depths(
        high=0, normal=3, low=3, suspect=4, parked=0, oldest_at=oldest
    )
    among = {task_id for task_ids in pushed.values() for task_id in task_ids}
    assert await reads.lists.waiting(QUEUE, among=among) == among - {taken}
    workers = [WORKER, "unregistered"]
    assert await reads.lists.processing(QUEUE, [WORKER], among=among) == {taken}
    assert await reads.lists.held_by(QUEUE, workers, taken) == [WORKER]
    assert await reads.lists.position(QUEUE, Lane.NORMAL, taken) is None
    for lane, task_ids in pushed.items():
        left = [task_id for task_id in task_ids if task_id != taken]
        # A token on the doorbell counts as a delivery.
        token = lane is Lane.NORMAL
        for before, task_id in enumerate(left):
            behind = len(left) - before - 1
            assert await reads.lists.position(QUEUE, lane, task_id) == (before + token, behind)


async def test_queues_do_not_see_each_other(dispatcher: Dispatcher, reads: DispatchParts) -> None:
    await begin(dispatcher, queue="a")
    await begin(dispatcher, queue="a.b")
    await dispatcher.push("a.b", ids(1))

    assert (await dispatcher.pull("a", worker_id=WORKER, limit=10)).task_ids == []
    (taken,) = (await dispatcher.pull("a.b", worker_id=WORKER, limit=10)).task_ids
    assert await reads.lists.held_by("a.b", [WORKER], taken) == [WORKER]
    assert await reads.lists.held_by("a", [WORKER], taken) == []


async def test_scripts_survive_a_server_that_forgot_them(
    dispatcher: Dispatcher, valkey: Redis
) -> None:
    await dispatcher.push(QUEUE, ids(1))
    await valkey.script_flush()
    await dispatcher.push(QUEUE, ids(1))

    assert len(await in_lane(valkey)) == 2


def test_every_script_says_what_it_takes_and_returns() -> None:
    for name, text in SCRIPTS.items():
        header = [line for line in text.splitlines() if line.startswith("--")]
        assert any("KEYS[1]" in line for line in header), name
        assert any("Returns" in line for line in header), name
