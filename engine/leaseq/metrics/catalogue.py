"""The catalogue of metrics, with the kind, the labels and the unit of each.

Names follow prometheus.io/docs/practices/naming: base units, the unit as a suffix in the plural,
`_total` for counters. docs/metrics.md is made from this table, and a test compares them.

Invariant: no label holds a tenant, a key, an id or a host. The values of all labels but `queue`,
`type` and `limit` are sets that the code knows, and those three are bounded (`tally.py`).
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
API: tuple[Role, ...] = ("api",)
REAPER: tuple[Role, ...] = ("reaper",)
WORKER: tuple[Role, ...] = ("worker",)
RECOVERING: tuple[Role, ...] = ("reaper", "worker")
TASK = ("queue", "type")


def _of_cluster(text: str, labels: tuple[str, ...], unit: str = "") -> Metric:
    return Metric("gauge", text, REAPER, labels, unit, cluster=True)


METRICS: dict[str, Metric] = {
    # Attempts and tasks.
    "leaseq_submissions_total": Metric(
        "counter",
        "Submissions that were answered with a task, by result: created, or replayed for a key.",
        ("api", "worker"),
        (*TASK, "result"),
    ),
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
    "leaseq_wait_seconds": Metric(
        "histogram",
        "Time from when a task was due until the claim of an attempt whose handler was started."
        " Delays that were asked for do not count.",
        WORKER,
        TASK,
        "seconds",
    ),
    "leaseq_crashes_total": Metric(
        "counter",
        "Attempts that were lost with their worker, by kind: crash if the task is charged with it,"
        " because it ran alone, else loss.",
        RECOVERING,
        (*TASK, "kind"),
    ),
    "leaseq_attempts_fenced_total": Metric(
        "counter",
        "Endings that changed nothing, because the task had been given to another worker.",
        WORKER,
        ("queue",),
    ),
    # Worker processes and their supervisor.
    "leaseq_attempts_running": Metric("gauge", "Attempts that are not done.", WORKER, ("queue",)),
    "leaseq_running_oldest_seconds": Metric(
        "gauge",
        "Time since the oldest attempt that is not done was claimed: of worker processes, the longest.",
        WORKER,
        ("queue",),
        "seconds",
    ),
    "leaseq_slots": Metric("gauge", "Attempts that may run at a time.", WORKER),
    "leaseq_slots_busy": Metric("gauge", "Slots that a handler holds.", WORKER),
    "leaseq_handlers_overrunning": Metric(
        "gauge", "Handlers that still run although their attempt has ended.", WORKER
    ),
    "leaseq_unsettled": Metric("gauge", "Attempts whose ending is not recorded yet.", WORKER),
    "leaseq_loop_lag_seconds": Metric(
        "gauge",
        "How late the event loop was at most in the last second: of worker processes, the worst.",
        WORKER,
        (),
        "seconds",
    ),
    "leaseq_children": Metric("gauge", "Worker processes that run.", WORKER),
    "leaseq_child_exits_total": Metric(
        "counter",
        "Worker processes that ended, by reason: exited in good order, or died.",
        WORKER,
        ("reason",),
    ),
    "leaseq_heartbeat_age_seconds": Metric(
        "gauge",
        "Time since a heartbeat was last acknowledged, while there are worker processes.",
        WORKER,
        (),
        "seconds",
    ),
    "leaseq_lease_lapses_total": Metric(
        "counter", "Leases that dispatch had lost or let lapse.", WORKER
    ),
    # Stores.
    "leaseq_store_up": Metric(
        "gauge", "Whether a store (ledger, dispatch) answered this process last.", ALL, ("store",)
    ),
    "leaseq_store_errors_total": Metric(
        "counter", "How often this process reported a store as unreachable.", ALL, ("store",)
    ),
    "leaseq_push_failures_total": Metric(
        "counter", "Deliveries that were not pushed. The reaper delivers their tasks.", ALL
    ),
    "leaseq_statement_duration_seconds": Metric(
        "histogram", "Time of a statement of the hot path.", ALL, ("statement",), "seconds"
    ),
    "leaseq_batch_size": Metric(
        "histogram",
        "Tasks in one batch that is submitted, claimed or settled.",
        ALL,
        ("statement",),
    ),
    # The API.
    "leaseq_http_request_duration_seconds": Metric(
        "histogram",
        "Time from a request until its answer began.",
        API,
        ("method", "route", "status"),
        "seconds",
    ),
    "leaseq_refusals_total": Metric(
        "counter", "Answers that are problems, by code.", API, ("code",)
    ),
    "leaseq_held_answers": Metric(
        "gauge", "Requests whose answer is held: waits for a task, and streams.", API
    ),
    # The cluster, as a reaper sees it.
    "leaseq_queue_waiting": _of_cluster("Deliveries that wait in a lane.", ("queue", "lane")),
    "leaseq_queue_oldest_seconds": _of_cluster(
        "Time since the submission of the oldest task that waits.", ("queue",), "seconds"
    ),
    "leaseq_queue_backlog_age_seconds": _of_cluster(
        "Time since the submission of the first task that waits in the ledger behind a full lane.",
        ("queue",),
        "seconds",
    ),
    "leaseq_queue_backlogged": _of_cluster(
        "Whether tasks of a queue wait in the ledger behind a full lane.", ("queue",)
    ),
    "leaseq_queue_paused": _of_cluster("Whether a queue is paused.", ("queue",)),
    "leaseq_queue_workers": _of_cluster("Open workers that serve a queue.", ("queue",)),
    "leaseq_queue_slots": _of_cluster(
        "Slots of the supervisors that serve a queue. A slot that serves several counts in each.",
        ("queue",),
    ),
    "leaseq_due_overdue_seconds": _of_cluster(
        "Time since the first task was due that is still SCHEDULED. 0: none is due.",
        ("queue",),
        "seconds",
    ),
    "leaseq_scheduled": _of_cluster(
        "Tasks that are SCHEDULED. Reckoned from a sample where there are more than some 30,000.",
        ("queue",),
    ),
    "leaseq_limit_admitted": _of_cluster(
        "Tasks with a permit of a limit. Reckoned from a sample where very many tasks have limits.",
        ("limit",),
    ),
    "leaseq_limit_waiting": _of_cluster(
        "Tasks that wait for a permit. Reckoned from a sample as well.", ("limit",)
    ),
    "leaseq_limit_oldest_seconds": _of_cluster(
        "Time for which the oldest of them has had the limit. 0: none waits.",
        ("limit",),
        "seconds",
    ),
    "leaseq_limit_concurrency": _of_cluster(
        "Permits of a limit. Missing where it bounds its keys only.", ("limit",)
    ),
    "leaseq_schedules": _of_cluster(
        "Schedules by state: running, paused, or over because the end has passed. Reckoned from a "
        "sample where there are more than some 5,000.",
        ("state",),
    ),
    "leaseq_schedule_overdue_seconds": _of_cluster(
        "Time since the first schedule was due that no reaper has fired. 0: none is due.",
        (),
        "seconds",
    ),
    "leaseq_dead_letters": _of_cluster("Tasks that are FAILED.", ("queue", "type")),
    "leaseq_tasks_estimated": _of_cluster(
        "Tasks in a state by the last census, if that is younger than 10 minutes.",
        ("queue", "state"),
    ),
    "leaseq_tasks_estimated_error": _of_cluster(
        "Standard error of an estimate. 0: the census counted all tasks.", ("queue", "state")
    ),
    "leaseq_workers": _of_cluster(
        "Open workers: seen within a lease (open), or not (silent).", ("state",)
    ),
    "leaseq_ledger_bytes": _of_cluster("Size of a table with its indexes.", ("table",), "bytes"),
    "leaseq_dispatch_memory_bytes": _of_cluster(
        "Memory of Redis or Valkey for data. Missing where its user may not ask.", (), "bytes"
    ),
    # The reaper itself.
    "leaseq_reaper_pass_duration_seconds": Metric(
        "histogram", "Time of a pass of a duty.", REAPER, ("duty",), "seconds"
    ),
    "leaseq_reaper_last_pass_timestamp_seconds": Metric(
        "gauge", "When a pass of a duty last succeeded.", REAPER, ("duty",), "seconds"
    ),
    "leaseq_reaper_pass_failures_total": Metric(
        "counter", "Passes that failed.", REAPER, ("duty",)
    ),
    "leaseq_tasks_promoted_total": Metric(
        "counter", "Due tasks that were made PENDING.", REAPER, ("queue",)
    ),
    "leaseq_schedule_occurrences_total": Metric(
        "counter",
        "Occurrences of schedules, by result: fired, missed, or skipped because a task had not ended.",
        REAPER,
        ("result",),
    ),
    "leaseq_schedule_lateness_seconds": Metric(
        "histogram",
        "Time from when a schedule was due until a pass read it, for each task that it became.",
        REAPER,
        (),
        "seconds",
    ),
    "leaseq_limit_repairs_total": Metric(
        "counter",
        "Permits and places in the lines of limits that were wrong, and were repaired.",
        REAPER,
        (),
    ),
    "leaseq_tasks_refilled_total": Metric(
        "counter",
        "Tasks from the ledger that entered a lane which had been full.",
        REAPER,
        ("queue",),
    ),
    "leaseq_tasks_redelivered_total": Metric(
        "counter", "Tasks whose delivery was lost and was made again.", REAPER, ("queue",)
    ),
    "leaseq_tasks_pruned_total": Metric("counter", "Tasks deleted past retention.", REAPER),
    "leaseq_workers_reaped_total": Metric(
        "counter", "Workers that were declared dead and closed.", RECOVERING
    ),
    "leaseq_reaper_braked": Metric(
        "gauge", "Whether recovery waits, because most of the workers fell silent together.", REAPER
    ),
    "leaseq_epoch_changes_total": Metric(
        "counter", "How often dispatch was found to have lost its data.", REAPER
    ),
    # Every process.
    "leaseq_build_info": Metric("info", "The version of leaseq.", ALL, ("version", "python")),
}

__all__ = ["CLUSTER_RULE", "METRICS", "PROCESS_RULE", "Kind", "Metric", "Role"]
