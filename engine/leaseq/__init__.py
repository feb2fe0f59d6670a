"""A reliable task queue on Postgres (ledger) and Redis or Valkey (dispatch)."""

from importlib.metadata import version

__version__ = version("leaseq")

from leaseq.app import Leaseq
from leaseq.config import Config
from leaseq.context import Context
from leaseq.errors import (
    CodecMismatch,
    ConfigInvalid,
    Fail,
    Fenced,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    LeaseqError,
    NotOpen,
    PayloadInvalid,
    ResultTimeout,
    Retry,
    ServerUnreachable,
    SubmissionInvalid,
    TaskCancelled,
    TaskConflict,
    TaskErased,
    TaskFailed,
    TaskNotFound,
    UniqueConflict,
)
from leaseq.model import State, Task
from leaseq.payloads.payload_codec import PayloadCodec
from leaseq.task import BoundTask, TaskHandle, TypedTask

__all__ = [
    "BoundTask",
    "CodecMismatch",
    "Config",
    "ConfigInvalid",
    "Context",
    "Fail",
    "Fenced",
    "IdempotencyInFlight",
    "IdempotencyKeyReused",
    "Leaseq",
    "LeaseqError",
    "NotOpen",
    "PayloadCodec",
    "PayloadInvalid",
    "ResultTimeout",
    "Retry",
    "ServerUnreachable",
    "State",
    "SubmissionInvalid",
    "Task",
    "TaskCancelled",
    "TaskConflict",
    "TaskErased",
    "TaskFailed",
    "TaskHandle",
    "TaskNotFound",
    "TypedTask",
    "UniqueConflict",
    "__version__",
]
