"""How long does it take until the tasks of a killed process run again?

Killed while many tasks run, with SIGKILL, and measured in the ledger: from the kill, by the clock of Postgres, to the moment
when the last of the lost tasks was started again.
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
    """What was killed, while how many tasks ran in it. `workers` are its incarnations in the ledger."""

    pids: list[int]
    workers: list[str]
    running: int
    killed_at: datetime


class Recovery(Struct, frozen=True):
    """How many attempts were lost with it, and after how many seconds the last of their tasks was running again."""

    lost: int
    seconds: float


async def kill_busy(ledger: Ledger, worker: Service, *, whole: bool) -> Kill:
    """Wait until the worker is busy, then kill its child, or all of it."""
    give_up = monotonic() + BUSY_SECONDS
    incarnations = await ledger.incarnations(worker.pid)
    while sum(incarnations.values()) < MANY and monotonic() < give_up:
        await asyncio.sleep(POLL_SECONDS)
        incarnations = await ledger.incarnations(worker.pid)
    if whole:
        pids = worker.kill_whole()
    else:
        pids = worker.children()[:1]
        kill(pids[0])
    return Kill(pids, list(incarnations), sum(incarnations.values()), await ledger.now())


async def recovered(ledger: Ledger, killed: Kill) -> Recovery:
    """Wait until every task that was lost has been started again; in vain, if that takes longer than RECOVERY_SECONDS."""
    give_up = monotonic() + RECOVERY_SECONDS
    while True:
        found = await ledger.recovery(killed.workers, killed.killed_at)
        if found.still_held == 0 and found.lost == found.restarted >= min(killed.running, 1):
            return Recovery(found.lost, max(found.seconds, 0.0))
        if monotonic() > give_up:
            return Recovery(found.lost, RECOVERY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)


async def finished(ledger: Ledger, killed: Kill) -> None:
    """Wait until every task that was lost has ended, so that none of them meets a second kill.

    One that did would be a suspect, and run apart from the others: that is for poison tasks, not for this demo.
    """
    give_up = monotonic() + RECOVERY_SECONDS
    found = await ledger.recovery(killed.workers, killed.killed_at)
    while found.finished < found.lost and monotonic() < give_up:
        await asyncio.sleep(POLL_SECONDS)
        found = await ledger.recovery(killed.workers, killed.killed_at)
