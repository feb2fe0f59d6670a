"""Which errors can leaseq raise, and what stable code does each one carry?

The tree::

    LeaseqError
    +-- ConfigInvalid            config_invalid
    +-- ServerUnreachable        server_unreachable
    |   +-- DispatchForeign      dispatch_foreign
    +-- ServerUnfit              server_unfit
    +-- SchemaMismatch           schema_mismatch
    +-- SubmissionInvalid        submission_invalid
    |   +-- PayloadInvalid       payload_invalid
    |   +-- PayloadTooLarge      payload_too_large
    |   +-- UnknownType          unknown_type
    |   +-- IdempotencyKeyInvalid   idempotency_key_invalid
    |   +-- IdempotencyKeyReused    idempotency_key_reused
    |   +-- IdempotencyInFlight     idempotency_in_flight
    +-- ListsBusy                lists_busy
    +-- TaskNotFound             task_not_found
    +-- TaskConflict             task_conflict
    +-- QueueUnknown             queue_unknown
    +-- TaskFailed               task_failed
    +-- TaskCancelled            task_cancelled
    +-- ResultTimeout            result_timeout
    +-- ResultInvalid            result_invalid
    +-- Fenced                   fenced
    |   +-- TransactionForeign   transaction_foreign
    +-- TransactionEnded         transaction_ended
    +-- NotOpen                  not_open

`Retry` and `Fail` are not errors of leaseq: a handler raises them to steer the ending of its attempt.
The docstring of a class is its default message; `code` never changes once released.
"""

from __future__ import annotations


class LeaseqError(Exception):
    """Something went wrong in leaseq."""

    code = "leaseq_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigInvalid(LeaseqError):
    """The configuration contradicts itself."""

    code = "config_invalid"


class ServerUnreachable(LeaseqError):
    """Postgres or Redis does not answer."""

    code = "server_unreachable"


class DispatchForeign(ServerUnreachable):
    """The prefix in Redis belongs to another ledger."""

    code = "dispatch_foreign"


class ServerUnfit(LeaseqError):
    """A server is set up in a way that would break a promise."""

    code = "server_unfit"


class SchemaMismatch(LeaseqError):
    """The schema in Postgres and this code do not fit together."""

    code = "schema_mismatch"


class SubmissionInvalid(LeaseqError):
    """The submission cannot be accepted as it is."""

    code = "submission_invalid"


class PayloadInvalid(SubmissionInvalid):
    """The payload does not fit what the handler takes."""

    code = "payload_invalid"

    def __init__(self, message: str | None = None, *, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class PayloadTooLarge(SubmissionInvalid):
    """The payload is larger than the limit."""

    code = "payload_too_large"


class UnknownType(SubmissionInvalid):
    """No worker has registered this task type."""

    code = "unknown_type"


class IdempotencyKeyInvalid(SubmissionInvalid):
    """The idempotency key is missing, empty, too long, or not printable."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(SubmissionInvalid):
    """The idempotency key was used before for a different submission."""

    code = "idempotency_key_reused"

    def __init__(self, message: str | None = None, *, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class IdempotencyInFlight(SubmissionInvalid):
    """A submission with the same idempotency key is still being recorded; try again."""

    code = "idempotency_in_flight"


class ListsBusy(LeaseqError):
    """Too many lists are being read at the moment; nothing is wrong, try again."""

    code = "lists_busy"


class TaskNotFound(LeaseqError):
    """There is no such task."""

    code = "task_not_found"


class TaskConflict(LeaseqError):
    """The task is in a state in which this cannot be done."""

    code = "task_conflict"


class QueueUnknown(LeaseqError):
    """There is no such queue."""

    code = "queue_unknown"


class TaskFailed(LeaseqError):
    """The task ended in FAILED."""

    code = "task_failed"


class TaskCancelled(LeaseqError):
    """The task ended in CANCELLED."""

    code = "task_cancelled"


class ResultTimeout(LeaseqError):
    """The task did not end within the time that was given."""

    code = "result_timeout"


class ResultInvalid(LeaseqError):
    """The result cannot be written as JSON, or is larger than the limit."""

    code = "result_invalid"


class Fenced(LeaseqError):
    """The attempt was taken away: nothing that it still writes will count."""

    code = "fenced"


class TransactionForeign(Fenced):
    """This transaction belongs to another attempt: use the one of the handler's own context, in tasks and threads that carry its
    contextvars (asyncio.create_task and asyncio.to_thread do)."""

    code = "transaction_foreign"


class TransactionEnded(LeaseqError):
    """The handler ended the transaction of ctx.transaction() itself; what it wrote cannot share the fate of its task."""

    code = "transaction_ended"


class NotOpen(LeaseqError):
    """The app is not open; use it inside `async with app:`."""

    code = "not_open"


class Retry(Exception):
    """Raised by a handler: run this task again later. Costs a retry.

    `delay` is in seconds; without it the usual backoff applies.
    """

    def __init__(self, reason: str = "the handler asked for a retry", *, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class Fail(Exception):
    """Raised by a handler: this task cannot succeed; end it in FAILED now, whatever retries are left."""

    def __init__(self, reason: str = "the handler declared the task failed") -> None:
        super().__init__(reason)
