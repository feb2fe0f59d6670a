"""Record a batch of submissions, with an answer for each caller.

A key stands for one task, however often it is submitted. The key row and the task row are written
by one statement. A submission that finds its key taken waits a moment for the other transaction to
end (Postgres does that), then looks the key up; if the key has expired, or was pruned in between,
it starts over. An error in one submission is raised to its caller alone.

Where commits wait for a standby, an answer that was only read waits too: the standby may not have
it, and a failover would take back an acknowledged submission.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from leaseq.errors import (
    IdempotencyInFlight,
    IdempotencyKeyReused,
    ServerUnreachable,
    SubmissionInvalid,
)
from leaseq.failpoints import reach
from leaseq.ledger.session import Connection, Locked
from leaseq.ledger.tasks import PATIENCE_SECONDS, TaskLedger
from leaseq.lifecycle import lane_of
from leaseq.model import Lane, Submission, Submitted
from leaseq.observability.telemetry import emit
from leaseq.operations.unique_submit import UniqueSubmitter

Answer = Submitted | BaseException
# Records submissions, and waits so many seconds for a key that is held.
Record = Callable[[list[Submission], float], Awaitable[dict[str, Submitted | None]]]

# A batch of many callers waits for so long, and is then divided, until the submissions whose keys
# are held stand alone.
HASTE_SECONDS = 0.02
# Each key in flight is waited for; past this many in a batch the rest gets `IdempotencyInFlight`
# without another look.
MAX_WAITS = 8


class KeyHeld(IdempotencyInFlight):
    """An open transaction elsewhere holds the key, and this submission has not waited for it
    yet."""


class Submitter:
    """Writes batches of submissions to the ledger."""

    def __init__(self, ledger: TaskLedger, *, retention_seconds: float) -> None:
        self._ledger = ledger
        self._retention = retention_seconds
        self._uniques = UniqueSubmitter(ledger, self, retention_seconds=retention_seconds)

    async def write(
        self, batch: Sequence[Submission], *, conn: Connection | None = None, haste: bool = False
    ) -> list[Answer]:
        """Record a batch; one answer for each, in order: the task that was created or found, or the
        error.

        With `haste` keys that are held are hardly waited for. Then it raises `KeyHeld`, and some
        may be recorded.
        """
        answers: dict[str, Answer] = {}
        open_ones = list(batch)
        uniques = [s for s in batch if s.unique is not None]
        if uniques:
            await self._uniques.write(uniques, answers, conn, haste=haste)
            open_ones = [s for s in batch if s.unique is None]
        for _ in range(3):
            if not open_ones:
                break
            open_ones = await self._round(open_ones, answers, conn, haste=haste)
        for submission in open_ones:
            answers[submission.task_id] = IdempotencyInFlight()
        return [answers[submission.task_id] for submission in batch]

    async def _round(
        self,
        batch: list[Submission],
        answers: dict[str, Answer],
        conn: Connection | None,
        *,
        haste: bool,
    ) -> list[Submission]:
        """One try; returns those whose key vanished between the insert and the look."""
        leaders, followers = _split(batch)
        record = partial(self._record, conn=conn)
        created = await self.insert(leaders, answers, record, alone=conn is not None, haste=haste)
        if len(created) == len(batch) and None not in created.values():  # nearly every round
            answers.update(created)  # type: ignore[arg-type]
            return []
        answers |= {
            task_id: submitted for task_id, submitted in created.items() if submitted is not None
        }
        rest = followers + [s for s in leaders if s.task_id not in answers]
        if not rest:
            return []
        keyless = [s for s in rest if s.idempotency_key is None]
        if keyless:
            await self._find_again(keyless, answers)
            await self.confirm(keyless, answers, conn)
        keyed = [(s, (s.tenant, s.idempotency_key)) for s in rest if s.idempotency_key is not None]
        if keyed:
            await self.answer_keyed(keyed, answers, conn)
        return [s for s in rest if s.task_id not in answers]

    async def answer_keyed(
        self,
        keyed: list[tuple[Submission, tuple[str, str]]],
        answers: dict[str, Answer],
        conn: Connection | None,
    ) -> None:
        """Answer submissions with the tasks that their keys stand for, and delete expired keys."""
        found = await self._ledger.find_keys(list({key for _, key in keyed}), conn=conn)
        known = [(submission, found[key]) for submission, key in keyed if key in found]
        for submission, taken in known:
            answers[submission.task_id] = _judge(submission, taken.fingerprint, taken.submitted)
        if any(taken.on_standbys for taken in found.values()):
            await self.confirm([submission for submission, _ in known], answers, conn)
        gone = sorted({key for _, key in keyed if key not in found})
        if gone:
            await self._ledger.expire_keys(gone, conn=conn)

    async def write_hastily(self, batch: Sequence[Submission]) -> list[Answer]:
        """The same for a batch of many callers, who must not wait for the key of one. Such a key is
        answered with `KeyHeld`."""
        keyed = [s for s in batch if s.idempotency_key is not None or s.unique is not None]
        if not keyed:
            return await self.write(batch)
        try:
            return await self.write(batch, haste=True)
        except Locked:  # not by a key, and perhaps only for a moment
            return await self.write(batch)
        except KeyHeld:
            if len(batch) == 1:
                return [KeyHeld()]
        # Those without keys go first, and half of a half finds the one that is held.
        keyless = [s for s in batch if s.idempotency_key is None and s.unique is None]
        middle = len(keyed) // 2
        answers: dict[str, Answer] = {}
        for part in (keyless, keyed[:middle], keyed[middle:]):
            if part:
                answers |= zip(
                    (s.task_id for s in part), await self.write_hastily(part), strict=True
                )
        return [answers[s.task_id] for s in batch]

    async def _record(
        self, leaders: list[Submission], patience: float, *, conn: Connection | None
    ) -> dict[str, Submitted | None]:
        return await self._ledger.submit(
            leaders, retention_seconds=self._retention, conn=conn, patience_seconds=patience
        )

    async def insert(
        self,
        leaders: list[Submission],
        answers: dict[str, Answer],
        record: Record,
        *,
        alone: bool,
        haste: bool,
    ) -> dict[str, Submitted | None]:
        """Record submissions, and note the errors. `alone`: a refusal is not tried again one by one,
        because it has ended the transaction of the caller."""
        reach("submit.sending")
        patience = HASTE_SECONDS if haste else PATIENCE_SECONDS
        try:
            return await record(leaders, patience)
        except SubmissionInvalid as error:
            if haste and isinstance(error, IdempotencyInFlight):
                raise KeyHeld from error
            if len(leaders) == 1 or alone:
                answers.update({s.task_id: error for s in leaders})
                return {}
        # A key in flight or a value that Postgres refuses is one caller's affair: its neighbours go
        # in without it.
        done: dict[str, Submitted | None] = {}
        waits = 0
        for leader in leaders:
            if waits == MAX_WAITS:
                answers[leader.task_id] = IdempotencyInFlight()
                continue
            done |= await self.insert([leader], answers, record, alone=alone, haste=haste)
            waits += isinstance(answers.get(leader.task_id), IdempotencyInFlight)
        return done

    async def confirm(
        self, found: Sequence[Submission], answers: dict[str, Answer], conn: Connection | None
    ) -> None:
        """Acknowledge answers that were only read like a commit: when the standbys have them. One
        commit for the whole batch."""
        acknowledged = [s.task_id for s in found if isinstance(answers.get(s.task_id), Submitted)]
        if not acknowledged:
            return
        try:
            await self._ledger.wait_for_standby(conn=conn)
        except ServerUnreachable as error:
            answers.update(dict.fromkeys(acknowledged, error))

    async def _find_again(self, keyless: list[Submission], answers: dict[str, Answer]) -> None:
        """The id exists: this very submission was committed and the answer was lost; the task is
        simply there."""
        for submission in keyless:
            task = (await self._ledger.find([submission.task_id], tenant=submission.tenant)).get(
                submission.task_id
            )
            if task is None:
                answers[submission.task_id] = ServerUnreachable(
                    "the ledger does not show what it took; try again"
                )
                continue
            lane = _lane(submission)
            answers[submission.task_id] = Submitted(
                task.task_id, task.state, False, task.created_at, task.run_at, task.queue, lane
            )


def _lane(submission: Submission) -> Lane:
    return lane_of(submission.priority, crash_count=0, loss_count=0)


def _split(batch: list[Submission]) -> tuple[list[Submission], list[Submission]]:
    """Those that go into one insert, and those whose key another of them already carries."""
    if len(batch) == 1:
        return batch, []
    seen: set[tuple[str, str]] = set()
    leaders, followers = [], []
    for submission in batch:
        key = submission.idempotency_key
        if key is not None and (submission.tenant, key) in seen:
            followers.append(submission)
            continue
        if key is not None:
            seen.add((submission.tenant, key))
        leaders.append(submission)
    return leaders, followers


def _judge(submission: Submission, fingerprint: bytes, found: Submitted) -> Answer:
    if found.task_id == submission.task_id:
        return Submitted(
            found.task_id,
            found.state,
            False,
            found.created_at,
            found.run_at,
            found.queue,
            found.lane,
        )
    # Without a fingerprint the task was erased, and no content is left to compare with.
    if fingerprint and fingerprint != submission.fingerprint:
        # Without the key: messages are logged, and a key may be a number of a customer.
        message = (
            f"the idempotency key was used before for a different submission, task {found.task_id}"
        )
        return IdempotencyKeyReused(message, task_id=found.task_id)
    return found


def keys_differ(batch: Sequence[Submission]) -> bool:
    """Whether no two submissions of a batch have the same key. Those with unique keys may."""
    keys = [(s.tenant, s.idempotency_key) for s in batch if s.idempotency_key is not None]
    if any(s.unique is not None for s in batch):
        return False
    return len(set(keys)) == len(keys)


def report_submitted(pairs: Sequence[tuple[Submission, Submitted]]) -> None:
    """Report tasks that are recorded, and keys whose task was there."""
    for submission, answer in pairs:
        emit(
            "task.replayed" if answer.replayed else "task.submitted",
            task_id=answer.task_id,
            type=submission.type,
            queue=answer.queue,
            state=answer.state,
        )


__all__ = ["Answer", "KeyHeld", "Submitter", "keys_differ", "report_submitted"]
