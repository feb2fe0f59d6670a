"""The deliveries in flight of a worker, with duplicates."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.dispatch.deliveries import Deliveries
from leaseq.model import ClaimedTask, State
from leaseq.worker.in_flight import Arrivals, InFlight
from leaseq.worker.intake import intake
from leaseq.worker.worker import Worker
from support.client import Client
from support.worker import QUEUE, assembled, until


class Desk:
    """An app whose tasks begin, are counted, and go on when they are let."""

    def __init__(self) -> None:
        self.app = Leaseq()
        self.begun: Counter[str] = Counter()
        self.go: dict[str, asyncio.Event] = {}

        @self.app.task
        async def held(ctx: Context) -> None:
            self.begun[ctx.task_id] += 1
            await self.go.setdefault(ctx.task_id, asyncio.Event()).wait()

    async def until_begun(self, task_id: str) -> None:
        await until(lambda: self.begun[task_id] > 0)

    def let(self, *task_ids: str) -> None:
        for task_id in task_ids:
            self.go.setdefault(task_id, asyncio.Event()).set()


async def listed(worker: Worker, task_ids: Sequence[str]) -> Deliveries:
    """The findings of an audit: ids in the worker's list that the worker does not know of."""
    found = await worker.list_audit._dispatcher.pull(
        QUEUE, worker_id=worker.worker_id, limit=len(task_ids)
    )
    assert found.task_ids == list(task_ids)
    return found


async def one_runs_and_one_waits(
    worker: Worker, client: Client
) -> tuple[str, str, asyncio.Task[int]]:
    """Two tasks, of which one has the only slot, and the taking of the other, which waits for
    it."""
    first, second = await client.submit("held"), await client.submit("held")
    await client.engine.pusher.aclose()
    await listed(worker, [first, second])
    takes = worker.intakes[QUEUE].take
    await takes(Deliveries([first], []))
    taking = asyncio.create_task(takes(Deliveries([second], [])))
    await until(lambda: second in worker.list_audit._in_flight)
    return first, second, taking


async def test_a_delivery_that_comes_again_while_it_is_handed_back_is_in_hand(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late release of a delivery takes it away from no newer holder: the sweep would find it in
    the list, unknown, and run it a second time beside the first (seed 9 of `everything`)."""
    desk, gate = Desk(), asyncio.Event()
    async with assembled(config, desk.app, concurrency=2) as worker:
        own = worker.intakes[QUEUE]
        busy = await client.submit("held")
        await client.engine.pusher.aclose()
        await own._round(asyncio.Event())
        await desk.until_begun(busy)
        strays = [await client.submit("held") for _ in range(2)]
        await client.engine.pusher.aclose()
        slow, again = strays
        found = await listed(worker, strays)
        claim = worker.attempts._services.handle.ledger.claim

        async def claim_slowly(task_ids: Sequence[str], **rest: Any) -> list[ClaimedTask]:
            if slow in task_ids:
                await gate.wait()
            return await claim(task_ids, **rest)

        monkeypatch.setattr(worker.attempts._services.handle.ledger, "claim", claim_slowly)
        # one slot is free: the first is claimed, the second handed back
        taking = asyncio.create_task(own.take(found))
        await until(
            lambda: (
                slow in worker.list_audit._in_flight and again not in worker.list_audit._in_flight
            )
        )
        desk.let(busy)
        await until(lambda: worker.slots.free == 1)
        await own._round(asyncio.Event())  # pulls the deliveries that were handed back
        await desk.until_begun(again)
        gate.set()
        await taking

        await worker.list_audit.run_once()
        assert again in worker.list_audit._in_flight
        desk.let(*strays)
        tasks = await client.all_ended([busy, *strays])
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert desk.begun == {busy: 1, slow: 1, again: 1}


async def test_a_delivery_that_comes_often_in_one_list_takes_one_slot(
    config: Config, client: Client
) -> None:
    """And none of its like stays behind, for one sweep after the other to find
    (`control-duplicates`)."""
    desk = Desk()
    async with assembled(config, desk.app) as worker:
        task_id = await client.submit("held")
        await client.engine.pusher.aclose()
        await client.engine.stores.dispatcher.push(QUEUE, [task_id] * 9)
        found = await listed(worker, [task_id] * 10)
        await worker.intakes[QUEUE].take(found)
        assert worker.slots.running == 1
        desk.let(task_id)
        assert (await client.ended(task_id)).state is State.SUCCESS
        await until(lambda: worker.running == 0)
        assert (worker.slots.running, worker.slots.unsettled) == (0, 0)
        assert (
            await worker.list_audit._dispatcher.held(QUEUE, worker_id=worker.worker_id)
        ).task_ids == []


@pytest.mark.parametrize("soon", [True, False])
async def test_a_slot_is_waited_for_but_not_for_long(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch, soon: bool
) -> None:
    """Where the queues of a worker share its slots, one of them often finds all taken. If that is
    over in a moment, its delivery need not go back, and come again to the same; if not, another
    task may have a slot."""
    monkeypatch.setattr(intake, "SLOT_SECONDS", 10.0 if soon else 0.01)
    desk = Desk()
    async with assembled(config, desk.app, concurrency=1) as worker:
        first, second, taking = await one_runs_and_one_waits(worker, client)
        if soon:
            desk.let(first)
        await taking
        assert (second in worker.list_audit._in_flight) is soon
        assert (await client.find(second)).attempt == int(soon)
        desk.let(first, second)
        await until(lambda: worker.running == 0)


async def test_delivery_cancelled_while_it_waits_for_a_slot_is_not_in_flight(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the sweep finds it in the list, a stray, and takes it again."""
    monkeypatch.setattr(intake, "SLOT_SECONDS", 10.0)
    desk = Desk()
    async with assembled(config, desk.app, concurrency=1) as worker:
        first, second, taking = await one_runs_and_one_waits(worker, client)
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        assert second not in worker.list_audit._in_flight
        assert worker.slots.running == 1
        desk.let(first, second)
        await until(lambda: worker.running == 0)
        await worker.list_audit.run_once()
        await desk.until_begun(second)
        tasks = await client.all_ended([first, second])
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert desk.begun == {first: 1, second: 1}


def test_only_who_took_it_lets_go_of_it() -> None:
    in_flight = InFlight()
    taken = in_flight.add("q", ["a", "a", "a"])
    (first,) = taken.new
    assert taken.duplicates == ["a", "a"]
    assert in_flight.add("q", ["a", "a"]) == Arrivals([], [])
    in_flight.remove(first)
    (second,) = in_flight.add("q", ["a"]).new
    in_flight.remove(first)
    assert in_flight.task_ids("q") == {"a"}
    in_flight.remove(second)
    assert "a" not in in_flight
