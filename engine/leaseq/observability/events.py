"""The catalogue of events: the name, the level and the fields of each.

A name is a noun and what happened to it. Transitions are at debug, and one line for each attempt
is at info. A warning is for a person to know of, an error is for a person to look at.

Invariants: an event carries all of its required fields, perhaps optional ones, and no other. Logs,
metrics and traces rely on that, so a field is renamed as carefully as a column. The tests compare
the catalogue with each call of `emit`, with the events that they record, and with the table in
docs/operations.md.
"""

from __future__ import annotations

import logging

from msgspec import Struct

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


class Kind(Struct, frozen=True):
    """One kind of event. The names of fields are separated by spaces."""

    level: int
    required: str = ""
    optional: str = ""

    @property
    def fields(self) -> list[str]:
        """The names of all fields, in the order of the log line."""
        return [*self.required.split(), *self.optional.split()]

    def misfit(self, fields: set[str]) -> str | None:
        """The error of an event that has these fields, or None."""
        missing, unknown = set(self.required.split()) - fields, fields - set(self.fields)
        return (
            f"missing {sorted(missing)}, unknown {sorted(unknown)}" if missing or unknown else None
        )


CATALOGUE: dict[str, Kind] = {
    "task.submitted": Kind(DEBUG, "task_id type queue state"),
    "task.replayed": Kind(DEBUG, "task_id type queue state"),
    "task.promoted": Kind(DEBUG, "task_id queue lane"),
    "task.admitted": Kind(DEBUG, "task_id queue lane limit"),
    "task.claimed": Kind(DEBUG, "task_id attempt type"),
    "task.cancelled": Kind(INFO, "task_id state"),
    "task.failed": Kind(WARNING, "task_id queue code", "type"),
    "task.redriven": Kind(INFO, "task_id"),
    "task.erased": Kind(INFO, "task_id"),
    "key.freed": Kind(INFO, "task_id"),
    "task.redispatched": Kind(WARNING, "count task_ids reason", "queue"),
    "task.rescheduled": Kind(WARNING, "count task_ids"),
    "letter.corrected": Kind(INFO, "added removed"),
    "task.locked": Kind(WARNING, "verb count task_ids held_by"),
    "task.pruned": Kind(INFO, "count keys workers"),
    "failure.appeared": Kind(WARNING, "type fingerprint code tenant"),
    "failure.acknowledged": Kind(INFO, "type fingerprint"),
    "failure.unacknowledged": Kind(INFO, "type fingerprint"),
    "attempt.started": Kind(DEBUG, "task_id attempt"),
    "attempt.settled": Kind(INFO, "task_id type queue attempt outcome state seconds", "error"),
    "attempt.fenced": Kind(WARNING, "task_id attempt worker_id"),
    "attempt.reaped": Kind(WARNING, "task_id attempt worker_id state reason"),
    "attempt.ambiguous": Kind(WARNING, "task_id attempt", "error state"),
    "attempt.forgotten": Kind(WARNING, "worker_id queue count task_ids"),
    "delivery.pushed": Kind(DEBUG, "queue lane count"),
    "delivery.refilled": Kind(DEBUG, "queue lane count"),
    "task.expedited": Kind(INFO, "count queues"),
    "delivery.released": Kind(DEBUG, "queue count"),
    "delivery.skipped": Kind(INFO, "count task_id state attempt queue"),
    "delivery.parked": Kind(WARNING, "count reason queue", "delivery"),
    "delivery.stray": Kind(WARNING, "queue count task_id"),
    "delivery.restored": Kind(WARNING, "queue count"),
    "admission.failed": Kind(WARNING, "limit error"),
    "admission.taken": Kind(INFO, "count"),
    "limit.repaired": Kind(WARNING, "limit task_id"),
    "push.failed": Kind(WARNING, "count error", "queue"),
    "backlog.began": Kind(INFO, "queue lane window"),
    "backlog.ended": Kind(INFO, "queue lane"),
    "lease.opened": Kind(DEBUG, "worker_id"),
    "lease.renewed": Kind(DEBUG, "worker_ids"),
    "lease.lapsed": Kind(WARNING, "worker_id queue answer"),
    "lease.reopened": Kind(WARNING, "worker_id queue"),
    "lease.dropped": Kind(WARNING, "queue count", "worker_id"),
    "worker.opened": Kind(INFO, "worker_id queues isolated", "app_version"),
    "worker.exhausted": Kind(WARNING, "worker_id lingering threads concurrency isolated"),
    "worker.locked": Kind(WARNING, "worker_id verb"),
    "worker.draining": Kind(INFO, "worker_id grace_seconds running"),
    "worker.drained": Kind(INFO, "worker_id handed_back left"),
    "worker.closed": Kind(INFO, "worker_id reason tasks sessions_ended first"),
    "worker.fenced": Kind(ERROR, "worker_id reason"),
    "worker.suspected": Kind(WARNING, "worker_id queues"),
    "worker.reaped": Kind(WARNING, "worker_id reason tasks sessions_ended first"),
    "sessions.kept": Kind(WARNING, "worker_id count"),
    "child.started": Kind(INFO, "worker_id pid_of_child isolated"),
    "child.exited": Kind(INFO, "worker_id pid_of_child code"),
    "child.died": Kind(ERROR, "worker_id pid_of_child code running"),
    "child.stalled": Kind(ERROR, "worker_id seconds"),
    "supervisor.started": Kind(INFO, "pid queues processes concurrency"),
    "supervisor.lagged": Kind(WARNING, "seconds children"),
    "supervisor.draining": Kind(INFO, "grace_seconds children"),
    "supervisor.stopped": Kind(INFO, "pid"),
    "supervisor.lost": Kind(ERROR, "worker_id"),
    "metrics.serving": Kind(INFO, "host port"),
    "reaper.started": Kind(INFO, "pid lease_seconds"),
    "reaper.braked": Kind(ERROR, "lapsed workers hosts seconds"),
    "reaper.quieted": Kind(WARNING, "seconds reason"),
    "reaper.stopped": Kind(INFO, "pid"),
    "epoch.changed": Kind(WARNING, "before found now"),
    "queue.paused": Kind(INFO, "queue"),
    "queue.resumed": Kind(INFO, "queue"),
    "queue.forgotten": Kind(INFO, "count queues"),
    "queue.sized": Kind(DEBUG, "queue permits"),
    "queue.adopted": Kind(INFO, "queues tasks ended"),
    "schedule.fired": Kind(DEBUG, "tenant schedule task_id"),
    "schedule.missed": Kind(WARNING, "tenant schedule count"),
    "schedule.skipped": Kind(INFO, "tenant schedule count"),
    "schedule.put": Kind(INFO, "tenant schedule source"),
    "schedule.paused": Kind(INFO, "tenant schedule"),
    "schedule.resumed": Kind(INFO, "tenant schedule missed"),
    "schedule.deleted": Kind(INFO, "tenant schedule"),
    "schedule.failed": Kind(ERROR, "tenant schedule error"),
    "operation.refusals": Kind(WARNING, "actor kept", "key_id"),
    "operation.unconfirmed": Kind(WARNING, "operation_id target error"),
    "operation.started": Kind(INFO, "operation_id action total rate"),
    "operation.stopped": Kind(INFO, "operation_id done"),
    "operation.resumed": Kind(INFO, "operation_id done"),
    "operation.ended": Kind(INFO, "operation_id done refused"),
    "operation.pruned": Kind(INFO, "count"),
    "handler.escaped": Kind(ERROR, "error"),
    "handler.limited": Kind(WARNING, "worker_id limits restored"),
    "handler.overran": Kind(WARNING, "task_id type"),
    "handler.remained": Kind(INFO, "task_id type kind"),
    "ledger.unreachable": Kind(WARNING, "error", "waiting_seconds waiting"),
    "ledger.returned": Kind(INFO),
    "ledger.left": Kind(WARNING, "reason connections"),
    "ledger.abandoned": Kind(WARNING, "pid error"),
    "dispatch.unreachable": Kind(WARNING, "error", "queue"),
    "dispatch.repaired": Kind(WARNING, "count keys"),
    "dispatch.foreign": Kind(ERROR, "prefix ledger found error"),
    "dispatch.returned": Kind(INFO, "", "queue"),
    "log.dropped": Kind(WARNING, "count"),
    "loop.failed": Kind(ERROR, "loop error", "task_id"),
    "api.started": Kind(INFO, "host port pid auth"),
    "api.unprotected": Kind(WARNING, "host port"),
    "key.created": Kind(INFO, "key_id name scopes tenant"),
    "key.rotated": Kind(INFO, "key_id replaced_by name"),
    "key.revoked": Kind(INFO, "key_id name"),
    "key.limited": Kind(INFO, "key_id name rate burst"),
    "quota.exceeded": Kind(INFO, "policy", "tenant key_id"),
    "tenant.created": Kind(INFO, "tenant"),
    "tenant.limited": Kind(INFO, "tenant unfinished unfinished_per_queue payload_bytes_per_day"),
    "auth.failed": Kind(WARNING, "address reason count", "key_id"),
    "process.ended": Kind(WARNING, "pid reason"),
    "api.crowded": Kind(WARNING, "connections in_flight_bytes"),
    "certificate.loaded": Kind(INFO),
    "certificate.refused": Kind(WARNING, "error"),
    "api.shedding": Kind(WARNING, "kind refused waiting"),
    "api.stopping": Kind(INFO),
    "batch.abandoned": Kind(INFO, "recorded"),
    "api.stopped": Kind(INFO),
    "request.failed": Kind(ERROR, "method error traceback"),
    "schema.refused": Kind(WARNING, "type error"),
    "server.doubted": Kind(WARNING, "server reason"),
}

__all__ = ["CATALOGUE", "DEBUG", "ERROR", "INFO", "WARNING", "Kind"]
