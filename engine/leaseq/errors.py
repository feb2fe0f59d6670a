"""The error tree of leaseq, with a stable code for each class.

The tree::

    LeaseqError
    +-- ConfigInvalid            config_invalid
    +-- ServerUnreachable        server_unreachable
    |   +-- DispatchForeign      dispatch_foreign
    +-- ServerUnfit              server_unfit
    +-- SchemaMismatch           schema_mismatch
    +-- SubmissionInvalid        submission_invalid
    |   +-- PayloadInvalid       payload_invalid
    |   |   +-- PayloadNotEncoded   payload_not_encoded
    |   +-- PayloadTooLarge      payload_too_large
    |   +-- UnknownType          unknown_type
    |   +-- LimitUnknown         limit_unknown
    |   +-- FeatureNeedsUpgrade     feature_needs_upgrade
    |   +-- UniqueConflict          unique_conflict
    |   +-- IdempotencyKeyInvalid   idempotency_key_invalid
    |   +-- IdempotencyKeyReused    idempotency_key_reused
    |   +-- IdempotencyInFlight     idempotency_in_flight
    +-- ListsBusy                lists_busy
    +-- TaskNotFound             task_not_found
    +-- TaskConflict             task_conflict
    |   +-- TaskMoved               task_moved
    |   +-- OperationInDoubt        operation_in_doubt
    +-- ActionInvalid            action_invalid
    +-- FailureNotFound          failure_not_found
    +-- QueueUnknown             queue_unknown
    +-- LimitInvalid             limit_invalid
    +-- LimitNotFound            limit_not_found
    +-- LimitInUse               limit_in_use
    +-- ReasonInvalid            reason_invalid
    +-- OperationInvalid         operation_invalid
    +-- OperationNotFound        operation_not_found
    +-- OperationConflict        operation_conflict
    +-- ScheduleInvalid          schedule_invalid
    +-- ScheduleNotFound         schedule_not_found
    +-- ScheduleConflict         schedule_conflict
    +-- AccessInvalid            access_invalid
    +-- ApiKeyNotFound           api_key_not_found
    +-- TenantNotFound           tenant_not_found
    +-- TaskFailed               task_failed
    +-- TaskCancelled            task_cancelled
    +-- TaskErased               task_erased
    +-- ResultTimeout            result_timeout
    +-- ResultInvalid            result_invalid
    +-- Fenced                   fenced
    |   +-- TransactionForeign   transaction_foreign
    +-- TransactionEnded         transaction_ended
    +-- CodecMismatch            codec_mismatch
    +-- NotOpen                  not_open

`Retry` and `Fail` are not errors of leaseq. A handler raises them to choose how its attempt ends.
The docstring of a class is its default message. A `code` never changes once released.
"""

from __future__ import annotations


class LeaseqError(Exception):
    """An error in leaseq."""

    code = "leaseq_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigInvalid(LeaseqError):
    """The configuration is not valid."""

    code = "config_invalid"


class ServerUnreachable(LeaseqError):
    """Postgres or Redis does not answer."""

    code = "server_unreachable"
    # Postgres is there, and has ended a statement because it took longer than it may.
    took_too_long = False


class DispatchForeign(ServerUnreachable):
    """The prefix in Redis belongs to another ledger."""

    code = "dispatch_foreign"


class ServerUnfit(LeaseqError):
    """A server is configured in a way that would break a guarantee."""

    code = "server_unfit"


class SchemaMismatch(LeaseqError):
    """The schema in Postgres and this code have different versions."""

    code = "schema_mismatch"


