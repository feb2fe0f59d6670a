"""Record the items of a batch in chunks, and note the outcome of each.

While one chunk is being written the next is checked and sent, unless they share a key: then the
earlier item must have it. A chunk is one transaction. The memory of a batch is bounded: at most
two chunks of submissions and one outcome for each item.

A process that dies in the middle leaves whole chunks. The client does not learn which, and repeats
the batch: items with a key are replayed. If Postgres stops answering, the items of that chunk get
the problem of a lone submission (it may be recorded or not), and later items are not tried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from traceback import format_tb

import msgspec
from msgspec import UNSET, Struct

from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq.model import Submission, Submitted
from leaseq.observability.telemetry import emit
from leaseq.operations.engine import BATCH_SIZE
from leaseq.operations.submission import accept
from leaseq.operations.tenant_client import TenantClient
from leaseq.payloads.known_type import KnownType
from leaseq_api.batch.schemas import BatchItem, BatchOutcome, BatchTask
from leaseq_api.problems import FAULT, problem_of
from leaseq_api.refused import Refused
from leaseq_api.service import Service

# Of payloads in one chunk.
CHUNK_BYTES = 1_048_576
# Chunks that are sent while another one is being written.
AHEAD = 1
# The outcomes of a batch are kept until all are known, so each is short.
DETAIL_LENGTH = 300

_encode = msgspec.json.Encoder().encode


class Chunk(Struct):
    """Submissions that are recorded together, and their places in the batch."""

    places: list[int]
    submissions: list[Submission]
    keys: set[str]
    size: int = 0


class Recorder:
    """Records one batch. `outcomes` holds one for each item, in JSON, after `finish`."""

    def __init__(
        self,
        service: Service,
        tasks: TenantClient,
        *,
        tenant: str,
        path: bytes,
        trace_context: Mapping[str, str] | None,
    ) -> None:
        self.outcomes: list[bytes] = []
        self.recorded = 0
        self._service = service
        self._tasks = tasks
        self._tenant = tenant
        self._path = path
        self._trace_context = trace_context
        self._chunk = Chunk([], [], set())
        self._writing: deque[tuple[Chunk, asyncio.Task[None]]] = deque()
        # Types that the ledger did not know at the first item that named them.
        self._unknown: dict[str, KnownType | None] = {}
        self._away: ServerUnreachable | None = None

    async def take(self, item: BatchItem | Refused) -> None:
        """Take the next item. Raises `ServerUnreachable` where no item could be recorded."""
        self._check_away()
        if self._away is not None:
            self.refuse(self._away)
        elif isinstance(item, Refused):
            self.refuse(item)
        else:
            try:
                submission = await self._accept(item)
            except ServerUnreachable as error:
                self._away = error
                self.refuse(error)
            except LeaseqError as error:
                self.refuse(error)
            else:
                await self._add(submission)

    def refuse(self, error: Exception) -> None:
        """Note that the next item is refused."""
        self.outcomes.append(self._refusal(error))

    async def finish(self) -> None:
        """Write the rest, and wait until every outcome is known. Raises `ServerUnreachable` where
        no item could be recorded."""
        await self._send()
        await self._wait(0)
        self._check_away()

    async def abandon(self) -> None:
        """Wait for the chunks under way, and write no more."""
        self._chunk = Chunk([], [], set())
        await asyncio.gather(*(task for _, task in self._writing), return_exceptions=True)

    def _check_away(self) -> None:
        under_way = any(not task.done() for _, task in self._writing)
        if self._away is not None and not self.recorded and not under_way:
            raise self._away

    async def _accept(self, item: BatchItem) -> Submission:
        known = self._service.types.known(item.type)
        if known is None:
            if item.type not in self._unknown:
                self._unknown[item.type] = await self._service.types.look_again(item.type)
            known = self._unknown[item.type]
        request = item.to_request(key=item.idempotency_key, trace_context=self._trace_context)
        return accept(request, self._service.config, tenant=self._tenant, known=known)

    async def _add(self, submission: Submission) -> None:
        chunk = self._chunk
        chunk.places.append(len(self.outcomes))
        chunk.submissions.append(submission)
        chunk.size += len(submission.payload)
        if submission.idempotency_key is not None:
            chunk.keys.add(submission.idempotency_key)
        if submission.unique is not None:
            chunk.keys.add(submission.unique.key)
        self.outcomes.append(b"")
        if len(chunk.places) == BATCH_SIZE or chunk.size >= CHUNK_BYTES:
            await self._send()

    async def _send(self) -> None:
        chunk, self._chunk = self._chunk, Chunk([], [], set())
        if not chunk.places:
            return
        if any(not chunk.keys.isdisjoint(other.keys) for other, _ in self._writing):
            await self._wait(0)
        self._writing.append((chunk, asyncio.create_task(self._write(chunk))))
        await self._wait(AHEAD)

    async def _wait(self, most: int) -> None:
        """Wait until at most so many chunks are under way."""
        while len(self._writing) > most:
            await self._writing[0][1]
            self._writing.popleft()

    async def _write(self, chunk: Chunk) -> None:
        answers: Sequence[Submitted | BaseException]
        async with self._service.batch_turns.turn(self._tenant):
            try:
                if self._away is not None:
                    raise self._away
                answers = await self._submit(chunk.submissions)
            except ServerUnreachable as error:
                self._away = error
                answers = [error] * len(chunk.places)
        for place, submission, answer in zip(chunk.places, chunk.submissions, answers, strict=True):
            if isinstance(answer, Submitted):
                self.recorded += 1
                self.outcomes[place] = _recorded(submission, answer)
            else:
                self.outcomes[place] = self._refusal(answer)

    async def _submit(self, chunk: Sequence[Submission]) -> Sequence[Submitted | BaseException]:
        standing = self._service.quotas.of(self._tenant)
        if standing is None:
            return await self._tasks.submit_many(chunk)
        return await self._service.quotas.submit_many(standing, self._tasks, chunk)

    def _refusal(self, error: BaseException) -> bytes:
        if not isinstance(error, LeaseqError | Refused):
            where = "".join(format_tb(error.__traceback__)[-5:])
            emit("request.failed", method="POST", error=type(error).__name__, traceback=where)
            error = Refused("internal_error", FAULT)
        problem = problem_of(error, path=self._path, most=DETAIL_LENGTH)
        return _encode(BatchOutcome(status=problem.status, problem=problem))


def _recorded(submission: Submission, submitted: Submitted) -> bytes:
    task = BatchTask(
        task_id=submitted.task_id,
        type=submission.type,
        queue=submitted.queue,
        state=submitted.state,
        idempotency_key=submission.idempotency_key,
        created_at=submitted.created_at,
    )
    is_shared = submitted.deduplicated
    outcome = BatchOutcome(
        status=202,
        replayed=submitted.replayed and not is_shared,
        deduplicated=True if is_shared else UNSET,
        task=task,
    )
    return _encode(outcome)


__all__ = ["Recorder"]
