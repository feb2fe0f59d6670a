"""The model: what may be seen of tasks under any crashes.

The model receives the requests, the answers, the actions of handlers, and every move that a task
made in the ledger, in the order of its commits (a trigger writes them down). It says what of this
must not be. It knows nothing of leases, lists or passes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from leaseq.errors import IdempotencyKeyReused
from leaseq.lifecycle import TRANSITIONS
from leaseq.model import TERMINAL, State, Submission, Submitted
from simulation.app import TRANSACTIONAL

MAX_CRASHES = 3


class Move(Struct, frozen=True):
    """One transition as the ledger made it."""

    task_id: str
    before: State | None
    after: State
    attempt_before: int
    attempt: int
    crash_count: int
    closed: bool


class Life(Struct):
    """One task, as far as it has been seen."""

    submission: Submission
    state: State | None = None  # None: not in the ledger
    attempt: int = 0
    succeeded: int | None = None  # the attempt
    acknowledged: bool = False
    cancels_asked: int = 0
    cancelled_for_sure: bool = False
    redrives_asked: int = 0
    redrives: int = 0
    moves: int = 0
    # of erase and free_key: those requested, those reported as done, those seen in the ledger
    asked_for: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    undergone: set[str] = field(default_factory=set)
    runs: list[int] = field(default_factory=list)
    # attempts whose worker believes that they have succeeded
    settled: list[int] = field(default_factory=list)


class Model:
    """All tasks of one run. `complaints` is what must not have been."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        # the tasks of a key, once clients know them: a key that is freed may stand for another one
        self.keys: defaultdict[str, set[str]] = defaultdict(set)
        # handlers that came to their end: returned, or failed permanently
        self.book: set[tuple[str, int, bool]] = set()
        self.complaints: list[str] = []
        self.moves = 0

    def asked(self, submission: Submission) -> None:
        """A client submits this; it may come to nothing."""
        self.lives[submission.task_id] = Life(submission)

    def answered(self, submission: Submission, answer: Submitted) -> None:
        """A client was informed that this is recorded."""
        key, life = submission.idempotency_key, self.lives.get(answer.task_id)
        if life is None:
            self.complain(answer.task_id, "was acknowledged, and nobody has submitted it")
            return
        life.acknowledged = True
        if answer.replayed == (answer.task_id == submission.task_id):
            self.complain(
                answer.task_id, f"answered {submission.task_id}, replayed: {answer.replayed}"
            )
        if key is None and answer.replayed:
            self.complain(answer.task_id, "is a replay without a key")
        if (
            life.submission.fingerprint != submission.fingerprint
            and "erase" not in life.asked_for  # no content is left to compare with
        ):
            self.complain(answer.task_id, f"was given for other content under {key}")
        self._stands_for(key, answer.task_id)

    def refused(self, submission: Submission, error: IdempotencyKeyReused) -> None:
        """A client was informed that the key stands for something else."""
        life = self.lives.get(error.task_id)
        if life is None or life.submission.fingerprint == submission.fingerprint:
            self.complain(error.task_id, f"is said to be other content than {submission.task_id}")
        self._stands_for(submission.idempotency_key, error.task_id)

    def ran(self, task_id: str, attempt: int) -> None:
        """A handler was started."""
        runs = self.lives[task_id].runs
        if attempt in runs:
            self.complain(task_id, f"attempt {attempt} was started twice")
        if attempt > self.lives[task_id].attempt:
            self.complain(
                task_id, f"attempt {attempt} was started and the ledger knows nothing of it"
            )
        runs.append(attempt)

    def moved(self, moves: Iterable[Move]) -> None:
        """The moves of tasks since the last look."""
        for move in moves:
            self.moves += 1
            life = self.lives.get(move.task_id)
            if life is None:
                self.complain(move.task_id, "nobody has submitted it")
                continue
            for fault in self._judge(life, move):
                self.complain(
                    move.task_id, f"{move.before} -> {move.after} (attempt {move.attempt}): {fault}"
                )
            life.state, life.attempt = move.after, move.attempt
            life.moves += 1
            life.redrives += move.before in TERMINAL
            if move.after is State.SUCCESS:
                life.succeeded = move.attempt

    def _judge(self, life: Life, move: Move) -> Iterable[str]:
        verbs = {
            verb
            for before, verb, after in TRANSITIONS
            if (before, after) == (move.before, move.after)
        }
        if not verbs:
            yield "no verb does that"
        if life.undergone:
            yield f"it has undergone {', '.join(sorted(life.undergone))}"
        if move.before != life.state:
            yield f"it was {life.state}"
        if move.attempt != move.attempt_before + ("claim" in verbs):
            yield f"the attempt was {move.attempt_before}"
        if "claim" in verbs and move.closed:
            yield "its worker is closed"
        if "redrive" in verbs and life.redrives >= life.redrives_asked:
            yield "nobody has asked for it"
        if move.after is State.CANCELLED and not life.cancels_asked:
            yield "nobody has asked for it"
        if move.after is State.SUCCESS and (move.task_id, move.attempt, True) not in self.book:
            yield "its handler has not returned"
        if (
            move.after is State.FAILED
            and (move.task_id, move.attempt, False) not in self.book
            and move.crash_count < MAX_CRASHES
        ):
            yield "its handler has not failed"

    def compare(self, effects: Iterable[tuple[str, int]]) -> None:
        """One effect for each transactional success, of that very attempt, and no other."""
        wanted = {
            (task_id, life.succeeded): 1
            for task_id, life in self.lives.items()
            if life.succeeded is not None and life.submission.type in TRANSACTIONAL
        }
        found = Counter(effects)
        for effect in sorted({*wanted, *found}):
            if wanted.get(effect, 0) != found[effect]:
                self.complain(
                    effect[0],
                    f"attempt {effect[1]} has {found[effect]} effects instead of {wanted.get(effect, 0)}",
                )
        for task_id, life in self.lives.items():
            for attempt in life.settled:
                if life.succeeded != attempt:
                    self.complain(
                        task_id,
                        f"attempt {attempt} is told to have succeeded, and it was {life.succeeded}",
                    )
            if life.acknowledged and life.state is None:
                self.complain(task_id, "was acknowledged and is not there")

    def judge_the_end(
        self,
        rows: Iterable[tuple[str, str, int]],
        attempts: Iterable[tuple[str, int]],
        keys: dict[str, str],
    ) -> None:
        """Everything has come to rest: tasks (id, state, attempt), recorded attempts (id, number),
        keys (key, task id)."""
        recorded: defaultdict[str, list[int]] = defaultdict(list)
        for task_id, attempt in attempts:
            recorded[task_id].append(attempt)
        ended = {task_id: (State(state), attempt) for task_id, state, attempt in rows}
        for task_id, (state, attempt) in ended.items():
            life = self.lives[task_id]
            if state not in TERMINAL:
                self.complain(task_id, f"is still {state}")
            if (state, attempt) != (life.state, life.attempt):
                self.complain(
                    task_id,
                    f"is {state} at attempt {attempt}, and was last seen {life.state} at {life.attempt}",
                )
            if life.cancelled_for_sure and not life.redrives_asked and state is not State.CANCELLED:
                self.complain(task_id, f"is {state}, and somebody was told that it is CANCELLED")
            numbers = recorded[task_id] + ([] if life.succeeded is None else [life.succeeded])
            if "erase" not in life.undergone and sorted(numbers) != list(range(1, attempt + 1)):
                self.complain(task_id, f"has had the attempts {sorted(numbers)} of {attempt}")
            self._judge_key(task_id, life, keys)
        for key, told in self.keys.items():
            for task_id in told:
                if keys.get(key) != task_id and "free_key" not in self.lives[task_id].undergone:
                    self.complain(
                        task_id, f"was told to stand for {key}, which stands for {keys.get(key)}"
                    )

    def _judge_key(self, task_id: str, life: Life, keys: dict[str, str]) -> None:
        key, freed = life.submission.idempotency_key, "free_key" in life.undergone
        if key is not None and (keys.get(key) == task_id) == freed:
            self.complain(task_id, f"was made under {key}, which stands for {keys.get(key)}")

    def _stands_for(self, key: str | None, task_id: str) -> None:
        """Of the tasks that a key has stood for, one may have it without having been freed."""
        if key is None:
            return
        told = self.keys[key]
        told.add(task_id)
        keeping = {one for one in told if "free_key" not in self.lives[one].asked_for}
        if len(keeping) > 1:
            self.complain(task_id, f"was given for {key}, which stood for {keeping - {task_id}}")

    def complain(self, task_id: str, what: str) -> None:
        """Note what must not have been."""
        self.complaints.append(f"task {task_id[-4:]}: {what}")


def move_of(row: tuple[Any, ...]) -> Move:
    """A row of `machine.moves`."""
    return Move(row[0], None if row[1] is None else State(row[1]), State(row[2]), *row[3:])


__all__ = ["MAX_CRASHES", "Life", "Model", "Move", "move_of"]
