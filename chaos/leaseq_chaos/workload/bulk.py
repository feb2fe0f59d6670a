"""Cancel and redrive many tasks by a filter while faults happen.

The tasks of both operations are of this client alone: no other client submits their types to their
queue. Each operation has a rate at which it takes several seconds, so that faults meet its steps.
Tasks that match the filter and are submitted after the preview do not belong to its set.

Invariants: a request without an answer is repeated with the id of the preview, which starts one
operation. The history has the set of each operation, the tasks beside it, and its last report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leaseq_chaos.history import Kind, Recorder
from leaseq_chaos.workload.client import Client, Counts
from leaseq_chaos.workload.front import Front
from leaseq_chaos.workload.payloads import mark_of
from leaseq_chaos.workload.plan import TENANTS, Operation, labels_of

__all__ = ["BULK_QUEUE", "BulkClient"]

BULK_QUEUE = "side"
TENANT = TENANTS[0]
# Tasks of a set, and those beside it. Their numbers are beyond those of every plan.
MANY, FEW = 40, 8
FIRST_NUMBER = 10_000_000
RATE = 8.0  # tasks a second
WAITING_SECONDS = 3600.0
POLL_SECONDS = 0.2


class Set(Struct, frozen=True, kw_only=True):
    """The tasks of one operation."""

    action: str
    type: str
    first: int  # the number of its first task
    delay_seconds: float | None = None


REDRIVE = Set(action="redrive", type="refuse", first=FIRST_NUMBER)
# They wait for an hour, so that nothing but a cancel ends them.
CANCEL = Set(action="cancel", type="note", first=FIRST_NUMBER + 1000, delay_seconds=WAITING_SECONDS)


class BulkClient:
    """The operator of a storm."""

    def __init__(self, front: Front, recorder: Recorder, *, seed: int) -> None:
        self._front = front
        self._recorder = recorder
        self._seed = seed
        self._client = Client(front, recorder, Counts())

    async def run(self) -> None:
        """Make both operations, one after the other, and follow each to its end."""
        for wanted in (REDRIVE, CANCEL):
            await self._operate(wanted)

    async def _operate(self, wanted: Set) -> None:
        inside = self._operations(wanted, range(MANY))
        # Without a delay: they run, so that the operation could reach them.
        beside = [
            replace(each, delay_seconds=None)
            for each in self._operations(wanted, range(MANY, MANY + FEW))
        ]
        await self._client.run(inside)
        if wanted.action == "redrive":
            await self._until_failed(self._tasks(inside))
        preview = await self._ask("/preview", _filter(wanted))
        said: dict[str, Any] = {
            "action": wanted.action,
            "operation": preview["operation_id"],
            "count": preview["count"],
            "set": self._tasks(inside),
        }
        for task in said["set"]:
            # Of each that has no answer of its own: the operation may reach it at any time.
            self._recorder.note(Kind.INVOKE, wanted.action, task=task)
        self._recorder.note(Kind.INVOKE, "bulk", value=said)
        await self._start(wanted, preview)
        await self._client.run(beside)
        said["beside"] = self._tasks(beside)
        # The last report where the run is over before the operation.
        self._recorder.note(Kind.INFO, "bulk", value=said)
        report = await self._follow(wanted, preview)
        self._recorder.note(Kind.OK, "bulk", value=said | report)

    def _operations(self, wanted: Set, numbers: range) -> list[Operation]:
        return [
            Operation(
                at=0.0,
                client=0,
                type=wanted.type,
                payload={"mark": mark_of(wanted.first + number)}
                if wanted.type == "refuse"
                else {"n": wanted.first + number},
                key=f"bulk{self._seed}-{wanted.first + number}",
                tenant=TENANT,
                queue=BULK_QUEUE,
                delay_seconds=wanted.delay_seconds,
                priority="high",  # or they would wait behind the backlog of the run
                labels=labels_of(wanted.first + number),
            )
            for number in numbers
        ]

    def _tasks(self, operations: list[Operation]) -> list[str]:
        accepted = self._client.accepted
        return [accepted[each.key] for each in operations if each.key in accepted]

    async def _until_failed(self, tasks: list[str]) -> None:
        """Wait until each of these is FAILED, or was lost by a failover."""
        for task in tasks:
            while True:
                reply = await self._front.read(task, tenant=TENANT)
                if reply.seen is not None and reply.seen.state == "FAILED":
                    break
                if reply.said.get("code") == "task_not_found":
                    break
                if reply.kind is Kind.INFO:
                    self._front.move_on()
                await asyncio.sleep(POLL_SECONDS)

    async def _start(self, wanted: Set, preview: Mapping[str, Any]) -> None:
        body = _filter(wanted) | {
            "operation_id": preview["operation_id"],
            "as_of": preview["as_of"],
            "rate": RATE,
        }
        await self._ask("", body)

    async def _follow(self, wanted: Set, preview: Mapping[str, Any]) -> dict[str, Any]:
        """The last report. An operation that a failover has lost is started again."""
        while True:
            found = await self._ask(f"/{preview['operation_id']}", None)
            if not found:
                await self._start(wanted, preview)
            elif found["state"] == "done":
                return {name: found[name] for name in ("state", "total", "done", "refused")}
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The answer. Asks until there is one; empty: the operation is not known."""
        while True:
            reply = await self._front.operate(path, body, tenant=TENANT)
            if reply.kind is Kind.OK:
                return reply.content
            if reply.said.get("code") == "operation_not_found":
                return {}
            self._front.move_on()
            await asyncio.sleep(POLL_SECONDS)


def _filter(wanted: Set) -> dict[str, Any]:
    return {"action": wanted.action, "filter": {"queue": BULK_QUEUE, "type": wanted.type}}
