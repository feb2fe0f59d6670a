"""Read the lists of queues: their lengths, and the deliveries in them.

The reconciler and operators read them; the path of a task calls none of this. A key of another type
is removed where it is found (scripts.py) and counts as empty. A value that cannot be valid stays on
the server, however large it is: the scripts cut it or omit it.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Container,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from msgspec import Struct
from redis.asyncio import Redis

from leaseq.codec import is_task_id, made_at
from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.lane_backlogs import LaneBacklogs
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import PIPELINE, Call, Scripts
from leaseq.errors import ServerUnreachable
from leaseq.model import NAME, Lane

PAGE = 5000

LISTED = (Lane.HIGH, Lane.NORMAL, Lane.LOW, Lane.SUSPECT)
LISTS = len(LISTED) + 1  # parked values, too
# Queues whose depths are read together: their lists make one reply of PIPELINE numbers.
QUEUES_AT_ONCE = PIPELINE // LISTS

T = TypeVar("T", bound=Hashable)
QueueLane = tuple[str, Lane]


class Depths(Struct, frozen=True):
    """The number of deliveries in each lane of a queue, and of parked values. `backlog_since` is
    set if a lane is full and more tasks wait in the ledger: their number is unknown, but this is
    when the first of them was submitted. `oldest_at` is when the oldest of the tasks was submitted
    that are first in a lane.
    """

    high: int
    normal: int
    low: int
    suspect: int
    parked: int
    backlog_since: datetime | None = None
    oldest_at: datetime | None = None

    @property
    def waiting(self) -> int:
        return self.high + self.normal + self.low + self.suspect


class End(Struct, frozen=True):
    """The number of deliveries in a lane, and the last one."""

    length: int
    last: bytes


class QueueLists:
    """The lanes, the processing lists and the parked values of all queues. With `repairs` false,
    for a process that only reads, a key of another type is not removed."""

    def __init__(
        self, client: Redis, keys: Keys, backlogs: LaneBacklogs, *, repairs: bool = True
    ) -> None:
        self._client = client
        self._keys = keys
        self._backlogs = backlogs
        self._scripts = Scripts(client, repairs=repairs)

    async def depths(self, queue: str) -> Depths:
        """The lengths of the lists of a queue, and whether more tasks wait."""
        return (await self._depths_of([queue], [queue]))[queue]

    async def depths_of(self, queues: Sequence[str], *, seconds: float) -> dict[str, Depths]:
        """The depths of many queues, read together within `seconds`. Unread and unreadable queues
        are omitted."""
        found: dict[str, Depths] = {}
        with suppress(ServerUnreachable, TimeoutError):
            async with asyncio.timeout(seconds):
                with_backlogs = await self._backlogs.queues()
                for start in range(0, len(queues), QUEUES_AT_ONCE):
                    found |= await self._depths_of(
                        queues[start : start + QUEUES_AT_ONCE], with_backlogs
                    )
        return found

    async def _depths_of(
        self, queues: Sequence[str], with_backlogs: Container[str]
    ) -> dict[str, Depths]:
        lists = [
            [*(self._keys.ready(queue, lane) for lane in LISTED), self._keys.parked(queue)]
            for queue in queues
        ]
        numbers = iter(await self._lengths_of([name for names in lists for name in names]))
        backlogs = await self._backlogs.read_many(
            [queue for queue in queues if queue in with_backlogs]
        )
        oldest = await self._oldest([name for names in lists for name in names[:-1]])
        found: dict[str, Depths] = {}
        for queue, (*lanes, _) in zip(queues, lists, strict=True):
            high, normal, low, suspect, parked = (next(numbers) for _ in range(LISTS))
            since = min(
                (backlog.since for backlog in backlogs.get(queue, {}).values()), default=None
            )
            first = min((oldest[lane] for lane in lanes if lane in oldest), default=None)
            found[queue] = Depths(high, normal, low, suspect, parked, since, first)
        return found

    async def _oldest(self, lanes: list[str]) -> dict[str, datetime]:
        """When the task was submitted that is first in each of these lanes, by its id."""
        return {lane: made_at(task_id) for lane, task_id in (await self._heads(lanes)).items()}

    async def _heads(self, lanes: list[str]) -> dict[str, str]:
        """The first id of each of these lanes that have one."""
        with reachable():
            heads = await self._scripts.run("heads", lanes, [])
        ids = (as_bytes(head).decode(errors="replace") for head in heads)
        return {
            lane: task_id for lane, task_id in zip(lanes, ids, strict=True) if is_task_id(task_id)
        }

    async def length(self, queue: str, lane: Lane) -> int:
        """The number of deliveries in a lane."""
        with reachable():
            return int(await self._scripts.tell("LLEN", self._keys.ready(queue, lane)))

    async def lengths(self, lanes: Sequence[QueueLane]) -> dict[QueueLane, int]:
        """The number of deliveries in each of these lanes of a queue."""
        found: dict[QueueLane, int] = {}
        for start in range(0, len(lanes), PIPELINE):
            some = lanes[start : start + PIPELINE]
            lengths = await self._lengths_of([self._keys.ready(*place) for place in some])
            found |= dict(zip(some, lengths, strict=True))
        return found

    async def _lengths_of(self, names: list[str]) -> list[int]:
        """One reply for all queues. A reply for each would cost a client thirty times as much."""
        with reachable():
            lengths = await self._scripts.run("lengths", names, [])
            await self._scripts.repair_answered(names, lengths)
        return [max(length, 0) for length in lengths]

    async def ends(self, lanes: Sequence[QueueLane]) -> dict[QueueLane, End]:
        """The length of each of these lanes of a queue, and its last delivery."""
        found: dict[QueueLane, End] = {}
        for start in range(0, len(lanes), PIPELINE):
            some = lanes[start : start + PIPELINE]
            names = [self._keys.ready(*place) for place in some]
            with reachable():
                flat = await self._scripts.run("ends", names, [])
                await self._scripts.repair_answered(names, flat[::2])
            ends = zip(some, flat[::2], flat[1::2], strict=True)
            found |= {place: End(max(length, 0), last) for place, length, last in ends}
        return found

    async def delivered(
        self,
        wanted: Mapping[QueueLane, AbstractSet[str]],
        *,
        lengths: Mapping[QueueLane, int],
    ) -> dict[QueueLane, set[str] | ServerUnreachable]:
        """Which of these ids are in their lanes, or why a lane cannot be read.

        Lanes that fit into a page, by their recent `lengths`, are read together in one round trip.
        """
        found: dict[QueueLane, set[str] | ServerUnreachable] = {}
        for some in _batches(lengths, most=PAGE):
            if lengths[some[0]] > PAGE:
                ((queue, lane),) = some
                found[some[0]] = await self._waiting_or_why(queue, lane, among=wanted[some[0]])
                continue
            pages = await self._read([self._keys.ready(*place) for place in some], end=-1)
            for place, page in zip(some, pages, strict=True):
                if isinstance(page, Exception):
                    found[place] = ServerUnreachable(f"Redis does not answer: {page}")
                else:
                    found[place] = {value.decode(errors="replace") for value in page} & wanted[
                        place
                    ]
        return found

    async def _waiting_or_why(
        self, queue: str, lane: Lane, *, among: AbstractSet[str]
    ) -> set[str] | ServerUnreachable:
        try:
            return await self.waiting(queue, among=among, lanes=[lane])
        except ServerUnreachable as error:
            return error

    async def waiting(
        self, queue: str, *, among: AbstractSet[str], lanes: Iterable[Lane] = Lane
    ) -> set[str]:
        """Which of these ids are in these ready lists of a queue. Stops reading once all are
        found."""
        return await self._find([self._keys.ready(queue, lane) for lane in lanes], among)

    async def ahead(self, queue: str, lane: Lane, *, cursor: str) -> set[str]:
        """Which ids in a lane are at or after this one."""
        first, found = cursor.encode(), set[bytes]()
        async for page in self._pages(self._keys.ready(queue, lane)):
            found.update(value for value in page if value >= first)
        return {value.decode(errors="replace") for value in found}

    async def processing(
        self, queue: str, worker_ids: Iterable[str], *, among: AbstractSet[str]
    ) -> set[str]:
        """Which of these ids are in the processing lists of these workers."""
        return await self._find(
            [self._keys.processing(queue, worker_id) for worker_id in worker_ids], among
        )

    async def position(self, queue: str, lane: Lane, task_id: str) -> tuple[int, int] | None:
        """The deliveries before and behind this one in a lane, or None. Reads the lane from its
        tail, so that workers who take from its head do not disturb it."""
        wanted, behind = task_id.encode(), 0
        async for page in self._pages(self._keys.ready(queue, lane)):
            if wanted in page:
                behind += len(page) - 1 - page.index(wanted)
                before = await self.length(queue, lane) - behind - 1
                return max(before, 0), behind
            behind += len(page)
        return None

    async def held_by(self, queue: str, worker_ids: Sequence[str], task_id: str) -> list[str]:
        """The workers among these whose processing lists hold this id, among the first PAGE of
        each."""
        names = [self._keys.processing(queue, worker_id) for worker_id in worker_ids]
        pages = await self._read(names, end=-1) if names else []
        wanted = task_id.encode()
        return [
            worker_id
            for worker_id, page in zip(worker_ids, pages, strict=True)
            if not isinstance(page, Exception) and wanted in page
        ]

    async def heads(self, queue: str, lanes: Sequence[Lane]) -> list[str]:
        """The first ids of these lanes, of those that have one."""
        names = [self._keys.ready(queue, lane) for lane in lanes]
        return [*(await self._heads(names)).values()]

    async def scan(self, cursor: int, *, count: int) -> tuple[int, list[tuple[str, str, str]]]:
        """A slice of the key space: the next position (0: the end), and the keys of queues as
        `Keys.parse` reads them."""
        after, names = await self._scan(cursor, self._keys.every(), count=count)
        found = [self._keys.parse(name) for name in names]
        return after, [key for key in found if key is not None and NAME.fullmatch(key[0])]

    async def _scan(self, cursor: int, pattern: str, *, count: int) -> tuple[int, list[str]]:
        with reachable():
            after, names = await self._scripts.run("scan", [], [cursor, pattern, count])
        return int(after), [as_bytes(name).decode(errors="replace") for name in names]

    async def _find(self, names: Iterable[str], among: AbstractSet[str]) -> set[str]:
        wanted = {task_id.encode() for task_id in among}
        found: set[bytes] = set()
        for name in names:
            async for page in self._pages(name):
                found |= wanted.intersection(page)
                if len(found) == len(wanted):
                    return set(among)
        return {value.decode() for value in found}

    async def count_held(self, places: Sequence[tuple[str, str]]) -> list[int]:
        """The lengths of processing lists, each by its queue and its worker."""
        return await self._lengths_of([self._keys.processing(*place) for place in places])

    async def first_held(self, places: Sequence[tuple[str, str]], *, most: int) -> list[list[str]]:
        """The first ids of these processing lists; none of a list that cannot be read."""
        names = [self._keys.processing(*place) for place in places]
        pages = await self._read(names, end=most - 1, size=most)
        return [
            []
            if isinstance(page, Exception)
            else [text for value in page if is_task_id(text := value.decode(errors="replace"))]
            for page in pages
        ]

    async def _read(self, names: Sequence[str], *, end: int, size: int = PAGE) -> list[Any]:
        """A page of each of these lists, in this range; an error in place of a list that cannot be
        read."""
        calls: list[Call] = [([name], [end - size + 1, end]) for name in names]
        with reachable():
            return await self._scripts.run_each("page", calls)

    async def _pages(self, name: str) -> AsyncIterator[list[Any]]:
        """A list in pages, from its tail to its head. Workers take from the head, which does not
        move positions counted from the tail. A push at the tail makes the next page overlap the
        last one. So a value that stays in the list is never skipped.
        """
        end = -1
        while True:
            (page,) = await self._read([name], end=end)
            if isinstance(page, Exception):
                raise ServerUnreachable(f"Redis does not answer: {page}")
            if page:
                yield page
            if len(page) < PAGE:
                return
            end -= PAGE


def _batches(lengths: Mapping[T, int], *, most: int) -> Iterator[list[T]]:
    """The keys in order, in groups whose lengths add up to at most this; a longer list is alone in
    its group."""
    some: list[T] = []
    size = 0
    for key, length in lengths.items():
        if some and size + length > most:
            yield some
            some, size = [], 0
        some.append(key)
        size += length
    if some:
        yield some


__all__ = ["Depths", "End", "QueueLane", "QueueLists"]
