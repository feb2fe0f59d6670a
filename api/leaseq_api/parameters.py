"""Parse the parameters of an address.

A path that cannot name anything is 404, and a query that is not valid is 400. An unknown or
repeated parameter is refused: if a misspelt filter were ignored, the answer would contain
everything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.params import PathParameter, QueryParameter
from msgspec import UNSET

from leaseq.api_keys import KEY_ID
from leaseq.codec import is_task_id
from leaseq.errors import ApiKeyNotFound, OperationNotFound, TaskNotFound
from leaseq.labels import MAX_ASKED, parse_labels
from leaseq.ledger.task_lists import TaskFilter
from leaseq.model import FINGERPRINT, NAME, State
from leaseq.operations.submission import KEY_MAX_LENGTH
from leaseq_api.refused import Refused
from leaseq_api.schemas import ListQuery

MAX_WAIT_SECONDS = 60.0
MAX_PAGE = 200
REPEATABLE = {"label", "task"}

TaskId = Annotated[
    str, PathParameter(description="The id of a task", schema_extra={"format": "uuid"})
]
OperationId = Annotated[
    str,
    PathParameter(
        description="The id of an operation on many tasks", schema_extra={"format": "uuid"}
    ),
]
QueueName = Annotated[
    str,
    PathParameter(
        description="The name of a queue",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]
WaitSeconds = Annotated[
    float,
    QueryParameter(
        description="Hold the answer until the task ends, for at most so many seconds",
        schema_extra={"minimum": 0, "maximum": MAX_WAIT_SECONDS},
    ),
]
Limit = Annotated[
    int,
    QueryParameter(
        description="How many to list", schema_extra={"minimum": 1, "maximum": MAX_PAGE}
    ),
]
KeyId = Annotated[
    str,
    PathParameter(
        description="The public id of an API key", schema_extra={"pattern": "^[a-z0-9]{12}$"}
    ),
]
TenantName = Annotated[
    str,
    PathParameter(
        description="The name of a tenant",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]
Ended = Annotated[bool, QueryParameter(description="Include revoked and expired keys")]
Closed = Annotated[bool, QueryParameter(description="Include closed workers")]


NameCursor = Annotated[
    str,
    QueryParameter(
        description="`next_cursor` of the previous page",
        schema_extra={"max_length": 128, "pattern": "^[A-Za-z0-9_.-]*$"},
    ),
]


OwnKey = Annotated[
    str,
    QueryParameter(
        description="The idempotency key of the task, which remembers a pruned task",
        schema_extra={"max_length": KEY_MAX_LENGTH, "pattern": "^[ -~]*$"},
    ),
]


def check_task_id(text: str) -> str:
    """The canonical form of a task id. Raises `TaskNotFound`."""
    task_id = text.lower()
    if not is_task_id(task_id):
        raise TaskNotFound("this is not a task id: ids are UUIDs")
    return task_id


def check_operation_id(text: str) -> str:
    """The canonical form of the id of an operation. Raises `OperationNotFound`."""
    operation_id = text.lower()
    if not is_task_id(operation_id):
        raise OperationNotFound("this is not the id of an operation: ids are UUIDs")
    return operation_id


def check_key_id(text: str) -> str:
    """The id of an API key from the path. Raises `ApiKeyNotFound`."""
    if not KEY_ID.fullmatch(text):
        raise ApiKeyNotFound("this is not the id of a key: an id has 12 characters of a-z 0-9")
    return text


def check_queue_name(text: str) -> str:
    """A queue name from the path."""
    if not NAME.fullmatch(text):
        raise Refused(
            "not_found", "this is not a queue name: use 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
    return text


def check_name_cursor(text: str) -> str:
    """The name of a type or queue after which to continue. Empty: from the beginning."""
    if text and not NAME.fullmatch(text):
        raise Refused("parameter_invalid", "cursor must be the next_cursor of the page before")
    return text


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Before a route: refuse repeated parameters, and parameters that it does not name in
    `query`."""
    if request.scope["query_string"]:
        check_names(request, request.route_handler.opt.get("query", ()))


def check_names(request: Request[Any, Any, Any], known: Collection[str]) -> None:
    """Refuse repeated parameters, and parameters whose names are not known."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            allowed = (
                f"this address takes {', '.join(known)}"
                if known
                else "this address takes no parameters"
            )
            raise Refused("parameter_invalid", f"there is no parameter {name[:100]!r}: {allowed}")
        if given.count(name) > 1 and name not in REPEATABLE:
            raise Refused("parameter_invalid", f"the parameter {name!r} was given more than once")


def check_key(text: str) -> str:
    """An idempotency key from a query."""
    if not (1 <= len(text) <= KEY_MAX_LENGTH and text.isprintable() and text.isascii()):
        raise Refused(
            "parameter_invalid",
            f"idempotency_key must be 1 to {KEY_MAX_LENGTH} printable ASCII characters",
        )
    return text


def check_wait(seconds: float) -> float:
    """How long an answer may be held, in seconds."""
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise Refused(
            "parameter_invalid", f"wait must be between 0 and {MAX_WAIT_SECONDS:.0f} seconds"
        )
    return seconds


def check_limit(limit: int) -> int:
    """How many items a page may hold."""
    if not 1 <= limit <= MAX_PAGE:
        raise Refused("parameter_invalid", f"limit must be between 1 and {MAX_PAGE}")
    return limit


def check_fingerprint(text: str, *, with_key: bool = False) -> None:
    """Raise `Refused` for a text that is not the fingerprint of a failure."""
    if not FINGERPRINT.fullmatch(text):
        raise Refused("parameter_invalid", "error must be the fingerprint of a failure")
    if with_key:
        raise Refused("parameter_invalid", "error and idempotency_key do not go together")


def read_filter(request: Request[Any, Any, Any]) -> TaskFilter:
    """The query of `GET /api/tasks`."""
    given: dict[str, Any] = dict(request.query_params.multi_items())
    if "label" in given:
        given["label"] = request.query_params.getall("label")
    try:
        query = msgspec.convert(given, ListQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("parameter_invalid", str(error).replace("$.", "")) from None
    for name, value in (("queue", query.queue), ("type", query.type)):
        if value is not UNSET and not NAME.fullmatch(value):
            raise Refused(
                "parameter_invalid", f"{name} must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
    key, cursor = query.idempotency_key, query.cursor
    if key is not UNSET:
        check_key(key)
    if cursor is not UNSET and not is_task_id(cursor):
        raise Refused("parameter_invalid", "cursor must be the next_cursor of the page before")
    try:
        labels = parse_labels(query.label or [], most=MAX_ASKED)
    except ValueError as error:
        raise Refused("parameter_invalid", str(error)) from None
    if query.error is not UNSET:
        check_fingerprint(query.error, with_key=key is not UNSET)
    return TaskFilter(
        error=query.error or None,
        state=None if query.state is UNSET else State(query.state),
        queue=query.queue or None,
        type=query.type or None,
        idempotency_key=key or None,
        labels=labels,
        cursor=cursor or None,
        limit=query.limit,
    )


__all__ = [
    "Closed",
    "Ended",
    "KeyId",
    "Limit",
    "NameCursor",
    "OperationId",
    "OwnKey",
    "QueueName",
    "TaskId",
    "TenantName",
    "WaitSeconds",
    "check_fingerprint",
    "check_key",
    "check_key_id",
    "check_limit",
    "check_name_cursor",
    "check_names",
    "check_operation_id",
    "check_query",
    "check_queue_name",
    "check_task_id",
    "check_wait",
    "read_filter",
]
