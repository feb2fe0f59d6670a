"""Record submissions with unique keys.

One round reads the tasks that had the keys last, judges them, and takes the keys from those that are
not in the way, each under the version that was read. A key that another submission has taken
meanwhile is judged again in the next round. So an answer with an existing task rests on a read that
began after the submission, and at most one new task takes a key from one holder.

Within a batch the first submission of a key decides, and the last one where the newest wins
(debounce, replace). The others get its task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from leaseq.errors import IdempotencyInFlight, UniqueConflict
from leaseq.failpoints import reach
from leaseq.ledger.session import Connection, Locked
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.uniques import WAITING, Holder, KeyName, UniqueLedger, name_of
from leaseq.model import Submission, Submitted

# A key that others have taken in each of so many rounds is answered with `IdempotencyInFlight`.
ROUNDS = 8
CONTENDED = "the unique key changes hands too often at the moment; try again"

Answer = Submitted | BaseException
Answers = dict[str, Answer]
Recorded = dict[str, Submitted | None]
Record = Callable[[list[Submission], float], Awaitable[Recorded]]
Keyed = list[tuple[Submission, tuple[str, str]]]
NEWEST_WINS = ("debounce", "replace")


class PlainSubmitter(Protocol):
    """The part of the submitter of all tasks that this one uses."""

    async def insert(
        self,
        leaders: list[Submission],
        answers: Answers,
        record: Record,
        *,
        alone: bool,
        haste: bool,
    ) -> Recorded: ...

    async def answer_keyed(
        self, keyed: Keyed, answers: Answers, conn: Connection | None
    ) -> None: ...

    async def confirm(
        self, found: Sequence[Submission], answers: Answers, conn: Connection | None
    ) -> None: ...


class UniqueSubmitter:
    """Writes submissions with unique keys to the ledger."""

    def __init__(
        self, tasks: TaskLedger, plain: PlainSubmitter, *, retention_seconds: float
    ) -> None:
        self._ledger = UniqueLedger(tasks)
        self._plain = plain
        self._retention = retention_seconds

    async def write(
        self,
        batch: Sequence[Submission],
        answers: Answers,
        conn: Connection | None,
        *,
        haste: bool,
    ) -> None:
        """Record submissions that all have a unique key, and note an answer for each. Raises as
        `Submitter.write`."""
        writing = _Writing(self._ledger, self._plain, self._retention, answers, conn, haste)
        open_ones = list(batch)
        for _ in range(ROUNDS):
            await writing.round(open_ones)
            open_ones = [s for s in open_ones if s.task_id not in answers]
            if not open_ones:
                return
        for submission in open_ones:
            answers[submission.task_id] = IdempotencyInFlight(CONTENDED)


class _Writing:
    """One batch of them, with the answers so far."""

    def __init__(
        self,
        ledger: UniqueLedger,
        plain: PlainSubmitter,
        retention: float,
        answers: Answers,
        conn: Connection | None,
        haste: bool,
    ) -> None:
        self._ledger, self._plain, self._retention = ledger, plain, retention
        self._answers, self._conn, self._haste = answers, conn, haste
        self._adopted: set[str] = set()

    async def round(self, batch: Sequence[Submission]) -> None:
        """Answer as many as possible of these."""
        keyed = [(s, (s.tenant, s.idempotency_key)) for s in batch if s.idempotency_key is not None]
        if keyed:
            await self._plain.answer_keyed(keyed, self._answers, self._conn)
        groups = _groups([s for s in batch if s.task_id not in self._answers])
        if not groups:
            return
        holders = await self._ledger.find([*groups], conn=self._conn)
        deciding = _decide(groups, holders, self._answers)
        reach("unique.judged")
        if any(holder.on_standbys for holder in holders.values()):
            await self._plain.confirm(batch, self._answers, self._conn)
        fresh = [s for s in deciding if not _is_delayed(s, holders)]
        delayed = [s for s in deciding if _is_delayed(s, holders)]
        await self._insert(fresh, partial(self._record, holders=holders), groups)
        await self._insert(delayed, self._debounce, groups)
        await self._adopt(batch)

    async def _record(
        self, batch: list[Submission], patience: float, *, holders: dict[KeyName, Holder]
    ) -> Recorded:
        return await self._ledger.submit(
            batch,
            holders,
            retention_seconds=self._retention,
            conn=self._conn,
            patience_seconds=patience,
        )

    async def _debounce(self, batch: list[Submission], patience: float) -> Recorded:
        return {
            s.task_id: await self._ledger.debounce(s, conn=self._conn, patience_seconds=patience)
            for s in batch
        }

    async def _insert(
        self, batch: list[Submission], record: Record, groups: dict[KeyName, list[Submission]]
    ) -> None:
        """Record those that decide, and answer the others of their groups."""
        if not batch:
            return
        made = await self._plain.insert(
            batch, self._answers, record, alone=self._conn is not None, haste=self._haste
        )
        for leader in batch:
            answer = made.get(leader.task_id) or self._answers.get(leader.task_id)
            # another refusal is that of one submission, and not of its key
            if isinstance(answer, Submitted | IdempotencyInFlight):
                _answer_group(groups[name_of(leader)], leader, answer, self._answers)

    async def _adopt(self, batch: Sequence[Submission]) -> None:
        """Let idempotency keys stand for the existing tasks that their requests are answered with. A
        request whose key was taken meanwhile is looked at again, once."""
        answered = [
            (s, answer.task_id)
            for s in batch
            if s.idempotency_key is not None
            and s.task_id not in self._adopted
            and isinstance(answer := self._answers.get(s.task_id), Submitted)
            and answer.deduplicated
        ]
        if not answered:
            return
        self._adopted |= {s.task_id for s, _ in answered}
        try:
            stands = await self._ledger.adopt(
                answered, retention_seconds=self._retention, conn=self._conn
            )
        except Locked:
            self._answers |= {s.task_id: IdempotencyInFlight() for s, _ in answered}
            return
        for submission, _ in answered:
            if submission.idempotency_key in stands:
                stands.discard(submission.idempotency_key)
            else:
                del self._answers[submission.task_id]


def _decide(
    groups: dict[KeyName, list[Submission]], holders: dict[KeyName, Holder], answers: Answers
) -> list[Submission]:
    """Note the answers that the holders give. Returns of each other group the submission that
    decides; one with the idempotency key of an earlier one waits for the next round."""
    deciding: list[Submission] = []
    seen: set[tuple[str, str]] = set()
    for name, group in groups.items():
        found = {s.task_id: _judge(s, holders.get(name)) for s in group}
        answers |= {task_id: answer for task_id, answer in found.items() if answer is not None}
        undecided = [s for s in group if found[s.task_id] is None]
        if not undecided:
            continue
        leader = _leader(undecided)
        if leader.idempotency_key is not None:
            key = (leader.tenant, leader.idempotency_key)
            if key in seen:
                continue
            seen.add(key)
        deciding.append(leader)
    return deciding


def _groups(batch: Sequence[Submission]) -> dict[KeyName, list[Submission]]:
    groups: dict[KeyName, list[Submission]] = {}
    for submission in batch:
        groups.setdefault(name_of(submission), []).append(submission)
    return groups


def _judge(submission: Submission, holder: Holder | None) -> Answer | None:
    """The answer that the holder of the key gives; None: there is none yet."""
    assert submission.unique is not None
    rule = submission.unique.rule
    if holder is None:
        return None
    if holder.task_id == submission.task_id:  # it was recorded, and the answer was lost
        return replace(holder.submitted, replayed=False, deduplicated=False)
    if not holder.is_in_the_way(rule) or rule.hold == "debounce":
        return None
    if rule.on_conflict == "refuse":
        return _conflict(holder.task_id, holder.state)
    if rule.on_conflict == "replace" and holder.state in WAITING:
        return None
    return holder.submitted


def _conflict(task_id: str, state: object) -> UniqueConflict:
    # Without the key: messages are logged, and a key may be a number of a customer.
    return UniqueConflict(f"task {task_id}, which is {state}, has the unique key", task_id=task_id)


def _leader(group: Sequence[Submission]) -> Submission:
    unique = group[0].unique
    assert unique is not None
    is_newest = not {unique.rule.hold, unique.rule.on_conflict}.isdisjoint(NEWEST_WINS)
    return group[-1] if is_newest else group[0]


def _is_delayed(submission: Submission, holders: dict[KeyName, Holder]) -> bool:
    """Whether a task that is there already can take its payload."""
    holder = holders.get(name_of(submission))
    return name_of(submission).hold == "debounce" and holder is not None and holder.is_held_back


def _answer_group(
    group: Sequence[Submission], leader: Submission, answer: Answer, answers: Answers
) -> None:
    """Answer all submissions of one key with the task of the one that decided."""
    answers[leader.task_id] = answer
    if not isinstance(answer, Submitted):
        answers |= {s.task_id: answer for s in group if s.task_id not in answers}
        return
    shared = replace(answer, replayed=True, deduplicated=True)
    for follower in group:
        if follower.task_id in answers:
            continue
        assert follower.unique is not None
        is_refused = follower.unique.rule.on_conflict == "refuse"
        answers[follower.task_id] = (
            _conflict(answer.task_id, answer.state) if is_refused else shared
        )


__all__ = ["UniqueSubmitter"]
