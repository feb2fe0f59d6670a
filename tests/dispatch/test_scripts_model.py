"""The scripts agree with a model in Python, in any order.

A state machine (Hypothesis) drives the real scripts on a real server and a model of lists side by
side; after every step all that the server holds must be what the model holds, and no id may have
appeared or vanished that a step did not place or remove.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable
from typing import TypeVar

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.dispatch.backlog import WINDOWED, Backlog
from leaseq.dispatch.deliveries import Destination, PullCode, Release, as_bytes
from leaseq.dispatch.dispatcher import OPEN_LANES, Dispatcher
from leaseq.dispatch.parts import parts_over
from leaseq.model import Lane
from support.dispatch import KEYS, QUEUE, ids, leases_of

T = TypeVar("T")
EXAMPLES = int(os.environ.get("LEASEQ_TEST_SCRIPT_EXAMPLES", "15"))

WORKERS = ("w1", "w2")
TOKEN = ""
WINDOW = 3

workers = st.sampled_from(WORKERS)
lanes = st.sampled_from(Lane)
places: st.SearchStrategy[Destination | Lane] = st.sampled_from([*Destination, *Lane])


class Scripts(RuleBasedStateMachine):
    """Every script against the model."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client = open_redis(Config(redis_url=self.url), name="leaseq-test")
        self.dispatcher = Dispatcher(self.client, KEYS, window=WINDOW)
        self.run(self.client.flushdb())
        self.lists: defaultdict[str, list[str]] = defaultdict(list)
        self.backlogs: dict[Lane, Backlog] = {}
        self.made: list[str] = []
        self.registered: set[str] = set()
        self.paused = False

    def run(self, step: Awaitable[T]) -> T:
        async def wait() -> T:
            return await step

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.runner.close()

    @initialize()
    def open_the_first(self) -> None:
        self.open("w1")

    @rule(worker=workers)
    def open(self, worker: str) -> None:
        self.run(
            leases_of(self.dispatcher).open(QUEUE, worker_id=worker, lease_seconds=60, token="t")
        )
        self.registered.add(worker)

    @rule(lane=lanes, count=st.integers(min_value=1, max_value=4))
    def push(self, lane: Lane, count: int) -> None:
        fresh = ids(count)
        self.made += fresh
        self._push(lane, fresh, redelivery=False)

    @rule(lane=lanes, redelivery=st.booleans(), data=st.data())
    def push_again(self, lane: Lane, redelivery: bool, data: st.DataObject) -> None:
        """A delivery may be repeated at any time, in any lane, in any company."""
        if self.made:
            self._push(
                lane,
                data.draw(st.lists(st.sampled_from(self.made), min_size=1, max_size=4)),
                redelivery=redelivery,
            )

    def _push(self, lane: Lane, task_ids: list[str], *, redelivery: bool) -> None:
        taken = self.run(self.dispatcher.push(QUEUE, task_ids, lane=lane, redelivery=redelivery))
        assert taken == self._take_in(lane, sorted(task_ids), redelivery=redelivery)
        self._ready(lane).extend(taken)
        if taken:
            self._ring(lane)

    def _take_in(self, lane: Lane, task_ids: list[str], *, redelivery: bool) -> list[str]:
        """Which of them are taken. The first that does not fit begins the backlog, or lets it begin
        earlier."""
        if lane is Lane.SUSPECT:
            return task_ids
        backlog = self.backlogs.get(lane)
        room = max((2 * WINDOW if redelivery or backlog else WINDOW) - len(self._ready(lane)), 0)
        wanted = [
            task_id
            for task_id in task_ids
            if backlog is None or task_id < (backlog.until or backlog.cursor)
        ]
        if len(wanted) > room:
            refused = wanted[room]
            self.backlogs[lane] = Backlog.of(min(refused, backlog.cursor) if backlog else refused)
        return wanted[:room]

    @rule(lane=st.sampled_from(sorted(WINDOWED)), stale=st.booleans(), data=st.data())
    def refill(self, lane: Lane, stale: bool, data: st.DataObject) -> None:
        """A range is announced, comes in, or is the last one; by a pass that looked now or before
        the last change."""
        if not self.made:
            return
        seen = self.backlogs.get(lane)
        if stale or seen is None:
            seen = Backlog.of(FIRST_ID)
        place = st.sampled_from([*self.made, LAST_ID])
        left = data.draw(
            st.one_of(
                st.none(),
                st.builds(Backlog.of, place),
                st.builds(Backlog.of, place, place, st.just("t")),
            )
        )
        task_ids = sorted(data.draw(st.lists(st.sampled_from(self.made), max_size=3)))
        done = self.run(self.dispatcher.refill(QUEUE, task_ids, lane=lane, seen=seen, left=left))
        assert done == (self.backlogs.get(lane) == seen)
        if not done:
            return
        self.backlogs.pop(lane)
        if left is not None:
            self.backlogs[lane] = left
        self._ready(lane).extend(task_ids)
        if task_ids:
            self._ring(lane)

    @rule(
        worker=workers,
        limit=st.integers(min_value=0, max_value=6),
        turn=st.integers(min_value=0, max_value=2),
    )
    def pull(self, worker: str, limit: int, turn: int) -> None:
        pulled = self.run(self.dispatcher.pull(QUEUE, worker_id=worker, limit=limit, turn=turn))
        code, taken = self._pull(worker, limit, turn)
        assert (pulled.code, pulled.task_ids, pulled.garbage) == (code, taken, [])

    def _pull(self, worker: str, limit: int, turn: int) -> tuple[PullCode, list[str]]:
        if self.paused:
            return PullCode.PAUSED, []
        if worker not in self.registered:
            return PullCode.CLOSED, []
        order = [lane for lane in OPEN_LANES if self._ready(lane)]
        if 0 < turn < len(order):
            order.insert(0, order.pop(-turn))
        taken: list[str] = []
        for lane in order:
            waiting = self._ready(lane)
            while waiting and len(taken) < limit:
                value = waiting.pop(0)
                taken += [value] if value != TOKEN else []
        self._held(worker).extend(taken)
        for lane in order if taken else ():
            if self._ready(lane):
                self._ring(lane)
        return PullCode.OK, taken

    @rule(worker=workers)
    def ring(self, worker: str) -> None:
        """The effect of the doorbell's BLMOVE when a value waits, tokens included."""
        moved = self.run(
            self.client.lmove(
                KEYS.ready(QUEUE, Lane.NORMAL), KEYS.processing(QUEUE, worker), "LEFT", "RIGHT"
            )
        )
        waiting = self._ready(Lane.NORMAL)
        assert (moved is None) == (not waiting)
        if waiting:
            self._held(worker).append(waiting.pop(0))

    @rule(worker=workers, data=st.data())
    def release(self, worker: str, data: st.DataObject) -> None:
        known = sorted({value for values in self.lists.values() for value in values})
        if not known:
            return
        chosen = data.draw(st.lists(st.tuples(st.sampled_from(known), places), max_size=4))
        found = self.run(
            self.dispatcher.release(QUEUE, [Release(*pair) for pair in chosen], worker_id=worker)
        )
        assert found == sum(self._release(worker, value, place) for value, place in chosen)

    def _release(self, worker: str, value: str, place: Destination | Lane) -> bool:
        held = self._held(worker)
        if value not in held:
            return False
        held.remove(value)
        if isinstance(place, Lane):
            self._ready(place).insert(0, value)
            self._ring(place)
        elif place is Destination.PARKED:
            self.lists[KEYS.parked(QUEUE)].insert(0, value)
        return True

    @rule(worker=workers, data=st.data())
    def lose_and_restore(self, worker: str, data: st.DataObject) -> None:
        """Redis forgets a processing list; the worker puts back what it has in hand."""
        held = [value for value in dict.fromkeys(self._held(worker)) if value != TOKEN]
        self.run(self.client.delete(KEYS.processing(QUEUE, worker)))
        restored = self.run(self.dispatcher.restore(QUEUE, held, worker_id=worker))
        assert restored == len(held)
        self._held(worker)[:] = held

    @rule(worker=workers)
    def close(self, worker: str) -> None:
        closed = self.run(leases_of(self.dispatcher).close(QUEUE, worker_id=worker))
        assert closed == (not self._held(worker))
        if closed:
            self.registered.discard(worker)

    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        answer = self.run(leases_of(self.dispatcher).renew(QUEUE, [worker], lease_seconds=60))
        assert answer == {worker: "held" if worker in self.registered else "missing"}

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.run(parts_over(self.client, KEYS).pause_flags.set(QUEUE, paused=paused))
        self.paused = paused

    @invariant()
    def the_server_holds_what_the_model_holds(self) -> None:
        names = [
            *(KEYS.ready(QUEUE, lane) for lane in Lane),
            *(KEYS.processing(QUEUE, w) for w in WORKERS),
        ]
        for name in [*names, KEYS.parked(QUEUE)]:
            found = [
                as_bytes(value).decode() for value in self.run(self.client.lrange(name, 0, -1))
            ]
            assert found == self.lists[name], name
        assert self.run(parts_over(self.client, KEYS).lane_backlogs.read(QUEUE)) == self.backlogs
        views = self.run(leases_of(self.dispatcher).list_leases(QUEUE))
        assert {view.worker_id for view in views} == self.registered

    def _ready(self, lane: Lane) -> list[str]:
        return self.lists[KEYS.ready(QUEUE, lane)]

    def _held(self, worker: str) -> list[str]:
        return self.lists[KEYS.processing(QUEUE, worker)]

    def _ring(self, lane: Lane) -> None:
        if lane in (Lane.HIGH, Lane.LOW) and not self._ready(Lane.NORMAL):
            self._ready(Lane.NORMAL).append(TOKEN)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.integers(min_value=0, max_value=2), places), max_size=6))
