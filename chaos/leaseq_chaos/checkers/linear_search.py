"""Search for an order of a task's operations that explains all answers.

The search of Wing and Gong, with Lowe's memory of the configurations that were tried: something may
come next if it began before everything that is still to come has ended. The ledger's steps are part
of it, in the one order that their commits give them, and a step that needs a client (a creation,
the cancelling of a task that waits) is one with that client's operation. Invariants: what only
looks is placed as soon as it fits, which loses no solution; an operation without an answer may be
placed or left out; beyond `MOST` configurations nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from leaseq.model import State
from leaseq_chaos.checkers.linear_model import FOREVER, Mark, Operation, What, allowed, pure, told

__all__ = ["MOST", "Answer", "search"]

MOST = 50_000

# How many steps of the ledger are done, which operations (as bits), whose content it has, and was
# its cancelling asked for?
Config = tuple[int, int, str | None, bool]


class Answer(Struct, frozen=True):
    """The result of a search."""

    explained: bool | None  # None: given up
    said: str = ""  # what could not be explained
    at: int | None = None


def search(
    marks: Sequence[Mark],
    operations: Sequence[Operation],
    *,
    anonymous: bool = False,
    most: int = MOST,
) -> Answer:
    """Look for an order. `anonymous`: the task has no key, so that a submission without an answer
    may have created it."""
    return _Search(marks, operations, anonymous).run(most)


class _Search:
    """One object's marks and operations."""

    def __init__(
        self, marks: Sequence[Mark], operations: Sequence[Operation], anonymous: bool
    ) -> None:
        self._marks = marks
        self._operations = operations
        self._anonymous = anonymous
        self._sure = sum(1 << i for i, operation in enumerate(operations) if operation.sure)
        # the earliest end of this mark and all that follow
        self._lates = [FOREVER] * (len(marks) + 1)
        for i in range(len(marks) - 1, -1, -1):
            self._lates[i] = min(marks[i].late, self._lates[i + 1])

    def run(self, most: int) -> Answer:
        stack: list[Config] = [(0, 0, None, False)]
        known: set[Config] = set()
        furthest, best = -1, stack[0]
        while stack:
            config = self._settled(stack.pop())
            if config in known:
                continue
            known.add(config)
            place, done, _, _ = config
            if place == len(self._marks) and done & self._sure == self._sure:
                return Answer(explained=True)
            if len(known) >= most:
                return Answer(explained=None)
            if (depth := place + done.bit_count()) > furthest:
                furthest, best = depth, config
            stack.extend(self._moves(config))
        return self._failure(best)

    def _limit(self, place: int, done: int) -> int:
        """All later operations must have begun by then."""
        limit = self._lates[place]
        for i, operation in enumerate(self._operations):
            if operation.ended < limit and not done >> i & 1:
                limit = operation.ended
        return limit

    def _open(self, done: int, limit: int) -> Iterator[tuple[int, Operation]]:
        for i, operation in enumerate(self._operations):
            if (
                not done >> i & 1
                and operation.began <= limit
                and (operation.after < 0 or done >> operation.after & 1)
            ):
                yield i, operation

    def _now(self, place: int) -> Mark | None:
        return self._marks[place - 1] if place else None

    def _settled(self, config: Config) -> Config:
        """The state after all reads that are possible now."""
        place, done, variant, asked = config
        now = self._now(place)
        while True:
            more = done
            for i, operation in self._open(done, self._limit(place, done)):
                if pure(operation, now, variant=variant):
                    more |= 1 << i
            if more == done:
                return place, done, variant, asked
            done = more

    def _moves(self, config: Config) -> Iterator[Config]:
        place, done, variant, asked = config
        now, limit = self._now(place), self._limit(place, done)
        if now is not None and now.state in (State.PROCESSING, State.CANCELLED):
            requested = asked or now.state == State.PROCESSING
            for i, operation in self._open(done, limit):
                if operation.what is What.CANCEL and (operation.sure or requested != asked):
                    yield place, done | 1 << i, variant, requested
        if place < len(self._marks) and self._marks[place].early <= limit:
            yield from self._step(config, self._marks[place], limit)

    def _step(self, config: Config, mark: Mark, limit: int) -> Iterator[Config]:
        """The ledger's next step, with the operation that made it if a client has to."""
        place, done, variant, asked = config
        now = self._now(place)
        if (
            now is None
            and mark.inserts
            and mark.attempt == 0
            and mark.state in (State.PENDING, State.SCHEDULED)
        ):
            if self._anonymous:
                yield 1, done, None, False
            for i, operation in self._open(done, limit):
                if operation.what is What.SUBMIT and operation.task in (None, mark.task):
                    yield 1, done | 1 << i, operation.variant, False
        elif (
            now is not None
            and mark.state == State.CANCELLED
            and now.state in (State.PENDING, State.SCHEDULED)
        ):
            for i, operation in self._open(done, limit):
                if operation.what is What.CANCEL and (mark.task, mark.attempt) == (
                    now.task,
                    now.attempt,
                ):
                    yield place + 1, done | 1 << i, variant, False
        elif allowed(now, mark, asked=asked):
            # a settle answers a request, and only PROCESSING has one
            yield place + 1, done, variant, False

    def _failure(self, config: Config) -> Answer:
        """The operation that blocks the search at its furthest point: the one that ends first."""
        place, done, _, asked = config
        left: list[Operation | Mark] = [
            op for i, op in enumerate(self._operations) if op.sure and not done >> i & 1
        ]
        left += self._marks[place : place + 1]
        first = min(left, key=lambda thing: thing.late if isinstance(thing, Mark) else thing.ended)
        now = self._now(place)
        was = "there was no task" if now is None else f"it was {now.state} attempt {now.attempt}"
        request = " with a request to cancel" if asked else ""
        total, explained = (
            len(self._marks) + self._sure.bit_count(),
            place + (done & self._sure).bit_count(),
        )
        said = f"no order explains {told(first)}: after {explained} of {total} steps and operations {was}{request}"
        return Answer(
            explained=False, said=said, at=first.early if isinstance(first, Mark) else first.began
        )
