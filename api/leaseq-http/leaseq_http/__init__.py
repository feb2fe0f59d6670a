"""leaseq-http: a typed client for the HTTP API of leaseq.

::

    from leaseq_http import Client

    with Client("https://leaseq.example", api_key="lq_...") as client:
        task = client.submit("charge", {"order_id": 7}, idempotency_key="charge-order-7")
        print(client.result(task.task_id, timeout=30))

`AsyncClient` has the same methods for asyncio.
"""

from __future__ import annotations

from leaseq_http.async_client import AsyncClient
from leaseq_http.bulk import BulkFilter, BulkOperation, BulkPreview, BulkSample
from leaseq_http.client import Client
from leaseq_http.errors import (
    Conflict,
    FailureNotFound,
    Forbidden,
    ForeignAnswer,
    IdempotencyInFlight,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    LeaseqHTTPError,
    NotFound,
    OperationConflict,
    OperationInvalid,
    OperationNotFound,
    PayloadInvalid,
    PayloadTooLarge,
    ProblemError,
    QueueUnknown,
    RequestRefused,
    ResultInvalid,
    ResultTimeout,
    ServiceFault,
    ServiceUnavailable,
    SubmissionInvalid,
    TaskCancelled,
    TaskConflict,
    TaskErased,
    TaskFailed,
    TaskNotFound,
    TooManyRequests,
    Unauthorized,
    UnknownType,
    Unreachable,
)
from leaseq_http.explanations import Evidence, FailureOfTask, Why
from leaseq_http.failures import ErrorVariant, FailedAttempt, Failure, FailureDetail
from leaseq_http.limits import Limit, LimitBounds, LimitDetail, LimitKey
from leaseq_http.model import (
    AnyTaskEvent,
    Attempt,
    Depths,
    Event,
    ListedTask,
    Missed,
    Operation,
    PausedQueue,
    Progress,
    Queue,
    State,
    Submitted,
    Task,
    TaskError,
    TaskEvent,
    TaskState,
    TaskSummary,
    TaskType,
    Worker,
)
from leaseq_http.quotas import TenantQuota
from leaseq_http.schedules import Schedule, ScheduleFields, ScheduleRun, StartedRun
from leaseq_http.statistics import Statistics
from leaseq_http.submission import Submission, SubmitOptions

__all__ = [
    "AnyTaskEvent",
    "AsyncClient",
    "Attempt",
    "BulkFilter",
    "BulkOperation",
    "BulkPreview",
    "BulkSample",
    "Client",
    "Conflict",
    "Depths",
    "ErrorVariant",
    "Event",
    "Evidence",
    "FailedAttempt",
    "Failure",
    "FailureDetail",
    "FailureNotFound",
    "FailureOfTask",
    "Forbidden",
    "ForeignAnswer",
    "IdempotencyInFlight",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyReused",
    "LeaseqHTTPError",
    "Limit",
    "LimitBounds",
    "LimitDetail",
    "LimitKey",
    "ListedTask",
    "Missed",
    "NotFound",
    "Operation",
    "OperationConflict",
    "OperationInvalid",
    "OperationNotFound",
    "PausedQueue",
    "PayloadInvalid",
    "PayloadTooLarge",
    "ProblemError",
    "Progress",
    "Queue",
    "QueueUnknown",
    "RequestRefused",
    "ResultInvalid",
    "ResultTimeout",
    "Schedule",
    "ScheduleFields",
    "ScheduleRun",
    "ServiceFault",
    "ServiceUnavailable",
    "StartedRun",
    "State",
    "Statistics",
    "Submission",
    "SubmissionInvalid",
    "SubmitOptions",
    "Submitted",
    "Task",
    "TaskCancelled",
    "TaskConflict",
    "TaskErased",
    "TaskError",
    "TaskEvent",
    "TaskFailed",
    "TaskNotFound",
    "TaskState",
    "TaskSummary",
    "TaskType",
    "TenantQuota",
    "TooManyRequests",
    "Unauthorized",
    "UnknownType",
    "Unreachable",
    "Why",
    "Worker",
]
