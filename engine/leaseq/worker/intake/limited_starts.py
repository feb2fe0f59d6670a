"""Take tokens for claimed tasks whose limits have a rate.

A token is taken at the start and not at the admission: tasks that were admitted while no worker was there
start within the rate, too, and so does one that starts again after its worker was killed. A task without
a token is handed back, and waits in its line again. A worker that dies after its tokens were taken has
used them. Tasks whose limits have no rate cost nothing here.
"""

from __future__ import annotations

from msgspec.structs import replace

from leaseq.errors import ServerUnreachable
from leaseq.ledger.limits import MOST_WAIT_SECONDS, LimitLedger
from leaseq.limits import RATED
from leaseq.loop import Pauses, Retries
from leaseq.model import ClaimedTask
from leaseq.observability.telemetry import emit

PAUSES = Pauses(0.2, growth=2.0, cap=1.0)
# Statements for one batch. The tasks of its other limits wait for them.
TRIES = 3


class LimitedStarts:
    """The starts of one worker."""

    def __init__(self, ledger: LimitLedger) -> None:
        self._ledger = ledger

    async def take_tokens(self, claimed: list[ClaimedTask]) -> list[ClaimedTask]:
        """The same tasks; those that may not start yet say so (`token_in`)."""
        rated = [
            task.claim
            for task in claimed
            if task.claim.traits and task.claim.traits & RATED and not task.expired
        ]
        if not rated:
            return claimed
        waits = dict.fromkeys([claim.task_id for claim in rated], MOST_WAIT_SECONDS)
        retries = Retries(PAUSES)
        for _ in range(TRIES):
            try:
                waits = await self._ledger.start(rated)
                break
            except ServerUnreachable as error:
                emit("ledger.unreachable", error=str(error), waiting=len(rated))
                await retries.wait(error)
        return [
            replace(task, token_in=wait)
            if (wait := waits.get(task.claim.task_id, 0.0)) > 0
            else task
            for task in claimed
        ]


__all__ = ["LimitedStarts"]
