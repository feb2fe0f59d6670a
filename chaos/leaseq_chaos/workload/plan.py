"""Plan the submissions: which client, when, and with which faults.

A plan is a function of scenario and seed: two runs with the same seed make the same requests at the
same times, regardless of the answers. Clients also interfere with each other and with themselves:
the same key from several places at the same time, the same key with another body, requests to
cancel, bursts. Invariants: a submission is one operation of one client. Operations are in the order
of time. Submissions that share a key share the type. Another body is another payload, and is called
another variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from leaseq_chaos.scenario import Scenario
from leaseq_chaos.workload.payloads import PAYLOADS, Draw, Payload, delay_of

__all__ = ["TENANTS", "Operation", "make_plan"]

TENANTS = ("default", "acme")
# One task in so many is asked for with the key of another tenant.
FOREIGN_EVERY = 10
# One task in so many has labels, among them tasks of both tenants.
LABELLED_EVERY = 3

KEYLESS = 0.01  # without a key no client may retry
TWINS, MOST_TWINS = 0.06, 5
OTHER_BODY, OTHER_BODY_AT_ONCE, OTHER_BODY_SECONDS = 0.04, 0.5, 5.0
# Most tasks have ended before a client can cancel them; those that last are asked to stop more
# often.
CANCEL, CANCEL_LASTING, CANCEL_SECONDS = 0.03, 0.15, 1.5
LASTING = {"slow", "later", "flaky", "hang"}
READ, READ_AT_ONCE, READ_SECONDS = 0.15, 0.4, 3.0
FOLLOW = 0.08
LANES = {"high": 0.05, "low": 0.05}
BURST, BURST_SIZES = 0.004, (20, 60)
# Their end is to be seen, and their neighbours' trouble: no client cancels them.
POISON = {"segfault", "bomb", "block"}


class Operation(Struct, frozen=True, kw_only=True):
    """One submission by one client, and what that client does once it knows the task."""

    at: float  # seconds after the beginning
    client: int  # from 0
    type: str
    payload: Payload
    key: str | None
    tenant: str | None = None  # None: an API that asks for no key
    queue: str | None = None  # another than that of the handler
    variant: str = "a"  # "b": the same key with another body
    delay_seconds: float | None = None
    priority: str | None = None
    cancel_after: float | None = None  # seconds after the acknowledgement
    reads: tuple[float, ...] = ()  # seconds after the acknowledgement
    follow: bool = False  # read again and again, until it has ended
    foreign: bool = False  # ask for the task with the key of another tenant, too
    labels: dict[str, str] | None = None


def make_plan(scenario: Scenario, *, seed: int, seconds: float, accounts: int) -> list[Operation]:
    """Everything that clients submit in a run."""
    rng = Random(seed)
    plan: list[Operation] = []
    for number, at in enumerate(_moments(rng, scenario.tasks_per_second, seconds), start=1):
        draw = Draw(rng, number, accounts)
        submissions = _submissions(draw, scenario, key=f"k{seed}-{number}", at=round(at, 4))
        # By number and not by chance, so that the rest of a plan is that of its seed.
        tenant, foreign = TENANTS[number % len(TENANTS)], number % FOREIGN_EVERY == 0
        labels = labels_of(number) if number % LABELLED_EVERY == 0 else None
        plan += [
            replace(each, tenant=tenant, foreign=foreign, labels=labels) for each in submissions
        ]
    plan.sort(key=lambda operation: operation.at)  # stable
    return plan


def labels_of(number: int) -> dict[str, str]:
    """One label of its own, and one that many tasks share."""
    return {"number": str(number), "shard": str(number % 7)}


def _moments(rng: Random, rate: float, seconds: float) -> Iterator[float]:
    """When a task is thought of: `rate` a second on the average, now and then many at the same
    moment."""
    mean_size = 1 + BURST * (sum(BURST_SIZES) / 2 - 1)
    at = rng.expovariate(rate / mean_size)
    while at < seconds:
        yield from [at] * (rng.randint(*BURST_SIZES) if rng.random() < BURST else 1)
        at += rng.expovariate(rate / mean_size)


def _submissions(draw: Draw, scenario: Scenario, *, key: str, at: float) -> Iterator[Operation]:
    """One task: its first submission, and all further requests under its key."""
    rng = draw.rng
    (task_type,) = rng.choices(list(scenario.mix), list(scenario.mix.values()))
    keyless = rng.random() < KEYLESS
    first = Operation(
        at=at,
        client=rng.randrange(scenario.clients),
        type=task_type,
        payload=PAYLOADS[task_type](draw),
        key=None if keyless else key,
        delay_seconds=delay_of(task_type, rng),
        priority=_lane(rng),
        cancel_after=_cancel(task_type, rng),
        reads=_reads(rng),
        follow=rng.random() < FOLLOW,
    )
    yield first
    if not keyless:
        yield from _twins(first, rng, scenario.clients)
        yield from _other_body(first, draw, scenario.clients)


def _lane(rng: Random) -> str | None:
    (lane,) = rng.choices([None, *LANES], [1 - sum(LANES.values()), *LANES.values()])
    return lane


def _cancel(task_type: str, rng: Random) -> float | None:
    # Squared: more often immediately, when it meets the claim.
    moment, chance = round(CANCEL_SECONDS * rng.random() ** 2, 4), rng.random()
    if task_type in POISON:
        return None
    return moment if chance < (CANCEL_LASTING if task_type in LASTING else CANCEL) else None


def _reads(rng: Random) -> tuple[float, ...]:
    if rng.random() >= READ:
        return ()
    return (0.0 if rng.random() < READ_AT_ONCE else round(rng.uniform(0, READ_SECONDS), 4),)


def _twins(first: Operation, rng: Random, clients: int) -> Iterator[Operation]:
    """The same submission from other clients at the same moment. Each immediately reads the task of
    its answer."""
    others = [client for client in range(clients) if client != first.client]
    if rng.random() >= TWINS or not others:
        return
    for client in rng.sample(others, rng.randint(1, min(MOST_TWINS - 1, len(others)))):
        yield replace(first, client=client, cancel_after=None, reads=(0.0,), follow=False)


def _other_body(first: Operation, draw: Draw, clients: int) -> Iterator[Operation]:
    """Another client uses the key for a different submission, at the same moment or later."""
    rng = draw.rng
    if rng.random() >= OTHER_BODY:
        return
    payload = PAYLOADS[first.type](draw)
    if payload == first.payload:
        return
    later = 0.0 if rng.random() < OTHER_BODY_AT_ONCE else rng.uniform(0, OTHER_BODY_SECONDS)
    yield replace(
        first,
        at=round(first.at + later, 4),
        client=rng.randrange(clients),
        payload=payload,
        variant="b",
        cancel_after=None,
        reads=(0.0,),
        follow=False,
    )
