"""Measure the time until the tasks of a killed process are back, and run again.

Killed while many tasks run, with SIGKILL, and measured in the ledger, by the clock of Postgres:
from the kill to the moment when the last of the lost tasks was back in its queue, which is
promised, and to its next start, for which a slot has to be free.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import monotonic

from msgspec import Struct

from examples.demo.ledger import Ledger
from examples.demo.processes import Service, kill

MANY = 10
BUSY_SECONDS = 10.0
POLL_SECONDS = 0.02
RECOVERY_SECONDS = 30.0


class Kill(Struct, frozen=True):
    """The killed process, and the number of tasks that ran in it. `workers` are its workers in
    the ledger."""

    pids: list[int]
    workers: list[str]
    running: int
    killed_at: datetime


class Recovery(Struct, frozen=True):
    """How many attempts were lost with it; after how many seconds all their tasks were back in the
    queue, and ran again."""

    lost: int
    returned: float
    restarted: float

    def __str__(self) -> str:
        return f"{self.lost} tasks back in the queue after {self.returned:.2f} s, running again after {self.restarted:.2f} s"


async def kill_busy(ledger: Ledger, worker: Service, *, whole: bool) -> Kill:
    """Wait until the worker is busy, then kill its child, or all of it."""
    give_up = monotonic() + BUSY_SECONDS
    running = await ledger.open_workers(worker.pid)
    while sum(running.values()) < MANY and monotonic() < give_up:
        await asyncio.sleep(POLL_SECONDS)
        running = await ledger.open_workers(worker.pid)
    if whole:
        pids = worker.kill_whole()
    else:
        pids = worker.children()[:1]
        kill(pids[0])
    return Kill(pids, list(running), sum(running.values()), await ledger.now())


async def recovered(ledger: Ledger, killed: Kill) -> Recovery:
    """Wait until every task that was lost has been started again; stops after RECOVERY_SECONDS."""
    give_up = monotonic() + RECOVERY_SECONDS
    while True:
        found = await ledger.recovery(killed.workers, killed.killed_at)
        if found.still_held == 0 and found.lost == found.restarted >= min(killed.running, 1):
            return Recovery(found.lost, found.return_seconds, found.restart_seconds)
        if monotonic() > give_up:
            return Recovery(found.lost, RECOVERY_SECONDS, RECOVERY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)


async def finished(ledger: Ledger, killed: Kill) -> None:
    """Wait until every task that was lost has ended, so that none of them meets a second kill.

    One that did would be a suspect, and run apart from the others: that is for poison tasks, not
    for this demo.
    """
    give_up = monotonic() + RECOVERY_SECONDS
    found = await ledger.recovery(killed.workers, killed.killed_at)
    while found.finished < found.lost and monotonic() < give_up:
        await asyncio.sleep(POLL_SECONDS)
        found = await ledger.recovery(killed.workers, killed.killed_at)
