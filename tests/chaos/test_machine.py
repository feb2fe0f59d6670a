"""Ledger and dispatch keep the guarantees under every crash order.

A state machine (Hypothesis) moves a client, workers and reapers one store operation at a time: it
lets them go on, holds answers back, loses them, kills the actor that stands there, wipes Redis,
lets time pass. The stores and the engine are the real ones. After every step, the moves of all
tasks must be among those that the model allows; at the end, once no actor crashes any more,
everything must come to rest. It tries a fixed number of runs; LEASEQ_TEST_MACHINE_EXAMPLES asks for
so many, at random.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from simulation.servers import Servers
from simulation.steps import (
    Bury,
    Fate,
    Flush,
    Follow,
    GoOn,
    Pass,
    PassTime,
    Steer,
    Step,
    Submit,
    Watch,
    Work,
    beginnings,
    steps,
    take,
)
from simulation.tombstones import ERASE, FREE
from simulation.world import LOOK_SECONDS, World

ASKED = os.environ.get("LEASEQ_TEST_MACHINE_EXAMPLES")
EXAMPLES = int(ASKED or 10)
STEPS = 60

# Events that must have happened in a long search, or it was worth nothing; each by any of these.
# That it can, the runs that are written down show.
SOMETIMES = {
    "a stale worker is fenced": ("attempt.fenced",),
    "a worker dies with a claim whose answer it has not heard": ("crash after claim_tasks",),
    "a worker dies with its ending written and not released": (
        "crash after succeed_attempts",
        "crash after settle_attempts",
        "crash after settle_errored",
        "crash after settle_failed",
        "crash after commit",
    ),
    "the answer to a commit is lost": ("lose commit",),
    "the answer to a settle is lost": (
        "lose succeed_attempts",
        "lose settle_attempts",
        "lose settle_errored",
        "lose settle_failed",
    ),
    "an ending is ambiguous": ("attempt.ambiguous",),
    "a reaper dies between two steps": (
        "crash after find_held",
        "crash after close_worker",
        "crash before close",
    ),
    "a client dies with a submission whose answer it has not heard": (
        "crash after submit_plain",
        "crash after submit_tasks",
    ),
    "a task is erased": ("task.erased",),
    "a key is freed": ("key.freed",),
    "a client dies between the record of an operation and its effect": (
        "crash after record_operation",
        "crash before erase_tasks",
        "crash before free_keys",
    ),
    "the list of a worker is mended": ("delivery.stray", "delivery.restored"),
}
LONG_SEARCH = 500
# And what already in a short one.
USUALLY = {
    "somebody crashes": ("crash",),
    "a dead worker's attempt is taken back": ("attempt.reaped",),
    "a worker is reaped": ("worker.reaped",),
    "a loss of data is noticed": ("epoch.changed",),
    "a task is delivered again": ("task.redispatched",),
    "a delivery of what has ended is skipped": ("delivery.skipped",),
    "a lane is full": ("backlog.began",),
    "a backlog comes in": ("delivery.refilled",),
    "a backlog comes to its end": ("backlog.ended",),
    "a key is replayed": ("task.replayed",),
    "a key comes with other content": ("a key with other content",),
}

# One transactional task up to its commit: pull, claim, connect, begin, a savepoint around the
# insert, the work, plans, settle.
TO_ITS_WORK, TO_ITS_COMMIT = 7, 10
UP_TO_THE_CLOSING = 4  # of a pass that takes one worker for dead
OTHERS = 0b110  # all workers but the first one beat
HEARD: list[Step] = [PassTime(LOOK_SECONDS), Work(1, "beat"), Work(2, "beat")]
LOOK: list[Step] = [*HEARD, Pass(0, "reap")]
# More than the lane holds and the first worker takes, so that the lane is empty and the rest waits
# in the ledger.
CROWD: list[Step] = [*[Submit("note")] * 5, Work(0, count=1)]
UP_TO_THE_ANNOUNCEMENT = 4  # of a pass that brings a backlog in
DEATH: list[Step] = [Work(0, count=TO_ITS_WORK, fate=Fate.DIE_BEFORE), Bury(), Follow()]
FAILED: list[Step] = [Submit("refuse", key="k"), Work(0)]
REDRIVEN: list[Step] = [Pass(0, "promote"), Work(1)]

WRITTEN: dict[str, tuple[list[Step], set[str]]] = {
    "a claim whose answer nobody hears": (
        [Submit("note"), Work(0, count=1, fate=Fate.DIE_AFTER)],
        {"crash after claim_tasks", "attempt.reaped"},
    ),
    "a claim whose answer is lost": (
        [Submit("note"), Work(0, count=1, fate=Fate.LOSE)],
        {"lose claim_tasks", "attempt.ambiguous"},
    ),
    "a commit whose answer is lost": (
        [Submit("note"), Work(0, count=TO_ITS_COMMIT, fate=Fate.LOSE)],
        {"lose commit", "attempt.ambiguous"},
    ),
    "a commit that does not happen": (
        [Submit("note"), Work(0, count=TO_ITS_COMMIT, fate=Fate.REFUSE)],
        {"refuse commit", "attempt.ambiguous"},
    ),
    "dead between settle and commit": (
        [Submit("note"), Work(0, count=TO_ITS_COMMIT, fate=Fate.DIE_BEFORE), Bury()],
        {"crash before commit", "attempt.reaped"},
    ),
    "dead between commit and release": (
        [Submit("note"), Work(0, count=TO_ITS_COMMIT, fate=Fate.DIE_AFTER), Bury()],
        {"crash after commit", "worker.reaped"},
    ),
    "a pull whose answer is lost": (
        [Submit("note"), Work(0, count=0, fate=Fate.LOSE)],
        {"lose pull", "delivery.stray"},
    ),
    "a worker that is frozen between pull and claim": (
        [Submit("note"), Work(0, count=1), Watch(0, OTHERS), GoOn(0, 10)],
        {"worker.reaped"},
    ),
    "a worker that is heard of between the judgement and the closing": (
        [
            *LOOK,
            *LOOK,
            *LOOK,
            *HEARD,
            Pass(0, "reap", count=UP_TO_THE_CLOSING),
            Work(0, "beat"),
            GoOn(0, 10),
        ],
        {"worker.suspected"},
    ),
    "a stale worker that wakes up": (
        [Submit("note"), Work(0, count=TO_ITS_WORK), Watch(0, OTHERS), Work(1), GoOn(0, 10)],
        {"attempt.reaped", "attempt.fenced"},
    ),
    "a stale worker that wakes up after another has claimed": (
        [Submit("plain"), Work(0, count=2), Watch(0, OTHERS), Work(1, count=2), GoOn(0, 10)],
        {"attempt.reaped", "attempt.fenced"},
    ),
    "a delivery made anew while the first is on its way": (
        [
            Pass(0, "reconcile"),
            Submit("note"),
            Work(0, count=1),
            Flush(),
            Pass(0, "reconcile"),
            Work(1),
            GoOn(0, 10),
        ],
        {"epoch.changed", "task.redispatched", "delivery.skipped"},
    ),
    "a reaper that dies between closing and settling": (
        [
            Submit("note"),
            Work(0, count=TO_ITS_WORK, fate=Fate.DIE_BEFORE),
            Bury(count=3, fate=Fate.DIE_BEFORE),
            Flush(),
        ],
        {"crash before held", "attempt.reaped"},
    ),
    "a reaper that is frozen while it delivers anew": (
        [
            Submit("note", count=1, fate=Fate.REFUSE),
            PassTime(LOOK_SECONDS),
            Pass(0, "reconcile", count=8),
            PassTime(100.0),
            GoOn(0, 20),
            Submit("note", count=1, fate=Fate.REFUSE),
        ],
        {"task.redispatched"},
    ),
    "a backlog that is announced, and whoever announced it dies unheard": (
        [
            *CROWD,
            Pass(0, "refill", count=UP_TO_THE_ANNOUNCEMENT, fate=Fate.DIE_AFTER),
            Submit("note"),
        ],
        {"crash after refill", "delivery.refilled", "backlog.ended"},
    ),
    "a backlog that is read, and a task that is committed then": (
        [*CROWD, Pass(0, "refill", count=UP_TO_THE_ANNOUNCEMENT + 2), Submit("note"), GoOn(0, 10)],
        {"delivery.refilled", "backlog.ended"},
    ),
    "a refill that is overtaken by another": (
        [
            *CROWD,
            Pass(0, "refill", count=UP_TO_THE_ANNOUNCEMENT + 3),
            Pass(1, "refill"),
            Work(0),
            Submit("note"),
            GoOn(0, 10),
        ],
        {"delivery.refilled", "backlog.ended"},
    ),
    "a lane and its backlog that are lost together": (
        [
            Pass(0, "reconcile"),
            *CROWD,
            Flush(),
            Submit("note"),
            Pass(0, "reconcile"),
            Pass(0, "refill"),
        ],
        {"epoch.changed", "task.redispatched", "delivery.refilled", "backlog.ended"},
    ),
    "a key that comes again": (
        [Submit("note", key="k"), Submit("note", key="k"), Submit("note", key="k", body="b")],
        {"task.replayed", "a key with other content"},
    ),
    "a key whose client dies unheard": (
        [Submit("note", key="k", count=0, fate=Fate.DIE_AFTER), Submit("note", key="k")],
        {"crash after submit_tasks", "task.replayed"},
    ),
    "an erasure whose client dies after its record": (
        [*FAILED, Steer(ERASE, count=1, fate=Fate.DIE_BEFORE), Steer("redrive"), Steer(ERASE)],
        {"crash before erase_tasks", "erase refused"},
    ),
    "an erasure whose client dies unheard": (
        [*FAILED, Steer(ERASE, count=1, fate=Fate.DIE_AFTER), Steer(ERASE), Steer("redrive")],
        {"crash after erase_tasks", "ended in FAILED"},
    ),
    "an erasure whose outcome is lost": (
        [*FAILED, Steer(ERASE, count=2, fate=Fate.DIE_BEFORE), Submit("note", key="k", body="b")],
        {"task.erased", "crash before end_operation", "task.replayed"},
    ),
    "a redrive of a task whose erasure is not answered yet": (
        [*FAILED, Steer(ERASE, count=1, fate=Fate.HOLD), Steer("redrive"), *REDRIVEN, GoOn(0, 10)],
        {"task.erased", "ended in FAILED"},
    ),
    "an erasure that is recorded before its task is run again": (
        [*FAILED, Steer("redrive"), Steer(ERASE, count=1), *REDRIVEN, GoOn(0, 10)],
        {"task.erased", "ended in FAILED"},
    ),
    "a key that is freed while its client dies, and stands for another task then": (
        [
            *FAILED,
            Steer(FREE, count=1, fate=Fate.DIE_BEFORE),
            Submit("note", key="k", body="b"),
            Steer(FREE, count=1, fate=Fate.DIE_AFTER),
            Submit("note", key="k", body="b"),
            Steer(FREE),
            Submit("note", key="k", body="b"),
            Steer("redrive"),
        ],
        {
            "crash before free_keys",
            "crash after free_keys",
            "a key with other content",
            "task.replayed",
            "ended in FAILED",
            "ended in SUCCESS",
        },
    ),
    "a task that runs is neither erased nor robbed of its key": (
        [Submit("note", key="k"), Work(0, count=TO_ITS_WORK), Steer(ERASE), Steer(FREE)],
        {"erase refused", "free_key refused", "ended in SUCCESS"},
    ),
    "two suspects, and one worker for one of them": (
        [Submit("note"), Submit("note"), *DEATH, *DEATH],
        {"attempt.reaped", "handler.remained"},
    ),
    "a poison task": (
        [Submit("note"), *DEATH, *DEATH, *DEATH],
        {"attempt.reaped", "ended in FAILED"},
    ),
}


class Machine(RuleBasedStateMachine):
    """The rules by which the world goes."""

    servers: Servers

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.servers)
        self.run = self.servers.run
        self.sound = False

    @initialize(submissions=beginnings)
    def begin(self, submissions: list[Submit]) -> None:
        self.run(self.world.begin())
        self.sound = True
        for submission in submissions:
            self.step(submission)

    @rule(step=steps)
    def step(self, step: Step) -> None:
        self.run(take(self.world, step))

    @invariant()
    def nothing_has_happened_that_must_not(self) -> None:
        if self.sound:
            self._insist(self.run(self.world.check()))

    def teardown(self) -> None:
        try:
            if self.sound:
                self.sound = False
                self.run(self.world.heal())
                self._insist(self.run(self.world.check_the_end()))
                self.servers.seen["runs"] += 1
        finally:
            self.run(self.world.end())

    def _insist(self, complaints: list[str]) -> None:
        if complaints:
            self.sound = False
            raise AssertionError("\n".join(complaints))


@pytest.fixture
def servers(postgres_url: str, redis_url: str) -> Iterator[Servers]:
    servers = Servers(postgres_url, redis_url)
    yield servers
    servers.close()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_run_that_was_written_down(servers: Servers, name: str) -> None:
    written, wanted = WRITTEN[name]
    world = World(servers)
    try:
        servers.run(world.begin())
        for step in written:
            servers.run(take(world, step))
            assert servers.run(world.check()) == [], step
        servers.run(world.heal())
        assert servers.run(world.check_the_end()) == []
    finally:
        servers.run(world.end())
    assert wanted - servers.seen.keys() == set()


@pytest.mark.slow("ten random runs of the state machine")
@pytest.mark.timeout(86_400 if ASKED else 600)
def test_promises_hold_through_any_crash(servers: Servers) -> None:
    class Here(Machine):
        pass

    Here.servers = servers
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not ASKED,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(report(servers.seen))
    wanted = USUALLY | SOMETIMES if EXAMPLES >= LONG_SEARCH else USUALLY
    assert not [
        what
        for what, any_of in wanted.items()
        if not any(name.startswith(any_of) for name in servers.seen)
    ]


def report(seen: Counter[str]) -> str:
    """How often what has happened."""
    return "\n".join(f"{count:>9,}  {what}" for what, count in sorted(seen.items()))
