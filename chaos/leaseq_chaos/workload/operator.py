"""Erase tasks and free idempotency keys after the drain, as an operator does.

Only now, because nothing else may change what the other checkers compare: the commits are no longer
read, and the snapshot is taken. The tasks have lived through the faults of the run. Half of the
tasks with a mark are erased, and the others show that a search for marks finds them.

Invariants: each request is in the history, with whether it has to be granted; a request without an
answer is repeated, which each of these is safe for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from leaseq.model import TERMINAL
from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.evidence import Erased, Found, Recorded, Snapshot, Tombstones
from leaseq_chaos.history import Kind, Recorder
from leaseq_chaos.workload.front import Front, Reply, open_session
from leaseq_chaos.workload.payloads import MARKED, mark_of

__all__ = ["operate"]

MOST_ERASED, MOST_FREED = 60, 6
TRIES = 20
PAUSE_SECONDS = 0.2
FREEABLE = ("FAILED", "CANCELLED")
# These tasks are not to run: no checker expects them.
WAITING = msgspec.json.encode({"type": "later", "payload": {"n": 0}, "delay_seconds": 3600})

Row = Mapping[str, Any]


async def operate(cluster: Cluster, snapshot: Snapshot, recorder: Recorder) -> Tombstones:
    """Make all requests, then read the tasks, the marks and the operations from the ledger."""
    marked = [
        row
        for row in snapshot.tasks
        if row["type"] in MARKED and row["state"] in TERMINAL and row["idempotency_key"]
    ]
    erased, kept = marked[::2][:MOST_ERASED], marked[1::2]
    async with open_session() as session:
        operator = Operator(Front(session, cluster.fronts, first=0, keys=cluster.keys), recorder)
        for row in erased:
            await operator.erase(row["task_id"], _tenant(row), fit=True)
        freed = [row for row in kept if row["state"] in FREEABLE][:MOST_FREED]
        for row in freed:
            await operator.free(row)
        running = await operator.try_unfit(
            [row for row in kept if row["state"] not in FREEABLE][:1], tenants=cluster.keys
        )
    postgres = cluster.postgres
    ids = {"ids": [*(row["task_id"] for row in (*erased, *kept)), *running]}
    return Tombstones(
        marks={row["task_id"]: mark_of(_number(row)) for row in marked},
        erased=[Erased(*row) for row in await postgres.fetch("list_operated", ids)],
        found=[Found(*row) for row in await postgres.fetch("find_contents")],
        operations=[Recorded(*row) for row in await postgres.fetch("list_operations", ids)],
        labelled=[row[0] for row in await postgres.fetch("list_labelled")],
    )


class Operator:
    """The requests, one after the other."""

    def __init__(self, front: Front, recorder: Recorder) -> None:
        self._front = front
        self._recorder = recorder

    async def erase(self, task: str, tenant: str, *, fit: bool) -> None:
        """Erase a task, twice: the second time changes nothing."""
        for _ in range(2):
            await self._ask("erase", task, partial(self._front.erase, task, tenant=tenant), fit)

    async def free(self, row: Row) -> None:
        """Free the key of a task, use it again, and repeat both: the second time changes nothing."""
        task, tenant, key = row["task_id"], _tenant(row), row["idempotency_key"]
        submit = partial(self._front.submit, WAITING, key=key, tenant=tenant)
        for _ in range(2):
            await self._free(task, tenant, fit=True)
            await self._ask("resubmit", task, submit, True)

    async def try_unfit(self, succeeded: Sequence[Row], *, tenants: Mapping[str, str]) -> list[str]:
        """Ask for what must be refused, of tasks that have succeeded and of some that wait. Returns
        the latter."""
        for row in succeeded:
            await self._free(row["task_id"], _tenant(row), fit=False)
        waiting = []
        for tenant in tenants:
            key = f"operator-{tenant}"
            reply = await self._answer(partial(self._front.submit, WAITING, key=key, tenant=tenant))
            if reply.seen is not None:
                waiting.append(reply.seen.task_id)
                await self.erase(reply.seen.task_id, tenant, fit=False)
                await self._free(reply.seen.task_id, tenant, fit=False)
        return waiting

    async def _free(self, task: str, tenant: str, *, fit: bool) -> None:
        freeing = partial(self._front.free_key, task, tenant=tenant)
        await self._ask("free-key", task, freeing, fit)

    async def _ask(
        self, op: str, task: str, send: Callable[[], Awaitable[Reply]], fit: bool
    ) -> None:
        self._recorder.note(Kind.INVOKE, op, task=task, value={"fit": fit})
        reply = await self._answer(send)
        seen = (
            {} if reply.seen is None else {"task": reply.seen.task_id, "replayed": reply.replayed}
        )
        self._recorder.note(reply.kind, op, task=task, value={"fit": fit} | reply.said | seen)

    async def _answer(self, send: Callable[[], Awaitable[Reply]]) -> Reply:
        for _ in range(TRIES):
            reply = await send()
            if reply.kind is not Kind.INFO:
                break
            self._front.move_on()
            await asyncio.sleep(PAUSE_SECONDS)
        return reply


def _number(row: Row) -> str:
    """The number of a task in its plan, which its key ends with."""
    return str(row["idempotency_key"]).rpartition("-")[2]


def _tenant(row: Row) -> str:
    return str(row["tenant"])
