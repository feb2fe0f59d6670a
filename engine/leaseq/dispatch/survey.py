"""Read the state of dispatch as a whole, for the reconciler and for operators.

The path of a task calls none of this. A key of another type is removed where it is found
(scripts.py) and counts as empty. A value that cannot be valid stays on the server, however large it
is: the scripts cut it or omit it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncIterator,
    Callable,
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
from itertools import chain
from typing import Any, TypeVar

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoPermissionError, ResponseError

from leaseq.codec import FIRST_ID
from leaseq.dispatch.backlog import FIELDS, Backlog, read_backlogs
from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.ownership import NO_LEDGER, Owner, ask_owner
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import Call, Scripts, is_odd
from leaseq.errors import ServerUnreachable
from leaseq.model import NAME, Lane

PAGE = 5000
# Commands of one pipeline: the server answers other clients between two pipelines, and a reply is
# bounded.
SLICE = 500

# The run id of the server process, in the reply to INFO.
RUN_ID = re.compile(rb"^run_id:(\S+)", re.MULTILINE)

LISTED = (Lane.HIGH, Lane.NORMAL, Lane.LOW, Lane.SUSPECT)
LISTS = len(LISTED) + 1  # parked values, too
# Queues whose depths are read together: their lists make one reply of SLICE numbers.
QUEUES_AT_ONCE = SLICE // LISTS

T = TypeVar("T", bound=Hashable)


class Depths(Struct, frozen=True):
    """The number of deliveries in each lane of a queue, and of parked values. `backlog_since` is
    set if a lane is full and more tasks wait in the ledger: their number is unknown, but this is
    when the first of them was submitted.
    """

    high: int
    normal: int
    low: int
    suspect: int
    parked: int
    backlog_since: datetime | None = None

    @property
    def waiting(self) -> int:
        return self.high + self.normal + self.low + self.suspect


class End(Struct, frozen=True):
    """The number of deliveries in a lane, and the last one."""

    length: int
    last: bytes


class Survey:
    """Reads, and the few writes of an operator. With `repairs` false, for a process that only
    reads, odd keys are not changed."""

    def __init__(self, client: Redis, keys: Keys, *, repairs: bool = True) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client, repairs=repairs)
        # The marks of the last read: hundreds of idle backlogs have the same marks each time.
        self._named: Sequence[Any] = []
        self._marks: Mapping[str, str] = {}

    async def depths(self, queue: str) -> Depths:
        """The lengths of the lists of a queue, and whether more tasks wait."""
        return (await self._depths_of([queue], [queue]))[queue]

    async def depths_of(self, queues: Sequence[str], *, seconds: float) -> dict[str, Depths]:
        """The depths of many queues, read together within `seconds`. Unread and unreadable queues
        are omitted."""
        found: dict[str, Depths] = {}
        with suppress(ServerUnreachable, TimeoutError):
            async with asyncio.timeout(seconds):
                with_backlogs = await self.with_backlogs()
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
        backlogs = await self._backlogs_of([queue for queue in queues if queue in with_backlogs])
        found: dict[str, Depths] = {}
        for queue in queues:
            high, normal, low, suspect, parked = (next(numbers) for _ in range(LISTS))
            since = min(
                (backlog.since for backlog in backlogs.get(queue, {}).values()), default=None
            )
            found[queue] = Depths(high, normal, low, suspect, parked, since)
        return found

    async def length(self, queue: str, lane: Lane) -> int:
        """The number of deliveries in a lane."""
        with reachable():
            return int(await self._scripts.tell("LLEN", self._keys.ready(queue, lane)))

    async def lengths(self, lanes: Sequence[tuple[str, Lane]]) -> dict[tuple[str, Lane], int]:
        """The number of deliveries in each of these lanes of a queue."""
        found: dict[tuple[str, Lane], int] = {}
        for start in range(0, len(lanes), SLICE):
            some = lanes[start : start + SLICE]
            lengths = await self._lengths_of([self._keys.ready(*place) for place in some])
            found |= dict(zip(some, lengths, strict=True))
        return found

    async def _lengths_of(self, names: list[str]) -> list[int]:
        """One reply for all queues. A reply for each would cost a client thirty times as much."""
        with reachable():
            lengths = await self._scripts.run("lengths", names, [])
            await self._repair(names, lengths)
        return [max(length, 0) for length in lengths]

    async def _repair(self, names: Sequence[str], replies: Sequence[object]) -> None:
        """Remove the keys for which a script has answered -1; they then count as empty. Raises if
        we may not remove them."""
        odd = [name for name, reply in zip(names, replies, strict=True) if reply == -1]
        if odd and not await self._scripts.repair(odd):
            raise ResponseError(
                f"WRONGTYPE: {odd[0]} is of another type, and this user of Redis may not remove it"
            )

    async def ends(self, lanes: Sequence[tuple[str, Lane]]) -> dict[tuple[str, Lane], End]:
        """The length of each of these lanes of a queue, and its last delivery."""
        found: dict[tuple[str, Lane], End] = {}
        for start in range(0, len(lanes), SLICE):
            some = lanes[start : start + SLICE]
            names = [self._keys.ready(*place) for place in some]
            with reachable():
                flat = await self._scripts.run("ends", names, [])
                await self._repair(names, flat[::2])
            ends = zip(some, flat[::2], flat[1::2], strict=True)
            found |= {place: End(max(length, 0), last) for place, length, last in ends}
        return found

    async def delivered(
        self,
        wanted: Mapping[tuple[str, Lane], AbstractSet[str]],
        *,
        lengths: Mapping[tuple[str, Lane], int],
    ) -> dict[tuple[str, Lane], set[str] | ServerUnreachable]:
        """Which of these ids are in their lanes, or why a lane cannot be read.

        Lanes that fit into a page, by their recent `lengths`, are read together in one round trip.
        """
        found: dict[tuple[str, Lane], set[str] | ServerUnreachable] = {}
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

    async def _ask_each(
        self, items: Sequence[T], ask: Callable[[Pipeline, T], object]
    ) -> dict[T, Any]:
        """One command for each item, in pipelines. By item: the reply, or the error (for a key of
        another type, say)."""
        answers: dict[T, Any] = {}
        for start in range(0, len(items), SLICE):
            some = items[start : start + SLICE]
            with reachable():
                pipe = self._client.pipeline(transaction=False)
                _ = [ask(pipe, item) for item in some]
                replies = await pipe.execute(raise_on_error=False)
            for item, reply in zip(some, replies, strict=True):
                answers[item] = (
                    ServerUnreachable(f"Redis does not answer: {reply}")
                    if isinstance(reply, Exception)
                    else reply
                )
        return answers

    async def backlogs(self, queue: str) -> dict[Lane, Backlog]:
        """The lanes of a queue of which a part waits in the ledger."""
        return (await self._backlogs_of([queue]))[queue]

    async def backlogs_of(self, queues: Sequence[str]) -> dict[str, dict[Lane, Backlog]]:
        """The backlogs of these queues, by queue and lane. Queues without any are omitted."""
        found: dict[str, dict[Lane, Backlog]] = {}
        for start in range(0, len(queues), SLICE):
            found |= await self._backlogs_of(queues[start : start + SLICE])
        return {queue: lanes for queue, lanes in found.items() if lanes}

    async def _backlogs_of(self, queues: Sequence[str]) -> dict[str, dict[Lane, Backlog]]:
        names = [self._keys.backlog(queue) for queue in queues]
        with reachable():
            found = await self._scripts.run("backlogs", names, [FIRST_ID, *FIELDS]) if names else []
            await self._repair(names, found)
        return {
            queue: {} if values == -1 else read_backlogs(values)
            for queue, values in zip(queues, found, strict=True)
        }

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

    async def locate(self, queue: str, task_id: str) -> tuple[list[Lane], list[str]]:
        """The lanes, and the workers' processing lists, that hold this id. Reads whole lists: for a
        person, about one task."""
        among = {task_id}
        lanes = [lane for lane in Lane if await self._find([self._keys.ready(queue, lane)], among)]
        owners = await self.processing_owners(queue)
        return lanes, [
            owner for owner in sorted(owners) if await self.processing(queue, [owner], among=among)
        ]

    async def processing_owners(self, queue: str) -> set[str]:
        """The workers that have a processing list, registered or not. Walks the key space."""
        owners: set[str] = set()
        cursor = 0
        while True:
            cursor, names = await self._scan(
                cursor, self._keys.processing_pattern(queue), count=SLICE
            )
            owners.update(name.rpartition(":")[2] for name in names)
            if cursor == 0:
                return owners

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

    async def epoch(self) -> str | None:
        """The epoch of dispatch; None if Redis has none."""
        with reachable():
            return await self._epoch("") or None

    async def begin_epoch(self, token: str) -> str:
        """Set the epoch unless there is one. Returns the current epoch."""
        with reachable():
            return await self._epoch(token)

    async def _epoch(self, token: str) -> str:
        value: bytes = await self._scripts.run("epoch", [self._keys.data()], [token])
        return value.decode(errors="replace")

    async def owner(self) -> Owner:
        """The ledger that owns the prefix, and the newest timeline of its Postgres."""
        with reachable():
            try:
                return await ask_owner(self._scripts, self._keys)
            except ResponseError as error:
                if not is_odd(error):
                    raise
                return Owner(NO_LEDGER, None)

    async def run_id(self) -> str | None:
        """The run id of the server process, which changes with every restart; None if INFO is not
        allowed."""
        with reachable():
            try:
                # As one word: for a command that redis-py knows, it parses all forty lines of the
                # reply.
                said = await self._client.execute_command("INFO server")  # type: ignore[no-untyped-call]
            except NoPermissionError:
                return None
        found = RUN_ID.search(said)
        return found and found[1].decode("ascii", "replace")

    async def probe(self) -> None:
        """Raise `ServerUnreachable` unless Redis answers and would accept a write. A full server or
        a replica would not."""
        with reachable():
            await self._client.set(self._keys.probe(), "", xx=True)

    async def policy(self) -> dict[str, str]:
        """Settings that could break a guarantee, as far as the server reports them (some may be
        hidden: then empty)."""
        with reachable():
            pipe = self._client.pipeline(transaction=False)
            _ = [
                pipe.info(section) for section in ("memory", "persistence", "replication", "server")
            ]
            try:
                memory, persistence, replication, server = await pipe.execute()
            except NoPermissionError:
                memory = persistence = replication = server = {}
        return {
            "maxmemory_policy": str(memory.get("maxmemory_policy", "")),
            "aof_enabled": str(persistence.get("aof_enabled", "")),
            "role": str(replication.get("role", "")),
            "mode": str(server.get("redis_mode") or server.get("server_mode", "")),
            "product": "Valkey"
            if server.get("valkey_version") or server.get("server_name") == "valkey"
            else "Redis",
            "version": str(server.get("valkey_version") or server.get("redis_version", "")),
        }

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Copy the ledger's pause flag to dispatch, where workers read it."""
        with reachable():
            if paused:
                await self._client.set(self._keys.paused(queue), "1")
            else:
                await self._client.delete(self._keys.paused(queue))

    async def pause_many(self, queues: Sequence[str], *, paused: bool) -> dict[str, object]:
        """The same for many queues. By queue: a reply, or the error."""
        if paused:
            return await self._ask_each(
                queues, lambda pipe, queue: pipe.set(self._keys.paused(queue), "1")
            )
        return await self._ask_each(
            queues, lambda pipe, queue: pipe.delete(self._keys.paused(queue))
        )

    async def is_paused(self, queue: str) -> bool:
        """Whether dispatch has the pause flag of a queue."""
        with reachable():
            return bool(await self._client.exists(self._keys.paused(queue)))

    async def paused(self, queues: Sequence[str]) -> dict[str, bool | ServerUnreachable]:
        """Which of these queues have the flag that workers read."""
        found = await self._ask_each(
            queues, lambda pipe, queue: pipe.exists(self._keys.paused(queue))
        )
        return {
            queue: answer if isinstance(answer, ServerUnreachable) else bool(answer)
            for queue, answer in found.items()
        }

    async def with_backlogs(self) -> Mapping[str, str]:
        """The queues that may have a backlog. A push that begins one names it, and the scan of the
        key space finds the others.

        Each queue comes with the mark that the last such push has set. A scan and older versions
        set an empty mark.
        """
        with reachable():
            found = await self._scripts.run("named", [self._keys.backlogs()], [])
        if found != self._named:
            self._named = found
            texts = [text.decode("ascii", "replace") for text in found]
            self._marks = dict(zip(texts[::2], texts[1::2], strict=True))
        return self._marks

    async def name_backlogs(self, queues: Sequence[str]) -> None:
        """Record that these queues may have a backlog."""
        with reachable():
            await self._scripts.tell(
                "HSET", self._keys.backlogs(), *chain.from_iterable((queue, "") for queue in queues)
            )

    async def unname_backlogs(self, queues: Sequence[str]) -> None:
        """Record that these queues have none. A backlog that begins now may lose its name: check
        again afterwards."""
        with reachable():
            await self._scripts.tell("HDEL", self._keys.backlogs(), *queues)

    async def _find(self, names: Iterable[str], among: AbstractSet[str]) -> set[str]:
        wanted = {task_id.encode() for task_id in among}
        found: set[bytes] = set()
        for name in names:
            async for page in self._pages(name):
                found |= wanted.intersection(page)
                if len(found) == len(wanted):
                    return set(among)
        return {value.decode() for value in found}

    async def _read(self, names: Sequence[str], *, end: int) -> list[Any]:
        """A page of each of these lists, in this range; an error in place of a list that cannot be
        read."""
        calls: list[Call] = [([name], [end - PAGE + 1, end]) for name in names]
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


__all__ = ["Depths", "End", "Survey"]
