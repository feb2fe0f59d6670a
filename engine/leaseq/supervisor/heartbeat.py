"""Renew the leases of a supervisor's workers in both stores.

One heartbeat touches the ledger and renews in dispatch. Either answer proves that the lease held
when the heartbeat was sent: a reaper may close a worker only if the ledger has not seen it for a
lease *and* dispatch agrees. A lease that lapsed in dispatch, or that Redis has lost, is opened
again if the ledger still has the worker open. The ledger's "closed" is final. If the ledger alone
has been silent for long, dispatch is not renewed either: a worker that cannot settle must not hold
its tasks forever.

A reaper judges a worker by its lease in the home queue, the first one. In the other queues a lease
is a registration, without which a pull gets nothing; its deadline means nothing. Of a few queues
every one is renewed in every heartbeat. Of many, a heartbeat renews the home queue and checks the
registrations in a share of the others, so that each of them is checked about once in the time of a
lease.

A worker whose row another transaction has locked gets no answer of the ledger and keeps its lease
in dispatch. After a heartbeat has met such a lock, the next ones first ask which rows are locked,
and touch only the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from math import ceil
from uuid import uuid4

from msgspec import Struct

from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger.session import Locked
from leaseq.loop import end, spread
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq.supervisor.protocol import FEW_QUEUES, boottime

SILENT_LEASES = 3
# Leases of one worker that are opened at a time.
OPENED_TOGETHER = 8


class Renewal(Struct, frozen=True):
    """The result of one heartbeat for one worker: when its lease held (boot time, seconds), or why
    it has none."""

    renewed_at: float | None = None
    lease_lost: str | None = None


class LedgerReply(Struct, frozen=True):
    """The answer of the ledger to one heartbeat. `asked`: the workers that it was about. `sent`:
    boot time."""

    asked: frozenset[str]
    still_open: frozenset[str]
    sent: float


class Heartbeat:
    """Renews leases in both stores."""

    def __init__(self, config: Config, stores: Stores, queues: Sequence[str]) -> None:
        self.renewed_at: float | None = None  # boot time, of any worker
        self._config = config
        self._stores = stores
        self._queues = queues
        self._ledger_heard = boottime()
        self._asking: asyncio.Task[LedgerReply] | None = None
        self._is_careful = False  # a row is locked, so that a touch may have to wait for it
        few = len(queues) <= FEW_QUEUES
        self._renewed, self._others = (queues, ()) if few else (queues[:1], tuple(queues[1:]))
        self._turn = 0

    async def open(self, worker_id: str) -> None:
        """Open leases in dispatch, in every queue. A worker starts also while Redis is away."""
        at_once = min(OPENED_TOGETHER, len(self._queues))
        try:
            # First in the home queue, where a reaper looks.
            await self._open(self._queues[0], worker_id)
            await spread(
                self._queues[1:], lambda queue: self._open(queue, worker_id), at_once=at_once
            )
        except ServerUnreachable as error:
            emit("dispatch.unreachable", error=str(error))
            return
        emit("lease.opened", worker_id=worker_id)

    async def _open(self, queue: str, worker_id: str) -> None:
        token, lease = uuid4().hex, self._config.lease_seconds
        await self._stores.leases.open(queue, worker_id=worker_id, lease_seconds=lease, token=token)

    async def beat(self, worker_ids: Sequence[str]) -> dict[str, Renewal]:
        """Renew the leases of these workers; returns a result for each of which something is
        known."""
        if not worker_ids:
            return {}
        reply = await self._touch(worker_ids)
        TALLY.set("leaseq_store_up", reply is not None, "ledger")
        sent = boottime()
        if reply is None and sent - self._ledger_heard > SILENT_LEASES * self._config.lease_seconds:
            return {}
        closed = set() if reply is None else reply.asked - reply.still_open
        renewals = {worker_id: Renewal(lease_lost="the worker was closed") for worker_id in closed}
        alive = [worker_id for worker_id in worker_ids if worker_id not in closed]
        held = await self._renew_in_time(
            alive, may_reopen=reply.still_open if reply is not None else frozenset()
        )
        if reply is not None and self._others and held:
            await self._check_registrations(sorted(held & reply.still_open))
        TALLY.set("leaseq_store_up", bool(held) or not alive, "dispatch")
        reach("beat.renewed")
        for worker_id in alive:
            if worker_id in held:
                renewals[worker_id] = Renewal(renewed_at=sent)
            elif reply is not None and worker_id in reply.still_open:
                renewals[worker_id] = Renewal(renewed_at=reply.sent)
        times = [each.renewed_at for each in renewals.values() if each.renewed_at is not None]
        self.renewed_at = max(times, default=self.renewed_at)
        return renewals

    async def aclose(self) -> None:
        """Stop asking the ledger."""
        if self._asking is not None:
            await end(self._asking)

    async def _touch(self, worker_ids: Sequence[str]) -> LedgerReply | None:
        """Ask the ledger which of these are open. None: it does not answer within a heartbeat.

        A touch that hangs (a frozen server) is not cancelled. It must not hold up the renewal in
        dispatch, and later heartbeats wait for that one alone.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(frozenset(worker_ids)))
        asking = self._asking
        await asyncio.wait([asking], timeout=self._config.heartbeat_seconds)
        if not asking.done():
            return None
        self._asking = None
        try:
            return asking.result()
        except ServerUnreachable as error:
            emit("ledger.unreachable", error=str(error), waiting=0)
            return None

    async def _ask(self, worker_ids: frozenset[str]) -> LedgerReply:
        workers = self._stores.workers
        locked = await workers.find_locked([*worker_ids]) if self._is_careful else set()
        free = worker_ids - locked
        self._is_careful = bool(locked)
        sent = boottime()
        try:
            still_open = await workers.touch([*free]) if free else set()
        except Locked:
            self._is_careful = True
            raise
        self._ledger_heard = sent
        return LedgerReply(free, frozenset(still_open), sent)

    async def _renew_in_time(
        self, worker_ids: Sequence[str], *, may_reopen: AbstractSet[str]
    ) -> set[str]:
        """Renew within a heartbeat, or not at all: a Redis that hangs must not hold up the next
        touch of the ledger."""
        try:
            async with asyncio.timeout(self._config.heartbeat_seconds):
                return await self._renew(worker_ids, may_reopen=may_reopen)
        except TimeoutError:
            emit(
                "dispatch.unreachable",
                queue=",".join(self._queues),
                error="Redis does not answer within a heartbeat",
            )
            return set()

    async def _renew(self, worker_ids: Sequence[str], *, may_reopen: AbstractSet[str]) -> set[str]:
        """The workers whose leases are held: in every queue, or of many queues in the home
        queue."""
        held = set(worker_ids)
        for queue in self._renewed:
            try:
                held -= await self._renew_in(queue, worker_ids, may_reopen=may_reopen)
            except ServerUnreachable as error:
                emit("dispatch.unreachable", queue=queue, error=str(error))
                return set()
        if held:
            emit("lease.renewed", worker_ids=sorted(held))
        return held

    async def _check_registrations(self, worker_ids: Sequence[str]) -> None:
        """Check registrations within a heartbeat, or in a later one: they prove nothing."""
        try:
            async with asyncio.timeout(self._config.heartbeat_seconds):
                await self._register_again(worker_ids)
        except TimeoutError:
            emit("dispatch.unreachable", error="Redis does not answer within a heartbeat")
        except ServerUnreachable as error:
            emit("dispatch.unreachable", error=str(error))

    async def _register_again(self, worker_ids: Sequence[str]) -> None:
        """Check a share of the other queues, and open leases again where Redis has lost them."""
        share = ceil(
            len(self._others) * self._config.heartbeat_seconds / self._config.lease_seconds
        )
        queues = [
            self._others[(self._turn + number) % len(self._others)] for number in range(share)
        ]
        missing = await self._stores.leases.unregistered(queues, worker_ids)
        self._turn = (self._turn + share) % len(self._others)
        if missing:
            await self._stores.ownership.check()  # as for a lease that was lost
        for queue, worker_id in missing:
            emit("lease.lapsed", worker_id=worker_id, queue=queue, answer="missing")
            await self._open(queue, worker_id)
            emit("lease.reopened", worker_id=worker_id, queue=queue)

    async def _renew_in(
        self, queue: str, worker_ids: Sequence[str], *, may_reopen: AbstractSet[str]
    ) -> set[str]:
        """Renew in one queue; returns the workers whose lease was lost there. It is opened again
        where the ledger allows."""
        answers = await self._stores.leases.renew(
            queue, worker_ids, lease_seconds=self._config.lease_seconds
        )
        lost = {worker_id: answer for worker_id, answer in answers.items() if answer != "held"}
        if lost:
            # A Redis that has lost leases may have been taken by another ledger meanwhile.
            await self._stores.ownership.check()
        for worker_id, answer in lost.items():
            emit("lease.lapsed", worker_id=worker_id, queue=queue, answer=answer)
            if worker_id in may_reopen:
                await self.open(worker_id)
                emit("lease.reopened", worker_id=worker_id, queue=queue)
        return set(lost)


__all__ = ["Heartbeat", "Renewal"]
