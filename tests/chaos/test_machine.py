"""Do ledger and dispatch keep their promises whatever crashes between any two of their operations, in any order?

A state machine (Hypothesis) moves a client, workers and reapers one store operation at a time: it lets them go on, holds answers
back, loses them, kills whoever stands there, wipes Redis, lets time pass. The stores and the engine are the real ones. After every
step the moves of all tasks must be among those that the model allows; at the end, once nobody crashes any more, everything must
come to rest. Without being told otherwise it tries a fixed number of runs; LEASEQ_TEST_MACHINE_EXAMPLES asks for more, at random.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from machine.steps import Step, Submit, beginnings, play, steps, take
from machine.world import Servers, World

ASKED = os.environ.get("LEASEQ_TEST_MACHINE_EXAMPLES")
EXAMPLES = int(ASKED or 25)
STEPS = 60

# What a run of this test is worth nothing without.
SOMETIMES = {
    "a worker dies with a claim whose answer it has not heard": ("crash after claim_tasks",),
    "a worker dies with its ending written and not released": ("crash after settle_attempts", "crash after commit"),
    "the answer to a commit is lost": ("lose commit", "lose settle_attempts"),
    "a stale worker is fenced": ("attempt.fenced",),
    "a dead worker's attempt is taken back": ("attempt.reaped",),
    "a worker is reaped": ("worker.reaped",),
    "a loss of data is noticed": ("epoch.changed",),
    "a task is delivered again": ("task.redispatched",),
    "a delivery of what has ended is skipped": ("delivery.skipped",),
    "a key is replayed": ("task.replayed",),
    "a key comes with other content": ("a key with other content",),
    "an ending is ambiguous": ("attempt.ambiguous",),
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
        self.run(play(self.world, submissions))

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


@pytest.mark.timeout(86_400 if ASKED else 600)
def test_whatever_crashes_the_promises_hold(servers: Servers) -> None:
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
    assert not [what for what, any_of in SOMETIMES.items() if not any(servers.seen[name] for name in any_of)]


def report(seen: Counter[str]) -> str:
    """How often what has happened."""
    return "\n".join(f"{count:>9,}  {what}" for what, count in sorted(seen.items()))
