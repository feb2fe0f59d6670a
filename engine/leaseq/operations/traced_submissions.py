"""Submit within a span, whose context the tasks carry.

Only an engine of a process that traces has this in front of its methods. It decides nothing: a task
is submitted as without it, with two headers more. A fingerprint knows no headers, so a client that
tries again in another span gets the same task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from leaseq.ledger.session import Connection
from leaseq.model import Submission, Submitted
from leaseq.observability.tracing import Tracing

Submit = Callable[[Submission], Awaitable[Submitted]]
SubmitWithin = Callable[[Submission, Connection], Awaitable[Submitted]]
SubmitMany = Callable[[Sequence[Submission]], Awaitable[list[Submitted | BaseException]]]


class Submissions(Protocol):
    """The ways to submit. The engine has them, with or without spans."""

    async def submit(self, submission: Submission) -> Submitted: ...

    async def submit_within(self, submission: Submission, conn: Connection) -> Submitted: ...

    async def submit_many(self, batch: Sequence[Submission]) -> list[Submitted | BaseException]: ...


class TracedSubmissions:
    """The same in spans."""

    def __init__(self, submissions: Submissions, tracing: Tracing) -> None:
        self._submissions = submissions
        self._tracing = tracing

    async def submit(self, submission: Submission) -> Submitted:
        with self._tracing.submitting([submission]) as span:
            (carried,) = span.carried()
            submitted = await self._submissions.submit(carried)
            span.answered([submitted])
            return submitted

    async def submit_within(self, submission: Submission, conn: Connection) -> Submitted:
        with self._tracing.submitting([submission]) as span:
            (carried,) = span.carried()
            submitted = await self._submissions.submit_within(carried, conn)
            span.answered([submitted])
            return submitted

    async def submit_many(self, batch: Sequence[Submission]) -> list[Submitted | BaseException]:
        with self._tracing.submitting(batch) as span:
            answers = await self._submissions.submit_many(span.carried())
            span.answered(answers)
            return answers


__all__ = ["Submissions", "Submit", "SubmitMany", "SubmitWithin", "TracedSubmissions"]
