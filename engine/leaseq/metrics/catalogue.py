"""The catalogue of metrics, with the kind, the labels and the unit of each.

Names follow prometheus.io/docs/practices/naming: base units, the unit as a suffix in the plural,
`_total` for counters. docs/metrics.md is made from this table, and a test compares them.

Invariant: no label holds a tenant, a key, an id or a host. The values of all labels but `queue`
and `type` are sets that the code knows, and those two are bounded (`tally.py`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram", "info"]
Role = Literal["api", "reaper", "worker"]

PROCESS_RULE = "Of this process: sum over instances."
CLUSTER_RULE = "Of the cluster: max without (instance)."


class Metric(Struct, frozen=True):
    """One metric. `cluster`: each process that exposes it speaks for the whole cluster."""

    kind: Kind
    help: str
    roles: tuple[Role, ...]
    labels: tuple[str, ...] = ()
    unit: str = ""
    cluster: bool = False

    @property
    def text(self) -> str:
        """Its HELP line, with the rule by which instances are joined."""
        return f"{self.help} {CLUSTER_RULE if self.cluster else PROCESS_RULE}"


ALL: tuple[Role, ...] = ("api", "reaper", "worker")
WORKER: tuple[Role, ...] = ("worker",)
RECOVERING: tuple[Role, ...] = ("reaper", "worker")
TASK = ("queue", "type")

METRICS: dict[str, Metric] = {
    "leaseq_attempts_started_total": Metric(
        "counter", "Attempts whose handler was started.", WORKER, TASK
    ),
    "leaseq_attempts_total": Metric(
        "counter",
        "Attempts that ended, by outcome. Lost ones are counted by the process that recovered them.",
        RECOVERING,
        (*TASK, "outcome"),
    ),
    "leaseq_tasks_ended_total": Metric(
        "counter",
        "Tasks that the end of an attempt brought to a terminal state.",
        RECOVERING,
        (*TASK, "state"),
    ),
    "leaseq_attempt_duration_seconds": Metric(
        "histogram",
        "Time from the claim of an attempt until its ending was recorded.",
        WORKER,
        TASK,
        "seconds",
    ),
    "leaseq_attempts_fenced_total": Metric(
        "counter",
        "Endings that changed nothing, because the task had been given to another worker.",
        WORKER,
        ("queue",),
    ),
    "leaseq_slots": Metric("gauge", "Attempts that may run at a time.", WORKER),
    "leaseq_slots_busy": Metric("gauge", "Slots that a handler holds.", WORKER),
    "leaseq_handlers_overrunning": Metric(
        "gauge", "Handlers that still run although their attempt has ended.", WORKER
    ),
    "leaseq_attempts_running": Metric("gauge", "Attempts that are not done.", WORKER, ("queue",)),
    "leaseq_unsettled": Metric("gauge", "Attempts whose ending is not recorded yet.", WORKER),
    "leaseq_loop_lag_seconds": Metric(
        "gauge", "How late the event loop was at most in the last second.", WORKER, (), "seconds"
    ),
    "leaseq_children": Metric("gauge", "Worker processes that run.", WORKER),
}

__all__ = ["CLUSTER_RULE", "METRICS", "PROCESS_RULE", "Kind", "Metric", "Role"]
