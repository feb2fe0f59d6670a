"""The table of problems: the status, the title and the advice of each code.

The answers (`problems.py`), the pages at /problems (`problem_pages.py`) and the OpenAPI document
are made from it. Invariants: a code never changes once released, and no two codes have the same
title.
"""

from __future__ import annotations

from msgspec import Struct


class Kind(Struct, frozen=True):
    """The common properties of all problems of one code."""

    status: int
    title: str
    advice: str  # the fix, for a client or an operator
    retry: bool = False  # the same request may succeed in a moment
    challenge: str = ""  # WWW-Authenticate (RFC 6750, 3)


_BEARER = 'Bearer realm="leaseq"'
_BAD_KEY = f'{_BEARER}, error="invalid_token"'


KINDS: dict[str, Kind] = {
    # Refusals by leaseq itself (leaseq/errors.py).
    "submission_invalid": Kind(
        422,
        "The submission is not valid",
        "Correct the field that `pointer` or `detail` names. Nothing was stored.",
    ),
    "payload_invalid": Kind(
        422,
        "The payload does not fit what the handler takes",
        "Correct the payload at `pointer`, so that it fits the parameters of the handler. Nothing was stored.",
    ),
    "payload_not_encoded": Kind(
        422,
        "The payload is not encoded",
        "The app of this type encrypts its contents: submit from Python with its codec, or encode the payload yourself "
        "and send it as `leaseq_codec` and `data`. Nothing was stored.",
    ),
    "payload_too_large": Kind(
        413,
        "The payload is too large",
        "Store large data elsewhere, and submit a reference to it.",
    ),
    "unknown_type": Kind(
        422,
        "No worker has registered this task type",
        "Start a worker that has a handler for this type, or correct `type`.",
    ),
    "limit_unknown": Kind(
        422,
        "The limit of this task does not exist",
        "Declare the limit in the app of the worker and start it, or make the limit. Nothing was stored.",
    ),
    "feature_needs_upgrade": Kind(
        409,
        "A process of an older version runs, which does not know limits",
        "Replace the process that `detail` names with one of this version, then submit again. Nothing was stored.",
    ),
    "unique_conflict": Kind(
        409,
        "Another task has the unique key of this submission",
        "Use the task that `task_id` names, or submit again when it has ended. Nothing was stored.",
    ),
    "idempotency_key_invalid": Kind(
        400,
        "The idempotency key is missing or malformed",
        "Send one Idempotency-Key of 1 to 255 printable ASCII characters, as a quoted string.",
    ),
    "idempotency_key_reused": Kind(
        422,
        "The idempotency key was used for a different submission",
        "Submit the same content as the first time, or use a new key. `task_id` is the task that has this key.",
    ),
    "idempotency_in_flight": Kind(
        409,
        "A submission with this key is still in flight",
        "Submit the same content with the same key again, after Retry-After.",
        retry=True,
    ),
    "task_not_found": Kind(
        404,
        "There is no such task",
        "Check the id. A task is deleted after its retention period.",
    ),
    "task_conflict": Kind(
        409,
        "The state of the task does not allow this",
        "Check the state of the task. Only a FAILED or CANCELLED task can be redriven or have its key freed, "
        "only an unfinished one cancelled, and only one that has ended erased. "
        "An erased task, and one whose key was freed, stays ended.",
    ),
    "task_moved": Kind(
        409,
        "The task has changed since it was looked at",
        "Look at the task again: `present` is its state and attempt now. Send the action again with that as `seen` if it "
        "is still wanted. Nothing was changed.",
    ),
    "operation_in_doubt": Kind(
        409,
        "The outcome of this operation is not known",
        "Look at the task. An operation with this id was begun, and its process died or the store did not answer. "
        "Use another `operation_id` if the change is still wanted.",
    ),
    "action_invalid": Kind(
        422,
        "The options of the action are not valid",
        "Correct what `detail` names, or send no body. Nothing was changed.",
    ),
    "failure_not_found": Kind(
        404,
        "There is no such failure",
        "Check the type and the fingerprint. A cause of failures is forgotten 30 days after its last one.",
    ),
    "queue_unknown": Kind(
        404,
        "There is no such queue",
        "Check the name. A queue exists from its first submission or its first worker on.",
    ),
    "operation_invalid": Kind(
        422,
        "The operation on many tasks is not valid",
        "Correct the field that `detail` names. Nothing was changed.",
    ),
    "operation_not_found": Kind(
        404,
        "There is no such operation on many tasks",
        "Check the id. `GET /api/operations` lists operations; those on many tasks have the kind `bulk`.",
    ),
    "operation_conflict": Kind(
        409,
        "The state of the operation does not allow this, or its id is taken",
        "An operation that is done can be neither stopped nor resumed. To start another one, take the id of a new preview.",
    ),
    "schedule_invalid": Kind(
        422,
        "The schedule is not valid",
        "Correct the field that `pointer` or `detail` names. Nothing was stored.",
    ),
    "schedule_not_found": Kind(
        404,
        "There is no such schedule",
        "Check the name and the tenant. `GET /api/schedules` lists the schedules.",
    ),
    "schedule_conflict": Kind(
        409,
        "The schedule is being changed by others",
        "Look at the schedule, and send the request again after Retry-After if it is still wanted.",
        retry=True,
    ),
    "limit_invalid": Kind(
        422,
        "The limit is not valid",
        "Correct what `detail` names. Nothing was changed.",
    ),
    "limit_not_found": Kind(
        404,
        "There is no such limit",
        "Check the name. A limit exists when an app declares it, or a PUT has made it.",
    ),
    "limit_in_use": Kind(
        409,
        "Unfinished tasks have this limit",
        "Raise the limit and wait for the end of its tasks, or cancel them. Nothing was changed.",
    ),
    "lists_busy": Kind(
        503,
        "Too many lists are being read at the moment",
        "Send the same request again, after Retry-After. Submissions are not affected.",
        retry=True,
    ),
    "server_unreachable": Kind(
        503,
        "A store cannot be reached",
        "Send the same request again, after Retry-After. Use an Idempotency-Key for submissions.",
        retry=True,
    ),
    "dispatch_foreign": Kind(
        503,
        "The prefix in Redis belongs to another ledger",
        "Give each deployment its own LEASEQ_REDIS_PREFIX.",
        retry=True,
    ),
    "schema_mismatch": Kind(
        503,
        "The schema in Postgres and this service have different versions",
        "Run `leaseq migrate` with the version of this service.",
        retry=True,
    ),
    # Refusals by HTTP.
    "request_malformed": Kind(
        400,
        "The request is not valid HTTP",
        "Send HTTP/1.1 as RFC 9112 describes it.",
    ),
    "host_invalid": Kind(
        400,
        "The request must have exactly one valid Host header",
        "Send exactly one Host header: a name or an address, with an optional port.",
    ),
    "forwarded_conflict": Kind(
        400,
        "Two headers name different clients",
        "Let the proxy set Forwarded or X-Forwarded-For, and remove the other header.",
    ),
    "header_repeated": Kind(
        400,
        "A header that may be sent once was repeated",
        "Send the header once.",
    ),
    "json_invalid": Kind(
        400,
        "The body is not valid JSON",
        "Send one JSON value in UTF-8.",
    ),
    "parameter_invalid": Kind(
        400,
        "A parameter of the address is not valid",
        "Correct the parameter that `detail` names.",
    ),
    "key_missing": Kind(
        401,
        "The request has no API key",
        "Send a key as `Authorization: Bearer lq_...`. An operator creates one with `leaseq keys create`.",
        challenge=_BEARER,
    ),
    "key_invalid": Kind(
        401,
        "The API key is not valid",
        "Send the whole text of a key, as it was shown when it was created.",
        challenge=_BAD_KEY,
    ),
    "key_expired": Kind(
        401,
        "The API key has expired",
        "Use a new key. An operator creates one with `leaseq keys create` or `leaseq keys rotate`.",
        challenge=_BAD_KEY,
    ),
    "key_revoked": Kind(
        401,
        "The API key was revoked",
        "Use another key. An operator creates one with `leaseq keys create`.",
        challenge=_BAD_KEY,
    ),
    "too_many_attempts": Kind(
        429,
        "Too many API keys were refused",
        "Correct the key, and send the request again after Retry-After.",
        retry=True,
    ),
    "rate_limited": Kind(
        429,
        "The API key sends too many requests",
        "Send fewer requests a second, or fewer at one time; this one after Retry-After. `leaseq keys limit` sets the limit.",
        retry=True,
    ),
    "unfinished_limited": Kind(
        429,
        "The tenant has too many unfinished tasks",
        "Submit it again after Retry-After, when tasks have ended. `leaseq tenants limit` sets the limit. Nothing was stored.",
        retry=True,
    ),
    "payload_bytes_limited": Kind(
        429,
        "The tenant has submitted as many bytes as it may in a day",
        "Submit it again after Retry-After, on the next UTC day. `leaseq tenants limit` sets the limit. Nothing was stored.",
        retry=True,
    ),
    "scope_missing": Kind(
        403,
        "The API key lacks a scope",
        "Use a key with the scope that `detail` names. An operator creates one with `leaseq keys create`.",
        challenge=f'{_BEARER}, error="insufficient_scope"',
    ),
    "reason_invalid": Kind(
        422,
        "The reason is not valid",
        "Send a reason of 1 to 500 printable characters in one line, or none.",
    ),
    "access_invalid": Kind(
        422,
        "The API key or the tenant is not valid",
        "Correct what `detail` names. Nothing was stored.",
    ),
    "api_key_not_found": Kind(
        404,
        "There is no such API key",
        "Check the id. `GET /api/keys` lists the keys.",
    ),
    "tenant_not_found": Kind(
        404,
        "No tenant has this name",
        "Check the name. `GET /api/tenants` lists the tenants.",
    ),
    "tenant_forbidden": Kind(
        403,
        "The API key is bound to a tenant",
        "Use a key that is bound to no tenant, or leave out Leaseq-Tenant.",
    ),
    "tenant_unknown": Kind(
        422,
        "There is no such tenant",
        "Correct Leaseq-Tenant, or leave it out.",
    ),
    "cross_site": Kind(
        403,
        "A web page of another site sent this request",
        "Send the request from a program or from a page of this API, or list the host of the page in LEASEQ_API_HOSTS.",
    ),
    "not_found": Kind(
        404,
        "There is no such address",
        "See the OpenAPI document at /schema for the known addresses.",
    ),
    "method_not_allowed": Kind(
        405,
        "This address does not support this method",
        "Use one of the methods in the Allow header.",
    ),
    "head_timeout": Kind(
        408,
        "The head of the request took too long to arrive",
        "Send the head of a request without pause. The service closes the connection.",
    ),
    "body_timeout": Kind(
        408,
        "The body took too long to arrive",
        "Send the body of a request without long pauses. The service closes the connection.",
    ),
    "body_too_large": Kind(
        413,
        "The body is too large",
        "Send less. Store large data elsewhere, and submit a reference to it.",
    ),
    "batch_too_large": Kind(
        413,
        "The batch has too many items",
        "Send fewer items in each batch. The outcomes that were answered, if any, say which items are recorded.",
    ),
    "target_too_long": Kind(
        414,
        "The target of the request is too long",
        "Shorten the query, which is the longest part of a target.",
    ),
    "media_type_unsupported": Kind(
        415,
        "The body must be JSON",
        "Send Content-Type: application/json, and no Content-Encoding.",
    ),
    "host_unknown": Kind(
        421,
        "This service does not answer for this host",
        "Add the name under which clients reach the service to LEASEQ_API_HOSTS.",
    ),
    "head_too_large": Kind(
        431,
        "The head of the request is too large",
        "Send fewer or shorter headers.",
    ),
    "method_unknown": Kind(
        501,
        "This service does not know the method",
        "See the OpenAPI document at /schema for the known methods.",
    ),
    "overloaded": Kind(
        503,
        "The service is overloaded",
        "Send the same request again, after Retry-After. Use an Idempotency-Key for submissions.",
        retry=True,
    ),
    "not_ready": Kind(
        503,
        "The service is not ready",
        "Wait until the stores that `detail` names are back.",
        retry=True,
    ),
    "internal_error": Kind(
        500,
        "Internal error",
        "Look for `request.failed` in the log of the service, and report it.",
    ),
}


__all__ = ["KINDS", "Kind"]
