"""Submissions whose idempotency key an open transaction elsewhere holds.

They wait for that transaction apart from all others: a batch that waited with them would make every
caller of this process wait. A key that was held a moment ago is taken to be held still, so that its
next submissions do not even enter a batch.

Invariants: at most AT_ONCE of them occupy a connection, in turns of their tenants. Past MAX_WAITS of
one tenant that wait here, a caller of it gets `IdempotencyInFlight` immediately, the same answer that
it would get after the wait.
"""

from __future__ import annotations

from collections import Counter
from time import monotonic

from leaseq.errors import IdempotencyInFlight
from leaseq.fair_turns import FairTurns
from leaseq.model import Submission, Submitted
from leaseq.operations.submit import MAX_WAITS, Submitter
from leaseq.uniqueness import UniqueKey

REMEMBER_SECONDS = 1.0
AT_ONCE = 2
MOST_KEYS = 1000

Key = tuple[str, str | None, str | None, UniqueKey | None]


class HeldKeys:
    """Remembers keys that are held, and submits what waits for them."""

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._until: dict[Key, float] = {}
        self._turns = FairTurns(AT_ONCE)
        self._waiting: Counter[str] = Counter()

    def knows(self, submission: Submission) -> bool:
        """Whether its key was held a moment ago."""
        return bool(self._until) and self._until.get(_key(submission), 0.0) > monotonic()

    async def submit(self, submission: Submission) -> Submitted:
        """Wait for the key, not for long. Raises `IdempotencyInFlight` where it is held still."""
        self._remember(submission)
        tenant = submission.tenant
        if self._waiting[tenant] >= MAX_WAITS:
            raise IdempotencyInFlight
        self._waiting[tenant] += 1
        try:
            async with self._turns.turn(tenant):
                (answer,) = await self._submitter.write([submission])
        finally:
            self._waiting[tenant] -= 1
        if isinstance(answer, IdempotencyInFlight):
            self._remember(submission)
        else:
            self._until.pop(_key(submission), None)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _remember(self, submission: Submission) -> None:
        now = monotonic()
        if len(self._until) >= MOST_KEYS:
            self._until = {key: until for key, until in self._until.items() if until > now}
        if len(self._until) < MOST_KEYS:
            self._until[_key(submission)] = now + REMEMBER_SECONDS


def _key(submission: Submission) -> Key:
    return submission.tenant, submission.idempotency_key, submission.type, submission.unique


__all__ = ["HeldKeys"]
