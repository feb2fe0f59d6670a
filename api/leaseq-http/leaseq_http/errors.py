"""The errors of the client, with the codes of the service.

The tree::

    LeaseqHTTPError
    +-- Unreachable                     no answer, after every retry
    +-- ForeignAnswer                   an answer that is not from leaseq, perhaps from a proxy
    +-- ProblemError                    a problem that the service answered with
    |   +-- RequestRefused              any other 4xx
    |   |   +-- SubmissionInvalid       submission_invalid
    |   |   |   +-- PayloadInvalid      payload_invalid
    |   |   |   +-- PayloadTooLarge     payload_too_large
    |   |   |   +-- UnknownType         unknown_type
    |   |   |   +-- IdempotencyKeyInvalid   idempotency_key_invalid
    |   |   |   +-- IdempotencyKeyReused    idempotency_key_reused
    |   |   +-- OperationInvalid        operation_invalid
    |   |   +-- Unauthorized            any 401
    |   |   +-- Forbidden               any 403
    |   |   +-- NotFound                any other 404
    |   |   |   +-- TaskNotFound        task_not_found
    |   |   |   +-- FailureNotFound     failure_not_found
    |   |   |   +-- OperationNotFound   operation_not_found
    |   |   |   +-- QueueUnknown        queue_unknown
    |   |   +-- Conflict                any other 409
    |   |   |   +-- TaskConflict        task_conflict
    |   |   |   +-- OperationConflict   operation_conflict
    |   |   |   +-- IdempotencyInFlight     idempotency_in_flight
    |   |   +-- TooManyRequests         any 429
    |   +-- ServiceFault                any other 5xx
    |   |   +-- ServiceUnavailable      any 502, 503 or 504
    +-- TaskFailed                      the task ended in FAILED
    +-- TaskCancelled                   the task ended in CANCELLED
    +-- TaskErased                      the task ended in SUCCESS, and its result was erased since
    +-- ResultTimeout                   the task has not ended yet
    +-- ResultInvalid                   the result does not fit the type that was asked for

A later version of the service may have codes that this one does not know. Such a problem is raised
as the class of its status, with the new code.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LeaseqHTTPError(Exception):
    """An error of the client.

    `code` is stable and for programs. `detail` is a sentence for people. `status` is that of the
    answer, None where there was none. `retry_after` is in seconds, None where the service named no
    time.
    """

    default_code: ClassVar[str] = "leaseq_http_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code or self.default_code
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        # The key of a submission that this error ended. Submitting the same content with it again
        # gives the same task.
        self.idempotency_key: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Unreachable(LeaseqHTTPError):
    """The service did not answer.

    `sent`: the request may have arrived. It is then unknown whether the service acted on it. `cause`
    is the error of httpx.
    """

    default_code = "unreachable"

    def __init__(self, detail: str, *, sent: bool = True, final: bool = False) -> None:
        super().__init__(detail)
        self.sent = sent
        self.final = final  # the same would happen again: a certificate that is not trusted


class ForeignAnswer(LeaseqHTTPError):
    """An answer that leaseq does not give: an error page of a proxy, a redirect, or content that does
    not fit."""

    default_code = "foreign_answer"


class ProblemError(LeaseqHTTPError):
    """A problem (RFC 9457) that the service answered with. `problem` is its whole body."""

    default_code = "problem"

    def __init__(
        self, problem: dict[str, Any], *, status: int, retry_after: float | None = None
    ) -> None:
        detail = str(problem.get("detail") or problem.get("title") or f"status {status}")
        super().__init__(detail, code=str(problem["code"]), status=status, retry_after=retry_after)
        self.problem = problem

    @property
    def pointer(self) -> str | None:
        """A JSON pointer (RFC 6901) into the body, if one place of it is wrong."""
        return self.problem.get("pointer")

    @property
    def task_id(self) -> str | None:
        """The conflicting task, or the requested one."""
        return self.problem.get("task_id")


class RequestRefused(ProblemError):
    """The service refused the request. The same request would be refused again."""

    default_code = "refused"


class SubmissionInvalid(RequestRefused):
    """The submission is not valid. Nothing was stored."""

    default_code = "submission_invalid"


class PayloadInvalid(SubmissionInvalid):
    """The payload does not fit what the handler takes."""

    default_code = "payload_invalid"


class PayloadTooLarge(SubmissionInvalid):
    """The payload is too large."""

    default_code = "payload_too_large"


class UnknownType(SubmissionInvalid):
    """No worker has registered this task type."""

    default_code = "unknown_type"


class IdempotencyKeyInvalid(SubmissionInvalid):
    """The idempotency key is missing or malformed."""

    default_code = "idempotency_key_invalid"


class IdempotencyKeyReused(SubmissionInvalid):
    """The idempotency key was used for a different submission. `task_id` is the task that has it."""

    default_code = "idempotency_key_reused"


class OperationInvalid(RequestRefused):
    """The request of an operation on many tasks is not valid."""

    default_code = "operation_invalid"


class Unauthorized(RequestRefused):
    """The API key is missing, malformed, unknown, expired or revoked."""

    default_code = "unauthorized"


class Forbidden(RequestRefused):
    """The API key may not do this."""

    default_code = "forbidden"


class NotFound(RequestRefused):
    """There is no such thing, or it belongs to another tenant."""

    default_code = "not_found"


class TaskNotFound(NotFound):
    """There is no such task."""

    default_code = "task_not_found"


class FailureNotFound(NotFound):
    """There is no such cause of failures."""

    default_code = "failure_not_found"


class OperationNotFound(NotFound):
    """There is no such operation on many tasks."""

    default_code = "operation_not_found"


class QueueUnknown(NotFound):
    """There is no such queue."""

    default_code = "queue_unknown"


class Conflict(RequestRefused):
    """The request does not fit the present state."""

    default_code = "conflict"


class TaskConflict(Conflict):
    """The state of the task does not allow this."""

    default_code = "task_conflict"


class OperationConflict(Conflict):
    """An operation on many tasks that is done can be neither stopped nor resumed; or its id stands
    for another one."""

    default_code = "operation_conflict"


class IdempotencyInFlight(Conflict):
    """A submission with this idempotency key is still in flight. The same may succeed in a
    moment."""

    default_code = "idempotency_in_flight"


class TooManyRequests(RequestRefused):
    """A quota is used up. The same may succeed after `retry_after`."""

    default_code = "too_many_requests"


class ServiceFault(ProblemError):
    """The service could not answer the request."""

    default_code = "service_fault"


class ServiceUnavailable(ServiceFault):
    """The service cannot do this at the moment. The same may succeed after `retry_after`."""

    default_code = "unavailable"


class TaskFailed(LeaseqHTTPError):
    """The task ended in FAILED. `error_code` and `error_type` say why, if the key may read it."""

    default_code = "task_failed"

    def __init__(
        self, detail: str, *, task_id: str, error_code: str | None, error_type: str | None
    ) -> None:
        super().__init__(detail)
        self.task_id = task_id
        self.error_code = error_code
        self.error_type = error_type


class TaskCancelled(LeaseqHTTPError):
    """The task ended in CANCELLED."""

    default_code = "task_cancelled"


class TaskErased(LeaseqHTTPError):
    """The task ended in SUCCESS, and its result was erased since."""

    default_code = "task_erased"


class ResultTimeout(LeaseqHTTPError):
    """The task has not ended yet. It continues; wait again later."""

    default_code = "result_timeout"


class ResultInvalid(LeaseqHTTPError):
    """The result of the task does not fit the type that was asked for."""

    default_code = "result_invalid"


_BY_CODE = {
    kind.default_code: kind
    for kind in (
        SubmissionInvalid,
        OperationInvalid,
        OperationNotFound,
        OperationConflict,
        FailureNotFound,
        PayloadInvalid,
        PayloadTooLarge,
        UnknownType,
        IdempotencyKeyInvalid,
        IdempotencyKeyReused,
        TaskNotFound,
        QueueUnknown,
        TaskConflict,
        IdempotencyInFlight,
    )
}
_BY_STATUS: dict[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def kind_of(code: str, status: int) -> type[ProblemError]:
    """The class for a problem: that of its code, else that of its status."""
    return (
        _BY_CODE.get(code)
        or _BY_STATUS.get(status)
        or (RequestRefused if status < 500 else ServiceFault)
    )


__all__ = [
    "Conflict",
    "FailureNotFound",
    "Forbidden",
    "ForeignAnswer",
    "IdempotencyInFlight",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyReused",
    "LeaseqHTTPError",
    "NotFound",
    "OperationConflict",
    "OperationInvalid",
    "OperationNotFound",
    "PayloadInvalid",
    "PayloadTooLarge",
    "ProblemError",
    "QueueUnknown",
    "RequestRefused",
    "ResultInvalid",
    "ResultTimeout",
    "ServiceFault",
    "ServiceUnavailable",
    "SubmissionInvalid",
    "TaskCancelled",
    "TaskConflict",
    "TaskErased",
    "TaskFailed",
    "TaskNotFound",
    "TooManyRequests",
    "Unauthorized",
    "UnknownType",
    "Unreachable",
    "kind_of",
]
