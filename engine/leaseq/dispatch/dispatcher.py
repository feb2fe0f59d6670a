"""The operations of dispatch, one method for each verb.

Nothing here is authoritative: a delivery may be missing, repeated or foreign, and the ledger
decides. Every error of Redis becomes `ServerUnreachable` (reachable.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from secrets import token_hex
from typing import Any

from redis.asyncio import Redis

from leaseq.codec import FIRST_ID
from leaseq.config import DISPATCH_WINDOW
from leaseq.dispatch.backlog import WINDOWED, Backlog
from leaseq.dispatch.deliveries import (
    Deliveries,
    Destination,
    PullCode,
    Release,
    sort_out,
)
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import SCRIPT_BATCH, Call, Scripts, raise_first
from leaseq.failpoints import reach
from leaseq.gather import Gatherer
from leaseq.model import Lane
from leaseq.observability.telemetry import emit

# The order in which a worker reads the lanes. The suspect lane is missing, because it has a
# separate worker.
OPEN_LANES = (Lane.HIGH, Lane.NORMAL, Lane.LOW)

# Deliveries of one pull. A worker takes this many only from a lane that is full of unusable values.
MAX_PULLED = 2000
# More releases than a worker makes in normal operation.
MANY_RELEASES = 600
# Values of a processing list that are read together: more than a worker has slots.
MAX_HELD = 5000
# Refills of one round trip, each of at most one batch, and refills that may wait.
REFILLS = 100
REFILLS_WAITING = 1000


# How a pull ended, by its answer.
CODES = {code.value.encode(): code for code in PullCode}
# Lists of keys that are kept, of the queues that were used last.
KNOWN_NAMES = 1000


class Dispatcher:
    """The queues in Redis or Valkey. `window`: deliveries that a lane holds before further tasks
    wait in the ledger."""

    def __init__(self, client: Redis, keys: Keys, *, window: int = DISPATCH_WINDOW) -> None:
        self.window = window
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)
        self._lanes: dict[tuple[str, Lane], bytes] = {}
        # Concurrent refills of several lanes share one round trip.
        self._refills: Gatherer[Call, Any] = Gatherer(
            self._refill_each, batch_size=REFILLS, capacity=REFILLS_WAITING
        )

    async def load_scripts(self) -> None:
        """Send all scripts to the server, for processes whose Redis user may not."""
        with reachable():
            await self._scripts.load()

    async def push(
        self,
        queue: str,
        task_ids: Sequence[str],
        *,
        lane: Lane = Lane.NORMAL,
        redelivery: bool = False,
    ) -> list[str]:
        """Place deliveries at the tail of a lane, in order. Returns those that were accepted.

        The others wait in the ledger, because the lane is full or has a backlog before them;
        `refill` brings them in. With `redelivery` (promoted tasks and tasks that are delivered
        again) the ids are older and in any order. The lane may then hold twice its window before
        one of them begins a backlog, in which every later id would have to be searched.
        """
        names = _push_keys(self._keys, queue, lane)
        most = 2 * self.window
        limits = (most if redelivery else self.window, most) if lane in WINDOWED else (0, 0)
        ordered = sorted(task_ids)
        taken: list[str] = []
        with reachable():
            for start in range(0, len(ordered), SCRIPT_BATCH):
                batch = ordered[start : start + SCRIPT_BATCH]
                count, begun = await self._scripts.run(
                    "push", names, (lane, *limits, "".join(batch))
                )
                taken += batch[:count]
                if begun:
                    await self._scripts.tell("HSET", self._keys.backlogs(), queue, token_hex(4))
                    emit("backlog.began", queue=queue, lane=lane, window=self.window)
        return taken

    async def refill(
        self,
        queue: str,
        task_ids: Sequence[str],
        *,
        lane: Lane,
        seen: Backlog,
        left: Backlog | None,
    ) -> bool:
        """Bring at most `SCRIPT_BATCH` deliveries of a backlog into their lane. Expects `seen`, writes
        `left` (None: it ends).

        Returns False if the backlog has changed since it was read. Then nothing was done.
        """
        names = _push_keys(self._keys, queue, lane)
        with reachable():
            return bool(
                await self._refills.add(
                    (names, [lane.value, seen.text, left.text if left else "", "".join(task_ids)])
                )
            )

    async def _refill_each(self, calls: Sequence[Call]) -> list[Any]:
        return await self._scripts.run_each("refill", calls)

    async def pull(
        self,
        queue: str,
        *,
        worker_id: str,
        limit: int,
        lanes: Sequence[Lane] = OPEN_LANES,
        turn: int = 0,
    ) -> Deliveries:
        """Move up to `limit` deliveries, at most MAX_PULLED, into the worker's processing list,
        and return them.

        `turn` 1 begins with the least urgent lane that holds anything, 2 with the one before it; 0
        keeps the order.
        """
        names = _pull_keys(self._keys, queue, worker_id, tuple(lanes))
        args = (worker_id, min(limit, MAX_PULLED), turn)
        with reachable():
            code, values, parked = await self._scripts.run("pull", names, args)
        if values:
            reach("pull.moved")
        return sort_out(values, code=CODES[code], parked=parked)

    async def release(self, queue: str, releases: Sequence[Release], *, worker_id: str) -> int:
        """Move deliveries out of a processing list, each to its destination, in this order. Returns
        how many were in the list.

        If there are more than `MANY_RELEASES`, those that go to no lane are removed together, first.
        """
        names = _release_keys(self._keys, queue, worker_id)
        found = 0
        if len(releases) > MANY_RELEASES:
            leaving = [release for release in releases if _leaves(release)]
            releases = [release for release in releases if not _leaves(release)]
            for start in range(0, len(leaving), MAX_HELD):
                found += await self._drop(names[:2], leaving[start : start + MAX_HELD])
        with reachable():
            for start in range(0, len(releases), SCRIPT_BATCH):
                found += await self._scripts.run(
                    "release", names, _release_arguments(releases[start : start + SCRIPT_BATCH])
                )
        return found

    async def _drop(self, names: Sequence[str], leaving: Sequence[Release]) -> int:
        parked, done = (
            b"".join(
                release.delivery.encode() if isinstance(release.delivery, str) else release.delivery
                for release in some
            )
            for some in (
                [release for release in leaving if release.destination is Destination.PARKED],
                [release for release in leaving if release.destination is Destination.DONE],
            )
        )
        with reachable():
            return int(await self._scripts.run("drop", names, [parked, done, 2 * MAX_HELD]))

    async def restore(self, queue: str, task_ids: Sequence[str], *, worker_id: str) -> int:
        """Put lost deliveries back into a processing list. Returns how many were missing."""
        with reachable():
            return int(
                await self._scripts.run(
                    "restore", [self._keys.processing(queue, worker_id)], task_ids
                )
            )

    async def held(self, queue: str, *, worker_id: str, limit: int = MAX_HELD) -> Deliveries:
        """The newest `limit` deliveries in a worker's processing list, oldest first. Other values
        are parked."""
        names = [self._keys.processing(queue, worker_id), self._keys.parked(queue)]
        with reachable():
            values, parked = await self._scripts.run("held", names, [limit])
        return sort_out(values, parked=parked)

    async def holding(self, queues: Sequence[str], *, lanes: Sequence[Lane]) -> list[str]:
        """The queues in which one of these lanes holds a value, even a token. One command if none
        does."""
        return await self._existing(
            queues, [[self._lane(queue, lane) for queue in queues] for lane in lanes]
        )

    def _lane(self, queue: str, lane: Lane) -> bytes:
        """The key of a lane as bytes. The same hundreds of keys are sent several times a second."""
        name = self._lanes.get((queue, lane))
        if name is None:
            name = self._lanes[queue, lane] = self._keys.ready(queue, lane).encode()
        return name

    async def occupied(self, queues: Sequence[str], *, worker_id: str) -> list[str]:
        """The queues in which a worker's processing list holds a value. One command if none
        does."""
        return await self._existing(
            queues, [[self._keys.processing(queue, worker_id) for queue in queues]]
        )

    async def flagged(self, queues: Sequence[str]) -> list[str]:
        """The queues that have a pause flag. One command if none has."""
        return await self._existing(queues, [[self._keys.paused(queue) for queue in queues]])

    async def _existing(
        self, queues: Sequence[str], names: Sequence[Sequence[str | bytes]]
    ) -> list[str]:
        """The queues of which one of these keys exists. `names` holds lists of keys in the order of
        the queues; an empty list is allowed. EXISTS is a read that may name keys of many queues: a
        cluster client divides it by slots."""
        found: list[str] = []
        for start in range(0, len(queues), SCRIPT_BATCH):
            some = [column[start : start + SCRIPT_BATCH] for column in names]
            with reachable():
                if await self._client.exists(*chain.from_iterable(some)):
                    pipe = self._client.pipeline(transaction=False)
                    _ = [pipe.exists(*keys) for keys in zip(*some, strict=True)]
                    counts = await pipe.execute()
                    found += [
                        queue
                        for queue, count in zip(
                            queues[start : start + SCRIPT_BATCH], counts, strict=True
                        )
                        if count
                    ]
        return found

    async def forget(self, queues: Sequence[str]) -> list[str]:
        """Remove the data of queues in which nothing waits and that no worker serves. Returns these
        queues."""
        own = self._keys
        calls: list[Call] = []
        for queue in queues:
            lists = [
                own.ready(queue, lane) for lane in (Lane.NORMAL, Lane.HIGH, Lane.LOW, Lane.SUSPECT)
            ]
            names = [*lists, own.backlog(queue), own.leases(queue), own.paused(queue)]
            calls.append(([*names, own.beats(queue), own.epoch(queue), own.parked(queue)], []))
        with reachable():
            replies = await self._scripts.run_each("forget", calls)
            raise_first(replies)
        return [queue for queue, forgotten in zip(queues, replies, strict=True) if forgotten]


@lru_cache(KNOWN_NAMES)
def _push_keys(keys: Keys, queue: str, lane: Lane) -> tuple[str, ...]:
    return keys.ready(queue, Lane.NORMAL), keys.ready(queue, lane), keys.backlog(queue)


@lru_cache(KNOWN_NAMES)
def _pull_keys(keys: Keys, queue: str, worker_id: str, lanes: tuple[Lane, ...]) -> tuple[str, ...]:
    return (
        keys.processing(queue, worker_id),
        keys.leases(queue),
        keys.paused(queue),
        keys.ready(queue, Lane.NORMAL),
        keys.parked(queue),
        *(keys.ready(queue, lane) for lane in lanes),
    )


@lru_cache(KNOWN_NAMES)
def _release_keys(keys: Keys, queue: str, worker_id: str) -> tuple[str, ...]:
    lanes = (Lane.NORMAL, Lane.HIGH, Lane.LOW, Lane.SUSPECT)
    return (
        keys.processing(queue, worker_id),
        keys.parked(queue),
        *(keys.ready(queue, lane) for lane in lanes),
    )


def _leaves(release: Release) -> bool:
    """Whether the value has the length of an id and goes to no lane."""
    return len(release.delivery) == len(FIRST_ID) and isinstance(release.destination, Destination)


def _release_arguments(releases: Sequence[Release]) -> list[str | bytes]:
    """The arguments of release.lua: finished ids in one text, between the deliveries with other
    destinations."""
    arguments: list[str | bytes] = []
    done: list[str] = []
    for release in releases:
        delivery = release.delivery
        if (
            release.destination is Destination.DONE
            and isinstance(delivery, str)
            and len(delivery) == len(FIRST_ID)
        ):
            done.append(delivery)
        else:
            arguments += ("".join(done), delivery, release.destination.value)
            done.clear()
    return [*arguments, "".join(done)]


__all__ = ["OPEN_LANES", "Dispatcher"]
