"""How does an ending reach the ledger, and its delivery leave dispatch?

Endings are gathered into batches while the batch before is being written. A store that is away is waited for: the lease is
kept meanwhile, and a settle may be repeated without harm, since the fence lets it count once. An ending that comes back
without effect was either written by an earlier try whose answer was lost, or fenced: the ledger tells which. An ending that
Postgres refuses is refused alone: its neighbours in the batch are written without it. The ending of a task whose row another
transaction has locked is answered with `Locked`, and then written apart, as soon as the row is free.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from leaseq.dispatch.deliveries import Place, Release
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.gather import Gatherer
from leaseq.ledger.ledger import Ledger
from leaseq.ledger.locked import AGAIN_SECONDS, LockedTasks
from leaseq.ledger.session import Locked
from leaseq.model import TERMINAL, Glimpse, Lane, Settled, Settlement, State
from leaseq.telemetry import emit

BATCH_SIZE = 500
BATCH_BYTES = 8 * 1_048_576  # of results: what is larger takes Postgres longer than a statement may
RETRY_SECONDS = 0.1
RETRY_CAP_SECONDS = 1.0

Answer = Callable[[Settled | BaseException | None], None]


class Settler:
    """Writes endings, for one incarnation."""

    def __init__(self, ledger: Ledger, *, capacity: int) -> None:
        self._ledger = ledger
        self._gatherer: Gatherer[Settlement, Settled | None] = Gatherer(self._write, batch_size=BATCH_SIZE, capacity=capacity)
        self._locked = LockedTasks(ledger, verb="settle")
        self._apart: list[tuple[Settlement, Answer]] = []  # endings of tasks whose rows are locked
        self._writing_apart: asyncio.Task[None] | None = None

    async def settle(self, settlement: Settlement) -> Settled | None:
        """End an attempt. None: it was fenced, and nothing changed. Raises what Postgres said of an ending that it refused."""
        try:
            return await self._gatherer.add(settlement)
        except Locked:
            written: asyncio.Future[Settled | BaseException | None] = asyncio.get_running_loop().create_future()
            self.put_apart(settlement, lambda answer: None if written.done() else written.set_result(answer))
            answer = await written
            if isinstance(answer, BaseException):
                raise answer from None
            return answer

    def put(self, settlement: Settlement, answer: Answer) -> None:
        """End an attempt, and call `answer` with what `settle` returns or raises, or with `Locked`: then nothing was written, and
        the caller hands it to `put_apart`."""
        self._gatherer.put(settlement, answer)

    def put_apart(self, settlement: Settlement, answer: Answer) -> None:
        """End an attempt as soon as its row is free, and call `answer` with what `settle` returns or raises."""
        self._apart.append((settlement, answer))
        if self._writing_apart is None or self._writing_apart.done():
            self._writing_apart = asyncio.create_task(self._write_apart())

    async def find_ended(self, settlement: Settlement) -> Settled | None:
        """Did this very settlement count, although its answer never came?"""
        return (await self._find_ended([settlement])).get(settlement.claim.task_id)

    async def _find_ended(self, batch: Sequence[Settlement]) -> dict[str, Settled]:
        """Those of a batch that counted although no answer came, by task id. The standbys have them too."""
        glimpses = await self._ledger.glimpse([s.claim.task_id for s in batch])
        ended = [_ended(settlement, glimpses.get(settlement.claim.task_id)) for settlement in batch]
        found = {settled.task_id: settled for settled in ended if settled is not None}
        if found:
            await self._ledger.wait_for_standby()
        return found

    async def _write(self, batch: Sequence[Settlement]) -> list[Settled | BaseException | None]:
        return [answer for bite in split_by_size(batch) for answer in await self._write_bite(bite)]

    async def _write_bite(self, bite: Sequence[Settlement]) -> list[Settled | BaseException | None]:
        if self._apart:  # rows are locked: without a look first, each batch with another of them would wait for it
            return await self._write_free(bite, repeated=False)
        try:
            return [*await self._insist(bite)]
        except Locked:
            return await self._write_free(bite, repeated=True)
        except Exception:
            # Whose fault it was shows when each is written alone. A lone one has its second try too: what failed by accident must
            # not be taken for an ending that Postgres refuses.
            return [await self._write_alone(settlement) for settlement in bite]

    async def _write_free(self, bite: Sequence[Settlement], *, repeated: bool) -> list[Settled | BaseException | None]:
        """Write the endings of a batch whose tasks are not locked; the answer to the others is `Locked`."""
        locked = await self._find_locked(bite)
        free = [settlement for settlement in bite if settlement.claim.task_id not in locked]
        written: list[Settled | BaseException | None]
        try:
            written = [*await self._insist(free, repeated=repeated)] if free else []
        except Exception:  # also `Locked`: by another row that an ending needs, of a table, or since the look
            written = [await self._write_alone(settlement) for settlement in free]
        rest = iter(written)
        return [
            Locked("another transaction has locked the row of this task") if settlement.claim.task_id in locked else next(rest)
            for settlement in bite
        ]

    async def _write_alone(self, settlement: Settlement) -> Settled | BaseException | None:
        try:
            (answer,) = await self._insist([settlement], repeated=True)
        except Exception as error:
            return error
        return answer

    async def _find_locked(self, batch: Sequence[Settlement]) -> set[str]:
        """Look until there is an answer."""
        wait = RETRY_SECONDS
        while True:
            try:
                return await self._locked.among([settlement.claim.task_id for settlement in batch])
            except ServerUnreachable as error:
                if wait == RETRY_SECONDS:
                    emit("ledger.unreachable", error=str(error), waiting=len(batch))
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP_SECONDS)

    async def _write_apart(self) -> None:
        """Write the endings that are apart, each when its row is free. The other endings do not wait for that."""
        try:
            while self._apart:
                await asyncio.sleep(AGAIN_SECONDS)
                waiting = [settlement for settlement, _ in self._apart]
                locked = await self._find_locked(waiting)
                for settlement in waiting:
                    if settlement.claim.task_id not in locked:
                        self._answer_apart(settlement, await self._write_alone(settlement))
        except BaseException as error:
            for settlement, _ in [*self._apart]:
                self._answer_apart(settlement, error)
            raise

    def _answer_apart(self, settlement: Settlement, said: Settled | BaseException | None) -> None:
        if isinstance(said, Locked):
            return  # it was locked again
        (answer,) = (answer for waiting, answer in self._apart if waiting is settlement)
        self._apart = [(waiting, answer) for waiting, answer in self._apart if waiting is not settlement]
        answer(said)

    async def _insist(self, batch: Sequence[Settlement], *, repeated: bool = False) -> list[Settled | None]:
        """Write until there is an answer. `repeated`: it was tried before, and may have counted then. Raises `Locked`."""
        wait = RETRY_SECONDS
        while True:
            try:
                reach("settle.sending")
                settled = await self._ledger.settle(batch)
                reach("settle.sent")
                missing = [s for s in batch if s.claim.task_id not in settled]
                if missing and repeated:
                    for ended in (await self._find_ended(missing)).values():
                        emit("attempt.ambiguous", task_id=ended.task_id, attempt=ended.attempt, state=ended.state)
                        settled[ended.task_id] = ended
                return [settled.get(s.claim.task_id) for s in batch]
            except Locked:
                raise
            except ServerUnreachable as error:
                if not repeated:
                    emit("ledger.unreachable", error=str(error), waiting=len(batch))
                repeated = True
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP_SECONDS)


def split_by_size(batch: Sequence[Settlement]) -> Iterator[Sequence[Settlement]]:
    """Cut a batch where its results grow too large for one statement."""
    start = size = 0
    for end, settlement in enumerate(batch):
        weight = len(settlement.ending.result or b"")
        if end > start and size + weight > BATCH_BYTES:
            yield batch[start:end]
            start, size = end, 0
        size += weight
    yield batch[start:]


def _ended(settlement: Settlement, glimpse: Glimpse | None) -> Settled | None:
    """The same attempt, no longer running, in the state that was asked for (or CANCELLED, where a request came before and the
    task would have gone on): it was us. (A reap would have left PENDING or FAILED as lost; a hand-back of ours that looks the
    same has the same effect.)"""
    if glimpse is None or glimpse.attempt != settlement.claim.attempt or glimpse.state is State.PROCESSING:
        return None
    wanted = settlement.disposition.state
    if glimpse.state is not wanted and (glimpse.state is not State.CANCELLED or wanted in TERMINAL):
        return None
    return Settled(glimpse.task_id, glimpse.attempt, glimpse.state, glimpse.queue, glimpse.lane)


class QueuedRelease(Struct, frozen=True):
    """One delivery on its way out of the processing list."""

    queue: str
    release: Release


class Releaser:
    """Takes deliveries out of the worker's processing lists, gathered. What fails here is found by the sweep."""

    def __init__(self, dispatcher: Dispatcher, *, worker_id: str, capacity: int) -> None:
        self._dispatcher = dispatcher
        self._worker_id = worker_id
        self.failed = asyncio.Event()  # something may have stayed behind in our lists; the sweep listens
        self._gatherer: Gatherer[QueuedRelease, None] = Gatherer(self._write, batch_size=BATCH_SIZE, capacity=capacity)

    async def release(self, queue: str, delivery: str | bytes, place: Place | Lane = Place.DONE) -> None:
        """Let go of one delivery."""
        await self._gatherer.add(QueuedRelease(queue, Release(delivery, place)))

    async def release_all(self, queue: str, releases: Sequence[Release]) -> None:
        """Let go of many deliveries of one queue, in this order. What fails is found by the sweep, as for one."""
        await self._write([QueuedRelease(queue, release) for release in releases])

    def put(self, queue: str, release: Release, left: Callable[[object], None]) -> None:
        """Let go of one delivery, and call `left` then."""
        self._gatherer.put(QueuedRelease(queue, release), left)

    async def _write(self, batch: Sequence[QueuedRelease]) -> list[None]:
        by_queue: defaultdict[str, list[Release]] = defaultdict(list)
        for parting in batch:
            by_queue[parting.queue].append(parting.release)
        for queue, releases in by_queue.items():
            try:
                found = await self._dispatcher.release(queue, releases, worker_id=self._worker_id)
                reach("release.sent")
                emit("delivery.released", queue=queue, count=found)
            except ServerUnreachable as error:
                emit("dispatch.unreachable", error=str(error), queue=queue)
                self.failed.set()
        return [None] * len(batch)


__all__ = ["Releaser", "Settler", "split_by_size"]
