"""Every legal run is valid.

Hypothesis makes up runs: tasks of all types under two workers, in any order of legal steps, with
workers that die, requests to cancel, redrives, readers that overlap everything, and commits whose
recorded times are off by what the checkers must forgive.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaseq_chaos.checkers.catalogue import CHECKERS
from leaseq_chaos.checkers.fates import FATES, POISON
from leaseq_chaos.checkers.index import ENDED
from leaseq_chaos.verdict import Verdict
from support.examples import examples
from support.valid_history import MAX_CRASHES, Asked, Row, Story

TYPES = sorted(FATES)
# These judge a run by its faults, or by the logs of its services, and here is neither.
JUDGES = sorted(CHECKERS.keys() - {"charges", "reaps", "recovery", "sometimes"})


class Lives:
    """A run in the making: each verb does something legal, or nothing."""

    def __init__(self) -> None:
        self.story = Story()
        self.asked: list[tuple[Asked, Row | None]] = []
        self.readers = 0
        self.only: str | None = None  # the task that everything is about, towards the end
        self.submit(0)

    def submit(self, number: int) -> None:
        task_type = TYPES[number % len(TYPES)]
        delay = 0.3 if task_type == "later" else None
        first = not self.story.tasks
        self.story.submit(
            task_type,
            delay=delay,
            lost=not first and number % 7 == 0,
            keyed=first or number % 5 > 0,
        )

    def again(self, number: int) -> None:
        if (task := self._pick(number)) and self.story.tasks[task]["idempotency_key"]:
            self.story.again(task, variant="ab"[number % 2])

    def promote(self, number: int) -> None:
        if task := self._pick(number, "SCHEDULED"):
            self.story.promote(task)

    def claim(self, number: int) -> None:
        if task := self._pick(number, "PENDING"):
            self.story.claim(task, self.story.workers[number % 2])

    def end(self, number: int) -> None:
        """As the type has it, and sometimes by a retry, a hand-back or an honoured cancel first."""
        if not (task := self._pick(number, "PROCESSING")):
            return
        row = self.story.tasks[task]
        if row["cancel_requested_at"] is not None and number % 2:
            self.story.end(task, "cancelled", "CANCELLED")
        elif number % 5 == 4:
            state, delay = ("PENDING", 0.0) if number % 2 else ("SCHEDULED", 0.1)
            self.story.end(task, "released", state, delay=delay)
        elif row["type"] in POISON:
            self.die(row["worker_id"])
        elif FATES[row["type"]] == FATES["refuse"]:
            self.story.end(task, "errored", "FAILED", code="error")
        elif row["type"] == "hang" and row["retry_count"]:
            self.story.end(task, "timed_out", "FAILED", code="timeout")
        elif row["type"] == "hang" or (number % 3 == 0 and row["retry_count"] < 3):
            self.story.end(
                task,
                "timed_out" if row["type"] == "hang" else "errored",
                "SCHEDULED",
                delay=0.2,
                retry_count=1,
            )
        else:
            self.story.succeed(task)

    def die(self, worker: str) -> None:
        """All that the worker held is lost; poison is to blame where it was alone."""
        held = [row for row in self.story.tasks.values() if row["worker_id"] == worker]
        self.story.close(worker)
        for row in held:
            poison = len(held) == 1 and row["type"] in POISON
            fatal = poison and row["crash_count"] + 1 == MAX_CRASHES
            state, counted = (
                "FAILED" if fatal else "PENDING",
                {"crash_count" if poison else "loss_count": 1},
            )
            self.story.end(
                row["task_id"], "lost", state, code="crashed" if fatal else None, **counted
            )

    def kill(self, number: int) -> None:
        self.die(self.story.workers[number % 2])

    def cancel(self, number: int) -> None:
        if task := self._pick(number):
            self.story.cancel(task, f"client-{number % 3}")

    def redrive(self, number: int) -> None:
        row = self.story.tasks.get(self._pick(number, "FAILED", "CANCELLED") or "")
        if row is not None and row["type"] not in POISON:
            self.story.redrive(row["task_id"])

    def ask(self, number: int) -> None:
        if task := self._pick(number):
            self.readers += 1
            self.asked.append((self.story.ask(task, f"reader-{self.readers}"), None))

    def look(self, number: int) -> None:
        if self.asked:
            at = number % len(self.asked)
            asked, seen = self.asked[at]
            self.asked[at] = (asked, seen or self.story.look(asked.task))

    def answer(self, number: int) -> None:
        if self.asked:
            asked, seen = self.asked.pop(number % len(self.asked))
            self.story.answer(asked, seen or self.story.look(asked.task))

    def drift(self, number: int) -> None:
        """The times of commits are off by up to 40 ms."""
        self.story.jitter = (number % 9 - 4) * 10_000_000

    def finish(self) -> None:
        """Heal and drain: everyone is answered, everything ends, one task after the other."""
        while self.asked:
            self.answer(0)
        verbs = {"SCHEDULED": self.promote, "PENDING": self.claim, "PROCESSING": self.end}
        for task, row in self.story.tasks.items():
            self.only = task
            while row["state"] not in ENDED:
                verbs[row["state"]](1)

    def _pick(self, number: int, *states: str) -> str | None:
        among = self.story.tasks if self.only is None else {self.only: self.story.tasks[self.only]}
        fits = [task for task, row in among.items() if not states or row["state"] in states]
        return fits[number % len(fits)] if fits else None


VERBS: list[Callable[[Lives, int], None]] = [
    Lives.submit, Lives.submit, Lives.again, Lives.promote, Lives.claim, Lives.claim, Lives.end, Lives.end, Lives.kill,
    Lives.cancel, Lives.redrive, Lives.ask, Lives.look, Lives.answer, Lives.drift,
]  # fmt: skip


@settings(
    max_examples=examples(80),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 59)), min_size=20, max_size=120))
def test_a_legal_run_is_valid(steps: list[tuple[Callable[[Lives, int], None], int]]) -> None:
    lives = Lives()
    for verb, number in steps:
        verb(lives, number)
    lives.finish()
    evidence = lives.story.evidence()
    for name in JUDGES:
        finding = CHECKERS[name](evidence)
        assert (finding.verdict, finding.violations) == (Verdict.VALID, []), finding
