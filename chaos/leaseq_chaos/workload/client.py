"""One client of the workload.

One thing at a time, each in its turn: the submissions of its plan, what it has to try again, the
tasks that it wanted to look at or to cancel. Invariants: a submission is repeated only with its key
and only byte for byte; every operation that begins in the history also ends there; after an `info`
it goes on under another name, because that operation may still be under way.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any

import msgspec
from msgspec import Struct, field

from leaseq.model import TERMINAL
from leaseq_chaos.history import Kind, Recorder
from leaseq_chaos.workload.front import Front, Reply, Seen
from leaseq_chaos.workload.plan import Operation

__all__ = ["Client", "Counts"]

RETRY_SECONDS, RETRY_CAP_SECONDS = 0.05, 1.0
POLL_SECONDS, POLL_CAP_SECONDS = 0.1, 2.0

Turn = Callable[[], Awaitable[object]]


class Counts(Struct):
    """The answers that clients have received so far."""

    submitted: int = 0  # submissions begun, those tried again not counted
    acknowledged: int = 0
    replayed: int = 0
    refused: int = 0
    infos: int = 0
    # tasks that were followed to their end, by state
    ended: Counter[str] = field(default_factory=Counter)


class Client:
    """One client and its list of what to do when."""

    def __init__(self, front: Front, recorder: Recorder, counts: Counts) -> None:
        self._front = front
        self._recorder = recorder
        self._counts = counts
        self._name = recorder.process
        self._lives = 1
        self._rng = Random(self._name)  # when it tries again, nothing else
        self._turns: list[tuple[float, int, Turn]] = []
        self.accepted: dict[str, str] = {}  # tasks by key
        self._order = count()

    async def run(self, operations: Sequence[Operation]) -> None:
        """Carry out the plan and all that follows from it. Returns when nothing is left to do."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for operation in operations:
            self._add(began + operation.at, partial(self._begin, operation))
        while self._turns:
            due, _, turn = heapq.heappop(self._turns)
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await turn()

    async def _begin(self, operation: Operation) -> None:
        self._counts.submitted += 1
        await self._submit(operation, body_of(operation), tries=1)

    async def _submit(self, operation: Operation, body: bytes, *, tries: int) -> None:
        key = operation.key
        said: dict[str, Any] = {
            "type": operation.type,
            "payload": operation.payload,
            "variant": operation.variant,
        }
        if operation.delay_seconds is not None:
            said["delay_seconds"] = operation.delay_seconds
        if operation.tenant is not None:
            said["tenant"] = operation.tenant
        if operation.labels is not None:
            said["labels"] = operation.labels
        submitting = self._front.submit(body, key=key, tenant=operation.tenant)
        reply = await self._ask("submit", submitting, key=key, said=said)
        if reply.seen is not None:
            told = {"state": reply.seen.state, "replayed": reply.replayed} | _tenant_of(reply.seen)
            self._recorder.note(Kind.OK, "submit", key=key, task=reply.seen.task_id, value=told)
            self._counts.acknowledged += 1
            self._counts.replayed += reply.replayed
            if key is not None:
                self.accepted[key] = reply.seen.task_id
            self._go_on_with(operation, reply.seen.task_id)
        elif reply.passing and key is not None:
            self._later(self._pause(tries), partial(self._submit, operation, body, tries=tries + 1))

    def _go_on_with(self, operation: Operation, task: str) -> None:
        tenant = operation.tenant
        if operation.cancel_after is not None:
            self._later(operation.cancel_after, partial(self._cancel, task, tenant, tries=1))
        for seconds in operation.reads:
            self._later(seconds, partial(self._read, task, tenant))
        if operation.follow:
            self._later(POLL_SECONDS, partial(self._follow, task, tenant, pause=POLL_SECONDS))
        other = self._front.other_tenant(tenant)
        if operation.foreign and other is not None:
            self._later(0.0, partial(self._trespass, task, other))

    async def _trespass(self, task: str, tenant: str) -> None:
        """Ask for a task, and for its end, with the key of a tenant that does not have it."""
        for act in (self._front.read, self._front.cancel):
            reply = await self._ask(
                "foreign", act(task, tenant=tenant), task=task, said={"tenant": tenant}
            )
            if reply.seen is not None:
                self._recorder.note(Kind.OK, "foreign", task=task, value=_tenant_of(reply.seen))

    async def _read(self, task: str, tenant: str | None) -> Reply:
        said = None if tenant is None else {"tenant": tenant}
        reading = self._front.read(task, tenant=tenant)
        reply = await self._ask("read", reading, task=task, said=said)
        if reply.seen is not None:
            seen = msgspec.structs.asdict(reply.seen)
            if reply.seen.tenant is None:
                del seen["tenant"]
            self._recorder.note(Kind.OK, "read", task=seen.pop("task_id"), value=seen)
        return reply

    async def _follow(self, task: str, tenant: str | None, *, pause: float) -> None:
        reply = await self._read(task, tenant)
        if reply.seen is not None and reply.seen.state in TERMINAL:
            self._counts.ended[reply.seen.state] += 1
        elif reply.kind is not Kind.FAIL:
            longer = min(2 * pause, POLL_CAP_SECONDS)
            self._later(pause, partial(self._follow, task, tenant, pause=longer))

    async def _cancel(self, task: str, tenant: str | None, *, tries: int) -> None:
        reply = await self._ask("cancel", self._front.cancel(task, tenant=tenant), task=task)
        if reply.seen is not None:
            self._recorder.note(Kind.OK, "cancel", task=task, value={"state": reply.seen.state})
        elif reply.passing:
            again = partial(self._cancel, task, tenant, tries=tries + 1)
            self._later(self._pause(tries), again)

    async def _ask(
        self,
        op: str,
        request: Awaitable[Reply],
        *,
        key: str | None = None,
        task: str | None = None,
        said: Any = None,
    ) -> Reply:
        """One operation in the history, up to its `ok`, which the caller writes."""
        self._recorder.note(Kind.INVOKE, op, key=key, task=task, value=said)
        try:
            reply = await request
        except asyncio.CancelledError:
            self._recorder.note(
                Kind.INFO,
                op,
                key=key,
                task=task,
                value={"error": "the run was over before an answer came"},
            )
            raise
        if reply.seen is None:
            self._recorder.note(reply.kind, op, key=key, task=task, value=reply.said)
            self._after(reply)
        return reply

    def _after(self, reply: Reply) -> None:
        """The meaning of a missing answer, or of a refusal, for the client."""
        if reply.kind is Kind.INFO:
            self._counts.infos += 1
            self._front.move_on()
            self._lives += 1
            self._recorder.process = f"{self._name}.{self._lives}"
        else:
            self._counts.refused += 1

    def _pause(self, tries: int) -> float:
        return self._rng.uniform(0.5, 1.0) * min(
            RETRY_SECONDS * 2.0 ** min(tries, 10), RETRY_CAP_SECONDS
        )

    def _later(self, seconds: float, turn: Turn) -> None:
        self._add(asyncio.get_running_loop().time() + seconds, turn)

    def _add(self, due: float, turn: Turn) -> None:
        heapq.heappush(self._turns, (due, next(self._order), turn))


def _tenant_of(seen: Seen) -> dict[str, str]:
    return {} if seen.tenant is None else {"tenant": seen.tenant}


def body_of(operation: Operation) -> bytes:
    """The body of a submission: the same bytes every time."""
    body: dict[str, Any] = {"type": operation.type, "payload": operation.payload}
    if operation.delay_seconds is not None:
        body["delay_seconds"] = operation.delay_seconds
    if operation.queue is not None:
        body["queue"] = operation.queue
    if operation.priority is not None:
        body["priority"] = operation.priority
    if operation.labels is not None:
        body["labels"] = operation.labels
    return msgspec.json.encode(body)
