"""The rules for what needs a person: one list, in the order of the sentences.

Each has the meaning and the limit of the alert that it names, seen at one moment. An alert also
waits for some time before it fires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from leaseq.operations.overview.answer import Fleet, Need, Overview, QueueStanding
from leaseq.operations.why.wording import span

# The limits of deploy/prometheus/leaseq.rules.yml.
NO_REAPER_SECONDS = 30.0
WAITS_SECONDS = 300.0
OVERDUE_SECONDS = 30.0
FORGOTTEN = timedelta(hours=4)
SLOTS_SHARE = 0.95
SLOTS_WAIT_SECONDS = 60.0
# Sentences that are shown.
MOST_NEEDS = 7

Rule = Callable[[Overview], Iterator[Need]]


def needs_of(overview: Overview) -> list[Need]:
    """Things that need a person, the worst first, at most `MOST_NEEDS`."""
    found = [need for rule in RULES for need in rule(overview)]
    return found[:MOST_NEEDS]


def _dispatch_away(overview: Overview) -> Iterator[Need]:
    if overview.redis == "away":
        yield Need(
            rule="LeaseqDispatchAway",
            sentence="Redis does not answer. Accepted tasks wait in Postgres, and nothing is lost.",
        )


def _no_reaper(overview: Overview) -> Iterator[Need]:
    fleet = overview.fleet
    silent = fleet.reaper_silent_seconds
    if fleet.reapers == 0 and (silent is None or silent > NO_REAPER_SECONDS):
        heard = "none has announced itself" if silent is None else f"last seen {_ago(silent)}"
        yield Need(
            rule="LeaseqNoReaper",
            sentence=f"No reaper runs ({heard}). Tasks of lost hosts and due tasks wait.",
            since=None if silent is None else overview.at - timedelta(seconds=silent),
        )


def _past_due(overview: Overview) -> Iterator[Need]:
    for queue in overview.queues:
        if (late := queue.overdue_seconds) is not None and late > OVERDUE_SECONDS:
            yield Need(
                rule="LeaseqDuePastDue",
                sentence=f"Queue {queue.name}: its first task has been due for {span(late)} and is not promoted.",
                queue=queue.name,
                since=overview.at - timedelta(seconds=late),
            )


def _unserved(overview: Overview) -> Iterator[Need]:
    for queue in overview.queues:
        if queue.workers == 0 and queue.lanes is not None and queue.lanes.waiting > 0:
            count = queue.lanes.waiting
            tasks = "1 task waits" if count == 1 else f"{count:,} tasks wait"
            yield Need(
                rule="LeaseqQueueUnserved",
                sentence=f"Queue {queue.name}: {tasks}, and no worker serves it.",
                queue=queue.name,
                since=queue.lanes.oldest_at,
            )


def _waits_too_long(overview: Overview) -> Iterator[Need]:
    for queue in overview.queues:
        waited = oldest_seconds(overview, queue)
        if queue.workers and not queue.paused and waited is not None and waited > WAITS_SECONDS:
            yield Need(
                rule="LeaseqQueueWaitsTooLong",
                sentence=f"Queue {queue.name}: the oldest task has waited for {span(waited)}.",
                queue=queue.name,
                since=None if queue.lanes is None else queue.lanes.oldest_at,
            )


def _workers_silent(overview: Overview) -> Iterator[Need]:
    count = overview.fleet.workers_silent
    if count:
        who = "1 worker was" if count == 1 else f"{count} workers were"
        yield Need(
            rule="LeaseqWorkersSilent",
            sentence=f"{who} not seen for a lease. A reaper closes them and gives their tasks back.",
        )


def _slots_full(overview: Overview) -> Iterator[Need]:
    fleet = overview.fleet
    longest = longest_wait(overview)
    if (
        fleet.busy is not None
        and fleet.slots
        and fleet.busy > SLOTS_SHARE * fleet.slots
        and longest is not None
        and longest > SLOTS_WAIT_SECONDS
    ):
        yield Need(
            rule="LeaseqSlotsFull",
            sentence=f"{min(fleet.busy, fleet.slots)} of {fleet.slots} slots are busy and tasks wait. Add workers.",
        )


def _forgotten(overview: Overview) -> Iterator[Need]:
    for queue in overview.queues:
        since = queue.paused_at
        if queue.paused and since is not None and overview.at - since > FORGOTTEN:
            by = "" if queue.paused_by is None else f" by {queue.paused_by}"
            paused = span((overview.at - since).total_seconds())
            yield Need(
                rule="LeaseqQueueForgotten",
                sentence=f"Queue {queue.name} has been paused{by} for {paused}.",
                queue=queue.name,
                since=since,
            )


def oldest_seconds(overview: Overview, queue: QueueStanding) -> float | None:
    """How long the oldest waiting task of a queue has waited. None: none waits, or it is not
    known."""
    if queue.lanes is None:
        return None
    times = [each for each in (queue.lanes.oldest_at, queue.lanes.backlog_since) if each]
    return max((overview.at - min(times)).total_seconds(), 0.0) if times else None


def longest_wait(overview: Overview) -> float | None:
    """The longest of these waits, of all queues that are not paused."""
    waits = [oldest_seconds(overview, queue) for queue in overview.queues if not queue.paused]
    return max((wait for wait in waits if wait is not None), default=None)


def in_trouble(queue: QueueStanding, needs: Sequence[Need]) -> bool:
    """Whether a sentence is about this queue."""
    return any(need.queue == queue.name for need in needs)


def _ago(seconds: float) -> str:
    return f"{span(seconds)} ago"


RULES: tuple[Rule, ...] = (
    _dispatch_away,
    _no_reaper,
    _past_due,
    _unserved,
    _waits_too_long,
    _workers_silent,
    _slots_full,
    _forgotten,
)

__all__ = ["MOST_NEEDS", "Fleet", "in_trouble", "longest_wait", "needs_of", "oldest_seconds"]
