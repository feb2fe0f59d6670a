"""Count events that are metrics, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leaseq.metrics.tally import OTHER, TALLY
from leaseq.observability.telemetry import Event, subscribe

Fields = dict[str, Any]


def _of_store(store: str) -> Callable[[Fields], None]:
    return lambda fields: TALLY.count("leaseq_store_errors_total", store)


def _reaped(fields: Fields) -> None:
    if fields["first"]:
        TALLY.count("leaseq_workers_reaped_total")


def _exited(reason: str) -> Callable[[Fields], None]:
    return lambda fields: TALLY.count("leaseq_child_exits_total", reason)


def _many(name: str) -> Callable[[Fields], None]:
    return lambda fields: TALLY.count(name, amount=fields["count"])


def _many_of_queue(name: str) -> Callable[[Fields], None]:
    def count(fields: Fields) -> None:
        TALLY.count(name, fields.get("queue") or OTHER, amount=fields["count"])

    return count


COUNTS: dict[str, Callable[[Fields], None]] = {
    "child.exited": _exited("exited"),
    "child.died": _exited("died"),
    "delivery.refilled": _many_of_queue("leaseq_tasks_refilled_total"),
    "dispatch.unreachable": _of_store("dispatch"),
    "epoch.changed": lambda fields: TALLY.count("leaseq_epoch_changes_total"),
    "lease.lapsed": lambda fields: TALLY.count("leaseq_lease_lapses_total"),
    "ledger.unreachable": _of_store("ledger"),
    "push.failed": _many("leaseq_push_failures_total"),
    "task.pruned": _many("leaseq_tasks_pruned_total"),
    "task.redispatched": _many_of_queue("leaseq_tasks_redelivered_total"),
    "worker.reaped": _reaped,
}


def count_events() -> Callable[[], None]:
    """Count from now on, in the tally of this process. Returns a function that stops it."""
    return subscribe(_count, names=COUNTS.keys())


def _count(event: Event) -> None:
    COUNTS[event.name](event.fields)


__all__ = ["COUNTS", "count_events"]
