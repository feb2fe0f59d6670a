"""Split submissions into batches, and note the outcome of each.

Nothing is sent or received here. An item that was refused for a passing reason is sent again, with
its key, until the time for the batch is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from leaseq_http.answers import problem_error
from leaseq_http.calls import BatchOutcome, Call, submit_batch
from leaseq_http.errors import ForeignAnswer, LeaseqHTTPError
from leaseq_http.model import Submitted
from leaseq_http.retrying import may_repeat
from leaseq_http.submission import Submission

# In one request. The service takes ten times as many items, and four times as many bytes.
MOST_ITEMS, MOST_BYTES = 1_000, 4_194_304

Outcome = Submitted | LeaseqHTTPError


class Batch:
    """One batch, until every item has its outcome."""

    def __init__(self, submissions: Sequence[Submission]) -> None:
        self._submissions = submissions
        self._outcomes: dict[int, Outcome] = {}
        self._waiting = list(range(len(submissions)))

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes, in the order of the submissions."""
        return [self._outcomes[place] for place in range(len(self._submissions))]

    @property
    def recorded(self) -> bool:
        """Whether an item is known to be recorded."""
        return any(isinstance(outcome, Submitted) for outcome in self._outcomes.values())

    def call(self) -> Call[list[BatchOutcome]]:
        """Submit the items that have no final outcome."""
        return submit_batch([self._submissions[place] for place in self._waiting])

    def note(
        self, call: Call[list[BatchOutcome]], answers: list[BatchOutcome]
    ) -> LeaseqHTTPError | None:
        """Note the outcomes of a call. Returns an error that passes, if items are to be sent again.
        Raises `ForeignAnswer`."""
        sent = self._waiting
        if not answers or len(answers) > len(sent):
            raise ForeignAnswer(f"{len(answers)} outcomes for {len(sent)} items", status=200)
        self._waiting = []
        passing: LeaseqHTTPError | None = None
        for index, place in enumerate(sent):
            # If the rest could not be read, the last outcome stands for it.
            outcome = _read(answers[min(index, len(answers) - 1)])
            if isinstance(outcome, LeaseqHTTPError):
                outcome.idempotency_key = self._submissions[place].idempotency_key
                if may_repeat(call, outcome):
                    self._waiting.append(place)
                    passing = passing or outcome
            self._outcomes[place] = outcome
        return passing

    def fail(self, error: LeaseqHTTPError) -> None:
        """Note that the items without an outcome end with this error."""
        for place in self._waiting:
            self._outcomes.setdefault(place, error)
        self._waiting = []


def split(submissions: Iterable[Submission]) -> Iterator[Batch]:
    """The batches, in order."""
    found: list[Submission] = []
    size = 0
    for submission in submissions:
        length = len(submission.item) + 1
        if found and (len(found) == MOST_ITEMS or size + length > MOST_BYTES):
            yield Batch(found)
            found, size = [], 0
        found.append(submission)
        size += length
    if found:
        yield Batch(found)


def _read(outcome: BatchOutcome) -> Outcome:
    if outcome.task is not None:
        return msgspec.structs.replace(
            outcome.task, replayed=outcome.replayed, deduplicated=outcome.deduplicated
        )
    if outcome.problem is not None and "code" in outcome.problem:
        return problem_error(outcome.problem, status=outcome.status)
    return ForeignAnswer(
        f"an outcome with neither a task nor a problem: status {outcome.status}",
        status=outcome.status,
    )


__all__ = ["MOST_BYTES", "MOST_ITEMS", "Batch", "Outcome", "split"]
