"""Run one cell of the sweep.

Arm the point, submit tasks, provoke what leads there, wait until a process stands there, do the
action, wait until everything has ended; then look into both stores. Invariant: every frozen, paused
or armed thing is released afterwards.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from time import monotonic
from typing import Any

import aiohttp
from msgspec import Struct

from leaseq.codec import new_task_id
from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import send
from leaseq_chaos.snapshot import drain, read_lanes
from leaseq_chaos.sweep.grid import Action, Cell, Provocation
from leaseq_chaos.sweep.noted import Noted
from leaseq_chaos.sweep.outcome import COUNTED, Found, Outcome, Row, complaints
from leaseq_chaos.sweep.submitter import TASKS, Submitter
from leaseq_chaos.sweep.trap import Caught, Trap
from leaseq_chaos.verdict import Verdict, merged

__all__ = ["Bench", "run_cell"]

QUEUES = ("default", "side")  # of the handlers
CLAIMED = "attempt.starting"  # a process at this point holds claimed tasks
REACH_SECONDS = 15.0
DRAIN_SECONDS = 40.0
# A loss may be repaired so quickly that no process reaches the point: then it is repeated.
FLUSH_SECONDS, FLUSHES = 2.0, 8
PLACED_SECONDS = 5.0
PAUSE_SECONDS = 0.5
POLL_SECONDS = 0.05
BY_ITSELF = {Action.KILL, Action.ERROR, Action.LOST}


class Bench(Struct, frozen=True):
    """Where cells are tried, one after the other."""

    cluster: Cluster
    session: aiohttp.ClientSession
    noted: Noted


async def run_cell(bench: Bench, cell: Cell) -> Outcome:
    """Try one cell, once everything that the last one has broken is up again."""
    await bench.cluster.postgres.ready()
    await asyncio.gather(*(service.ready() for service in bench.cluster.services.values()))
    return await Experiment(bench, cell).run()


class Experiment:
    """One cell on its bench."""

    def __init__(self, bench: Bench, cell: Cell) -> None:
        self._cluster = bench.cluster
        self._noted = bench.noted
        self._session = bench.session
        self._cell = cell
        self._trap = Trap(bench.cluster, cell.point)
        self._submitter = Submitter(bench.session, bench.cluster.fronts, cell)
        self._submitting: asyncio.Task[None] | None = None
        self._steering: asyncio.Task[None] | None = None

    async def run(self) -> Outcome:
        began, heard, cents = monotonic(), self._heard(), await self._cents()
        try:
            caught = await self._happen()
            for begun in (self._submitting, self._steering):
                if begun is not None:
                    await begun
        finally:
            for begun in (self._submitting, self._steering):
                if begun is not None:
                    begun.cancel()  # where something broke off
        drained, _ = await drain(self._cluster, patience=DRAIN_SECONDS)
        said = complaints(self._cell, await self._find(drained=drained, cents=cents), tasks=TASKS)
        verdict = Verdict.INVALID if said else Verdict.VALID
        if caught is None:
            said.append(f"no process reached {self._cell.point}")
            verdict = merged([verdict, Verdict.UNKNOWN])
        return Outcome(
            cell=self._cell,
            verdict=verdict,
            reached_by="" if caught is None else caught.name,
            seconds=round(monotonic() - began, 2),
            complaints=said,
            counts=dict(sorted((self._heard() - heard).items())),
        )

    async def _happen(self) -> Caught | None:
        """Bring a process to the point, and perform the action there."""
        caught: Caught | None = None
        try:
            caught = await self._spring()
            if caught is not None:
                await self._act(caught)
        finally:
            self._trap.release(caught)
            if self._cell.place.provocation in (Provocation.FLUSH, Provocation.CROWD):
                await self._steer("resume")
            if self._cell.place.provocation is Provocation.SCHEDULE:
                await self._schedule("delete")
        return caught

    async def _spring(self) -> Caught | None:
        """Bring a process to the point."""
        match self._cell.place.provocation:
            case Provocation.NOTHING | Provocation.DELAY | Provocation.LIMIT | Provocation.UNIQUE:
                self._arm()
                self._begin()
            case Provocation.OPERATION:
                self._arm()
                self._begin()
                self._steering = asyncio.create_task(self._steer("resume"))
            case Provocation.BULK:
                self._arm()
                self._begin()
                self._steering = asyncio.create_task(self._operate())
            case Provocation.SCHEDULE:
                self._arm()
                self._begin()
                self._steering = asyncio.create_task(self._schedule("put"))
            case Provocation.FAILURE:
                self._arm()
                self._begin()
                self._steering = asyncio.create_task(self._fail())
            case Provocation.FLUSH:
                return await self._lose_deliveries()
            case Provocation.CROWD:
                await self._crowd()
                self._arm()
                await self._steer("resume")
            case provocation:
                await self._kill_with_tasks(provocation)
        return await self._trap.caught(timeout=REACH_SECONDS)

    def _arm(self) -> None:
        self._trap.arm(self._cell.action if self._cell.action in BY_ITSELF else "stop")

    def _begin(self) -> None:
        self._submitting = asyncio.create_task(self._submitter.submit_all())

    async def _kill_with_tasks(self, provocation: Provocation) -> None:
        """Kill a child, or its whole worker, while it holds claimed tasks."""
        door = Trap(self._cluster, CLAIMED)
        door.arm("stop")
        self._begin()
        holder = await door.caught(timeout=REACH_SECONDS)
        self._arm()
        if holder is not None:
            if provocation is not Provocation.CHILD and holder.service is not None:
                holder.service.kill(children=True)
            send(holder.pid, signal.SIGKILL)
        if provocation is Provocation.ORPHANS:
            await self._flush()
        door.release(None)

    async def _crowd(self) -> None:
        """Let all tasks wait: as many as a lane holds in dispatch, and the others in the ledger."""
        await self._steer("pause")
        # A reaper that has read the queues a moment before undoes the pause, once (reconcile.py),
        # so it is repeated.
        await asyncio.sleep(PAUSE_SECONDS)
        await self._steer("pause")
        self._begin()
        until = monotonic() + PLACED_SECONDS
        while monotonic() < until:
            if any(lane.key.endswith(":backlog") for lane in await read_lanes(self._cluster)):
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _lose_deliveries(self) -> Caught | None:
        await self._crowd()
        self._arm()
        for _ in range(FLUSHES):
            await self._flush()
            caught = await self._trap.caught(timeout=FLUSH_SECONDS)
            if caught is not None:
                return caught
        return None

    async def _steer(self, verb: str) -> None:
        """Pause or resume the queues, as soon as an API can."""
        async with asyncio.timeout(REACH_SECONDS):
            for queue in QUEUES:
                await self._post(f"/api/queues/{queue}/{verb}")

    async def _operate(self) -> None:
        """Start an operation on a task that does not exist, as soon as an API can."""
        body = {
            "operation_id": new_task_id(),
            "action": "cancel",
            "filter": {"ids": [new_task_id()]},
        }
        async with asyncio.timeout(REACH_SECONDS):
            await self._post("/api/operations", json=body)

    async def _fail(self) -> None:
        """Submit a task that fails, as soon as an API can."""
        async with asyncio.timeout(REACH_SECONDS):
            await self._post("/api/tasks", json={"type": "refuse", "payload": {}})

    async def _schedule(self, method: str) -> None:
        """Put a schedule that is due each second, or delete it, as soon as an API can."""
        body = {"type": "plain", "payload": {"n": 0}, "every_seconds": 1}
        content = {"json": body} if method == "put" else {}
        async with asyncio.timeout(REACH_SECONDS):
            await self._send(method, "/api/schedules/sweep", **content)

    async def _post(self, path: str, **content: Any) -> None:
        await self._send("post", path, **content)

    async def _send(self, method: str, path: str, **content: Any) -> None:
        while True:
            try:
                url = self._cluster.fronts[0] + path
                async with self._session.request(method, url, **content) as response:
                    if response.ok or response.status == 404:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(POLL_SECONDS)

    async def _act(self, caught: Caught) -> None:
        """The events while the process stands there."""
        match self._cell.action:
            case Action.STOP:
                self._trap.freeze(caught)
                await asyncio.sleep(2 * self._cluster.lease_seconds)
            case Action.POSTGRES:
                await self._cluster.postgres.restart("immediate")
            case Action.VALKEY:
                await self._cluster.valkey.kill()
                await self._cluster.valkey.start()
            case Action.FLUSHALL:
                await self._flush()
            case _:
                pass  # it has done it to itself

    async def _flush(self) -> None:
        async with self._cluster.valkey.client() as client:
            await client.flushall()

    async def _find(self, *, drained: bool, cents: int) -> Found:
        rows = await self._cluster.postgres.fetch("list_cell", {"prefix": self._submitter.prefix})
        lists = [lane.key for lane in await read_lanes(self._cluster) if lane.type == "list"]
        return Found(
            acknowledged=self._submitter.acknowledged,
            refused=self._submitter.refused,
            rows=[Row(*row) for row in rows],
            noted=self._noted.news(),
            drained=drained,
            # After the drain, a stale worker may still put a delivery back into its own list;
            # parked values stay.
            leftovers=[name for name in lists if not drained or name.endswith(":parked")],
            cents_changed=await self._cents() - cents,
        )

    async def _cents(self) -> int:
        ((cents,),) = await self._cluster.postgres.fetch("sum_accounts")
        return int(cents or 0)

    def _heard(self) -> Counter[str]:
        """How often the services have logged the counted events."""
        heard: Counter[str] = Counter()
        for service in self._cluster.services.values():
            for event, heading in COUNTED.items():
                heard[heading] += service.heard[event]
        return heard