@example(
    [(0, Lane.NORMAL), (0, Destination.DONE)]
)  # the task is PENDING: it must not lose its delivery
@example([(0, Destination.DONE), (0, Lane.NORMAL)])
@example(
    [
        (0, Destination.DONE),
        (1, Lane.HIGH),
        (1, Destination.DONE),
        (2, Destination.PARKED),
        (2, Destination.DONE),
        (0, Lane.LOW),
    ]
)
def test_deliveries_are_released_in_the_given_order(
    redis_url: str, chosen: list[tuple[int, Destination | Lane]]
) -> None:
    class Here(Scripts):
        url = redis_url

    machine = Here()
    try:
        machine.open_the_first()
        machine.push(Lane.NORMAL, 3)
        held = machine.run(machine.dispatcher.pull(QUEUE, worker_id="w1", limit=3)).task_ids
        machine._pull("w1", 3, 0)
        releases = [(held[index], place) for index, place in chosen]
        found = machine.run(
            machine.dispatcher.release(QUEUE, [Release(*pair) for pair in releases], worker_id="w1")
        )
        assert found == sum(machine._release("w1", value, place) for value, place in releases)
        machine.the_server_holds_what_the_model_holds()
    finally:
        machine.teardown()


def test_the_scripts_do_what_the_model_does(redis_url: str) -> None:
    class Here(Scripts):
        url = redis_url

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
