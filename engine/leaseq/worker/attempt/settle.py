"""Write the endings of one worker's attempts to the ledger, in batches.

Endings gather into a batch while the batch before is being written, and in a stream of single ones
for a few milliseconds more (`BatchPause`). While Postgres is away the
settler tries again: the lease is kept meanwhile, and a repeated settle does no harm, since the
fence lets it count once.

- An ending that comes back without effect was either written by an earlier try whose answer was
  lost, or it was fenced. The ledger tells which.
- An ending that Postgres refuses is refused alone: the other endings of its batch are written
  without it.
- The ending of a task whose row another transaction has locked is answered with `Locked`. It is
  then written separately, as soon as the row is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from leaseq.batch_pause import BatchPause
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.gather import Gatherer
from leaseq.ledger.locked_tasks import LOCK_RECHECK_SECONDS, LockedTaskFinder
from leaseq.ledger.session import Locked
from leaseq.ledger.tasks import TaskLedger
from leaseq.loop import Pauses, Retries, retry
from leaseq.model import TERMINAL, Settled, Settlement, State, TaskSnapshot
from leaseq.observability.telemetry import emit
from leaseq.worker.attempt.traced_settles import TracedSettles

BATCH_SIZE = 500
BATCH_BYTES = 8 * 1_048_576  # of results: more would take Postgres longer than a statement may
PAUSES = Pauses(0.1, growth=2.0, cap=1.0)

Answer = Callable[[Settled | BaseException | None], None]


class Settler:
    """Writes endings, for one worker."""

    def __init__(
        self,
        ledger: TaskLedger,
        *,
        capacity: int,
        pause: BatchPause | None = None,
        traced: TracedSettles | None = None,
    ) -> None:
        """`traced`: where each statement has a span."""
        self._ledger = ledger
        self._traced = traced
        self._gatherer: Gatherer[Settlement, Settled | None] = Gatherer(
            self._write, batch_size=BATCH_SIZE, capacity=capacity, pause=pause
        )
        self._locked_tasks = LockedTaskFinder(ledger, verb="settle")
        self._locked_out: list[tuple[Settlement, Answer]] = []  # with locked rows
        self._writing_unlocked: asyncio.Task[None] | None = None

    async def settle(self, settlement: Settlement) -> Settled | None:
        """End an attempt. None: it was fenced, and nothing changed. Raises the error with which
        Postgres refused the ending."""
        try:
            return await self._gatherer.add(settlement)
        except Locked:
            written: asyncio.Future[Settled | BaseException | None] = (
                asyncio.get_running_loop().create_future()
            )
            self.put_when_unlocked(
                settlement, lambda answer: None if written.done() else written.set_result(answer)
            )
            answer = await written
            if isinstance(answer, BaseException):
                raise answer from None
            return answer

    def put(self, settlement: Settlement, answer: Answer) -> None:
        """End an attempt, and call `answer` with what `settle` returns or raises.

        `answer` may also get `Locked`: then nothing was written, and the caller uses
        `put_when_unlocked`.
        """
        self._gatherer.put(settlement, answer)

    def put_when_unlocked(self, settlement: Settlement, answer: Answer) -> None:
        """End an attempt as soon as its row is free, and call `answer` with what `settle` returns
        or raises."""
        self._locked_out.append((settlement, answer))
        if self._writing_unlocked is None or self._writing_unlocked.done():
            self._writing_unlocked = asyncio.create_task(self._write_unlocked())

    async def find_ended(self, settlement: Settlement) -> Settled | None:
        """The effect of this very settlement if it counted although its answer was lost, else
        None."""
        return (await self._find_ended([settlement])).get(settlement.claim.task_id)

    async def _find_ended(self, batch: Sequence[Settlement]) -> dict[str, Settled]:
        """The settlements of a batch that counted although no answer came, by task id. The standbys
        have them too."""
        snapshots = await self._ledger.find_snapshots([s.claim.task_id for s in batch])
        ended = [
            _ended(settlement, snapshots.get(settlement.claim.task_id)) for settlement in batch
        ]
        found = {settled.task_id: settled for settled in ended if settled is not None}
        if found:
            await self._ledger.wait_for_standby()
        return found

    async def _write(self, gathered: Sequence[Settlement]) -> list[Settled | BaseException | None]:
        return [
            answer for batch in split_by_size(gathered) for answer in await self._write_batch(batch)
        ]

    async def _write_batch(
        self, batch: Sequence[Settlement]
    ) -> list[Settled | BaseException | None]:
        # without a look first, each batch with another locked row would wait for it
        if self._locked_out:
            return await self._write_free(batch, repeated=False)
        try:
            return [*await self._write_until_answered(batch)]
        except Locked:
            return await self._write_free(batch, repeated=True)
        except Exception:
            # Write each ending alone, which shows which one Postgres refuses. A lone ending has its
            # second try too: an accident must not be treated as a refusal.
            return [await self._write_alone(settlement) for settlement in batch]

    async def _write_free(
        self, batch: Sequence[Settlement], *, repeated: bool
    ) -> list[Settled | BaseException | None]:
        """Write the endings of a batch whose tasks are not locked. The answer to the others is
        `Locked`."""
        locked = await self._find_locked(batch)
        free = [settlement for settlement in batch if settlement.claim.task_id not in locked]
        written: list[Settled | BaseException | None]
        try:
            written = [*await self._write_until_answered(free, repeated=repeated)] if free else []
        except (
            Exception
        ):  # also `Locked`: another row that an ending needs, a table, or a lock since the look
            written = [await self._write_alone(settlement) for settlement in free]
        answers = iter(written)
        return [
            Locked("another transaction has locked the row of this task")
            if settlement.claim.task_id in locked
            else next(answers)
            for settlement in batch
        ]

    async def _write_alone(self, settlement: Settlement) -> Settled | BaseException | None:
        try:
            (answer,) = await self._write_until_answered([settlement], repeated=True)
        except Exception as error:
            return error
        return answer

    async def _find_locked(self, batch: Sequence[Settlement]) -> set[str]:
        """The tasks of a batch whose rows are locked. Asks until Postgres answers."""
        task_ids = [settlement.claim.task_id for settlement in batch]
        return await retry(
            partial(self._locked_tasks.find_and_report, task_ids), self._retries(len(batch))
        )

    def _retries(self, waiting: int) -> Retries:
        return Retries(
            PAUSES,
            report=lambda error: emit("ledger.unreachable", error=str(error), waiting=waiting),
        )

    async def _write_unlocked(self) -> None:
        """Write each ending that met a locked row when that row is free. The other endings do not
        wait for this."""
        try:
            while self._locked_out:
                await asyncio.sleep(LOCK_RECHECK_SECONDS)
                waiting = [settlement for settlement, _ in self._locked_out]
                locked = await self._find_locked(waiting)
                for settlement in waiting:
                    if settlement.claim.task_id not in locked:
                        self._answer_unlocked(settlement, await self._write_alone(settlement))
        except BaseException as error:
            for settlement, _ in [*self._locked_out]:
                self._answer_unlocked(settlement, error)
            raise

    def _answer_unlocked(
        self, settlement: Settlement, result: Settled | BaseException | None
    ) -> None:
        if isinstance(result, Locked):
            return  # it was locked again
        (answer,) = (answer for waiting, answer in self._locked_out if waiting is settlement)
        self._locked_out = [
            (waiting, answer) for waiting, answer in self._locked_out if waiting is not settlement
        ]
        answer(result)

    async def _write_until_answered(
        self, batch: Sequence[Settlement], *, repeated: bool = False
    ) -> list[Settled | None]:
        """Write a batch until Postgres answers. `repeated`: an earlier try may have counted. Raises
        `Locked`."""
        retries = None
        while True:
            try:
                reach("settle.sending")
                settled = await (self._traced or self._ledger).settle(batch)
                reach("settle.sent")
                missing = [s for s in batch if s.claim.task_id not in settled]
                if missing and repeated:
                    for ended in (await self._find_ended(missing)).values():
                        emit(
                            "attempt.ambiguous",
                            task_id=ended.task_id,
                            attempt=ended.attempt,
                            state=ended.state,
                        )
                        settled[ended.task_id] = ended
                return [settled.get(s.claim.task_id) for s in batch]
            except Locked:
                raise
            except ServerUnreachable as error:
                if retries is None:
                    retries = Retries(PAUSES) if repeated else self._retries(len(batch))
                repeated = True
                await retries.wait(error)


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


def _ended(settlement: Settlement, snapshot: TaskSnapshot | None) -> Settled | None:
    """The effect of this settlement, judged by the task as it is now. None: the settlement did not
    count.

    It counted if the same attempt no longer runs and the task is in the state that the settlement
    asked for, or in CANCELLED where a request came before and the task would have gone on. A
    recovery of this worker would have left the task PENDING, or FAILED as lost. A hand-back of this
    worker that looks the same has the same effect.
    """
    if (
        snapshot is None
        or snapshot.attempt != settlement.claim.attempt
        or snapshot.state is State.PROCESSING
    ):
        return None
    wanted = settlement.disposition.state
    if snapshot.state is not wanted and (
        snapshot.state is not State.CANCELLED or wanted in TERMINAL
    ):
        return None
    return Settled(
        snapshot.task_id, snapshot.attempt, snapshot.state, snapshot.queue, snapshot.lane
    )


__all__ = ["Settler", "split_by_size"]