class SubmissionInvalid(LeaseqError):
    """The submission is not valid. `field`: the option to blame, where its name says more than the
    message. `task_id`: the task that is in the way."""

    code = "submission_invalid"

    def __init__(self, message: str | None = None, *, field: str = "", task_id: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.task_id = task_id


class PayloadInvalid(SubmissionInvalid):
    """The payload does not fit what the handler takes."""

    code = "payload_invalid"

    def __init__(self, message: str | None = None, *, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class PayloadNotEncoded(PayloadInvalid):
    """The app of this task type encodes its payloads, and this one is not encoded: submit it from
    Python with the codec of the app, or send {"leaseq_codec": "v1", "data": "<base64>"}."""

    code = "payload_not_encoded"


class PayloadTooLarge(SubmissionInvalid):
    """The payload is larger than the limit."""

    code = "payload_too_large"


class UnknownType(SubmissionInvalid):
    """No worker has registered this task type."""

    code = "unknown_type"


class LimitUnknown(SubmissionInvalid):
    """The limit of this task does not exist."""

    code = "limit_unknown"


class FeatureNeedsUpgrade(SubmissionInvalid):
    """A process of an older version runs, which does not know limits."""

    code = "feature_needs_upgrade"


class UniqueConflict(SubmissionInvalid):
    """Another task has the unique key of this submission."""

    code = "unique_conflict"


class IdempotencyKeyInvalid(SubmissionInvalid):
    """The idempotency key is missing, empty, too long, or not printable."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(SubmissionInvalid):
    """The idempotency key was used before for a different submission."""

    code = "idempotency_key_reused"


class IdempotencyInFlight(SubmissionInvalid):
    """A submission with the same idempotency key is still being recorded; try again."""

    code = "idempotency_in_flight"


class ListsBusy(LeaseqError):
    """Too many lists are being read at the moment; try again."""

    code = "lists_busy"


class TaskNotFound(LeaseqError):
    """There is no such task."""

    code = "task_not_found"


class TaskConflict(LeaseqError):
    """The state of the task does not allow this."""

    code = "task_conflict"


class TaskMoved(TaskConflict):
    """The task has changed since it was looked at. `present`: its state and attempt now."""

    code = "task_moved"

    def __init__(self, message: str | None = None, *, task_id: str = "", present: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id
        self.present = present


class OperationInDoubt(TaskConflict):
    """An operation with this id was begun, and its outcome is not known: look at the task, and use
    another id."""

    code = "operation_in_doubt"


class ActionInvalid(LeaseqError):
    """The options of an action on a task are not valid."""

    code = "action_invalid"


class FailureNotFound(LeaseqError):
    """No failure of this type has this fingerprint."""

    code = "failure_not_found"


class QueueUnknown(LeaseqError):
    """There is no such queue."""

    code = "queue_unknown"


class LimitInvalid(LeaseqError):
    """The limit is not valid."""

    code = "limit_invalid"


class LimitNotFound(LeaseqError):
    """There is no such limit."""

    code = "limit_not_found"


class LimitInUse(LeaseqError):
    """Unfinished tasks have this limit."""

    code = "limit_in_use"


class ReasonInvalid(LeaseqError):
    """The reason of an operation is not valid."""

    code = "reason_invalid"


class OperationInvalid(LeaseqError):
    """The operation on many tasks is not valid."""

    code = "operation_invalid"


class OperationNotFound(LeaseqError):
    """There is no such operation on many tasks."""

    code = "operation_not_found"


class OperationConflict(LeaseqError):
    """The state of the operation does not allow this, or its id is taken."""

    code = "operation_conflict"


class ScheduleInvalid(LeaseqError):
    """The schedule is not valid. `field`: the part of it to blame."""

    code = "schedule_invalid"

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ScheduleNotFound(LeaseqError):
    """There is no such schedule."""

    code = "schedule_not_found"


class ScheduleConflict(LeaseqError):
    """The schedule is being changed by others at the same time; try again."""

    code = "schedule_conflict"


class AccessInvalid(LeaseqError):
    """The API key or the tenant is not valid."""

    code = "access_invalid"


class ApiKeyNotFound(LeaseqError):
    """There is no such API key."""

    code = "api_key_not_found"


class TenantNotFound(LeaseqError):
    """There is no such tenant."""

    code = "tenant_not_found"


class TaskFailed(LeaseqError):
    """The task ended in FAILED."""

    code = "task_failed"


class TaskCancelled(LeaseqError):
    """The task ended in CANCELLED."""

    code = "task_cancelled"


class TaskErased(LeaseqError):
    """The task ended in SUCCESS, and its result was erased since."""

    code = "task_erased"


class ResultTimeout(LeaseqError):
    """The task did not end within the given time."""

    code = "result_timeout"


class ResultInvalid(LeaseqError):
    """The result cannot be written as JSON, or is larger than the limit."""

    code = "result_invalid"


class Fenced(LeaseqError):
    """The attempt is no longer current: its further writes have no effect."""

    code = "fenced"


class TransactionForeign(Fenced):
    """This transaction belongs to another attempt. Use the transaction of the handler's own
    context, in tasks and threads that inherit its contextvars (asyncio.create_task and
    asyncio.to_thread do)."""

    code = "transaction_foreign"


class TransactionEnded(LeaseqError):
    """The handler ended the transaction of ctx.transaction() itself, so its writes cannot be
    committed with the task."""

    code = "transaction_ended"


class CodecMismatch(LeaseqError):
    """The content is encoded, and this app has no codec that can decode it."""

    code = "codec_mismatch"


class NotOpen(LeaseqError):
    """The app is not open; use it inside `async with app:`."""

    code = "not_open"


class Retry(Exception):
    """Raised by a handler to run this task again later. Costs a retry.

    `delay` is in seconds. Without it the usual backoff applies.
    """

    def __init__(
        self, reason: str = "the handler asked for a retry", *, delay: float | None = None
    ) -> None:
        super().__init__(reason)
        self.delay = delay


class Fail(Exception):
    """Raised by a handler when this task cannot succeed. Ends it in FAILED immediately, even if
    retries are left."""

    def __init__(self, reason: str = "the handler declared the task failed") -> None:
        super().__init__(reason)
