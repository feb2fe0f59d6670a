"""Check a submission and complete it with defaults.

This is the only place that fills in defaults and checks limits, for Python, HTTP and the command
line. So the same submission has the same fingerprint whichever way it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from msgspec import Struct

from leaseq.codec import check_payload, check_text, fingerprint, new_task_id
from leaseq.config import Config
from leaseq.errors import IdempotencyKeyInvalid, PayloadTooLarge, SubmissionInvalid, UnknownType
from leaseq.labels import check_labels
from leaseq.limits import BY_FUNCTION, check_key
from leaseq.model import MAX_ATTEMPTS, NAME, YEAR_SECONDS, Priority, Submission, TypeDefaults
from leaseq.operations.unique_key import has_unique_options, unique_fields, with_unique
from leaseq.options import NO_OPTIONS, PriorityName, SubmitOptions
from leaseq.payloads.known_type import KnownType
from leaseq.payloads.payload_codec import ContentCodec
from leaseq.schedules.schedule import KEY_PREFIX
from leaseq.trace_context import with_context

KEY_MAX_LENGTH = 255
FIRST_YEAR, LAST_YEAR = 1970, 9998
UNKNOWN = KnownType(TypeDefaults())
PRIORITIES: dict[PriorityName, Priority] = {
    "high": Priority.HIGH,
    "normal": Priority.NORMAL,
    "low": Priority.LOW,
}


class Request(Struct, frozen=True, kw_only=True):
    """A submission as a client asks for it. `payload` is JSON, which the `codec` of an app encodes
    after it was checked."""

    type: str
    payload: bytes
    options: SubmitOptions = NO_OPTIONS
    idempotency_key: str | None = None
    codec: ContentCodec | None = None
    # of the client (trace_context.py); no part of the fingerprint, for each try has its own
    trace_context: Mapping[str, str] | None = None
    # from the arguments of a handler; no part of the fingerprint, which has the arguments
    limit_key: str | None = None
    # the same for the unique key
    unique_key: str | None = None


def accept(
    request: Request, config: Config, *, tenant: str, known: KnownType | None = None
) -> Submission:
    """Check a request and its payload, and complete it with the defaults of its type, then with
    those of the configuration. `known`: the type; None: no worker has registered it, and its first
    worker checks the payload. Raises `SubmissionInvalid` or one of its kinds, in one sentence."""
    known = known or _take_unknown(request.type, strict=config.strict_types)
    defaults, options = known.defaults, request.options
    queue = defaults.queue if options.queue is None else options.queue
    if not NAME.fullmatch(queue):
        _refuse_name("queue", queue)
    labels = None if options is NO_OPTIONS else _check_options(options)
    key = request.idempotency_key
    if key is not None or config.require_idempotency_key:
        _check_key(key)
    payload, content = request.payload, None
    plain = defaults.limit is None and options.concurrency_key is None  # has no limit
    alone = defaults.unique is None and not has_unique_options(options)  # stands for itself
    # Only a fingerprint or a key needs the content, and only an unknown sender's text may be no JSON.
    if key is None and known.whole and plain and alone:
        check_text(payload, max_bytes=config.payload_max_bytes)
    else:
        content = check_payload(payload, max_bytes=config.payload_max_bytes)
    headers = known.check(payload)
    if request.trace_context is not None:
        headers = with_context(headers, request.trace_context)
    if request.codec is not None:
        payload = _encode(payload, request.codec, max_bytes=config.payload_max_bytes)
    timeout = options.timeout_seconds or defaults.timeout_seconds or config.timeout_seconds
    made = Submission(
        task_id=new_task_id(),
        tenant=tenant,
        queue=queue,
        type=request.type,
        payload=payload,
        priority=PRIORITIES[options.priority or "normal"],
        delay_seconds=_number(options.delay_seconds),
        run_at=None if options.run_at is None else _utc(options.run_at),
        max_attempts=int(options.max_attempts or defaults.max_attempts or config.max_attempts),
        timeout_seconds=float(timeout),
        expires_at=None if options.expires_at is None else _utc(options.expires_at),
        idempotency_key=key,
        fingerprint=b"" if key is None else _fingerprint(request, content),
        headers=headers,
        labels=labels,
        limit=defaults.limit,
        concurrency_key=None if plain else _limit_key(request, defaults, content),
    )
    return made if alone else with_unique(made, options, defaults, content, request.unique_key)


def _limit_key(request: Request, defaults: TypeDefaults, content: Any) -> str | None:
    """The key of a task with a limit; None where its limit has no keys."""
    given = request.options.concurrency_key
    if defaults.limit is None:
        raise SubmissionInvalid(
            f"tasks of type {request.type} have no limit, so they take no concurrency_key",
            field="concurrency_key",
        )
    if given is not None:
        return check_key(given, whence="concurrency_key")
    if request.limit_key is not None or defaults.limit_key is None:
        return request.limit_key
    field = defaults.limit_key
    if field == BY_FUNCTION or not isinstance(content, dict) or field not in content:
        what = "a function" if field == BY_FUNCTION else f"the field {field!r} of the payload"
        raise SubmissionInvalid(
            f"the key of limit {defaults.limit} comes from {what}, which is not available here: give "
            "concurrency_key",
            field="concurrency_key",
        )
    return check_key(content[field], whence=f"the key of limit {defaults.limit} (field {field!r})")


def _take_unknown(name: str, *, strict: bool) -> KnownType:
    if not NAME.fullmatch(name):
        _refuse_name("type", name)
    if strict:
        raise UnknownType(f"no worker has registered the task type {name}: start one that knows it")
    return UNKNOWN


def _encode(payload: bytes, codec: ContentCodec, *, max_bytes: int) -> bytes:
    encoded = codec.encode(payload)
    if len(encoded) > max_bytes:
        raise PayloadTooLarge(
            f"the payload has {len(encoded)} bytes in its encoded form; the limit is {max_bytes}"
        )
    return encoded


def _fingerprint(request: Request, content: Any) -> bytes:
    """Hash the fields as the client gave them, without defaults: a new default does not turn a
    retry into another request. Hashed is the content before it is encoded, since a cipher gives
    other bytes each time."""
    options = request.options
    values = [request.type, content, options.queue, options.priority, _whole(options.max_attempts)]
    # 5 and 5.0, 09:00Z and 10:00+01:00 are the same: which one it is depends on the way it came.
    numbers = [
        None if number is None else float(number)
        for number in (options.delay_seconds, options.timeout_seconds)
    ]
    moments = [
        None if moment is None else _utc(moment) for moment in (options.run_at, options.expires_at)
    ]
    # Without labels as before there were any. With them, their order does not matter.
    labels: list[Any] = [{"labels": options.labels}] if options.labels else []
    if options.concurrency_key is not None:
        labels.append({"concurrency_key": options.concurrency_key})
    if options is not NO_OPTIONS and has_unique_options(options):
        labels.append({"unique": unique_fields(options)})
    codec = request.codec
    return fingerprint(
        [*values, *numbers, *moments, *labels], None if codec is None else codec.fingerprint
    )


def _number(seconds: float | None) -> float | None:
    """A whole number and a broken one in one batch are of two types to psycopg."""
    return None if seconds is None else float(seconds)


def _whole(attempts: float | None) -> int | None:
    """JSON has one kind of number: 3.0 attempts are 3, for the fingerprint too."""
    return None if attempts is None else int(attempts)


def _utc(moment: datetime) -> datetime:
    """The same moment in UTC: Postgres takes no zone beyond 15:59, and Python does."""
    return moment.astimezone(UTC)


def _refuse_name(what: str, name: str) -> NoReturn:
    raise SubmissionInvalid(
        f"{what} must be 1 to 128 characters of A-Z a-z 0-9 _ . -, not {name[:150]!r}"
    )


def _check_options(options: SubmitOptions) -> dict[str, str] | None:
    """Check the options, and return the labels."""
    if options.priority is not None and options.priority not in PRIORITIES:
        raise SubmissionInvalid(f"priority must be high, normal or low, not {options.priority!r}")
    _check_times(options)
    _check_limits(options)
    return None if options.labels is None else check_labels(options.labels)


def _check_times(options: SubmitOptions) -> None:
    if options.delay_seconds is not None and options.run_at is not None:
        raise SubmissionInvalid("give delay_seconds or run_at, not both")
    if options.delay_seconds is not None and not 0 <= options.delay_seconds <= YEAR_SECONDS:
        raise SubmissionInvalid("delay_seconds must be between 0 and one year")
    for what, moment in (("run_at", options.run_at), ("expires_at", options.expires_at)):
        if moment is not None and moment.tzinfo is None:
            raise SubmissionInvalid(f"{what} must carry a time zone, as in 2026-01-31T09:00:00Z")
        # Near the ends of what a datetime can hold, another time zone's date cannot be read back
        # from Postgres.
        if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise SubmissionInvalid(
                f"{what} must lie between the years {FIRST_YEAR} and {LAST_YEAR}"
            )


def _check_limits(options: SubmitOptions) -> None:
    if options.max_attempts is not None and not float(options.max_attempts).is_integer():
        raise SubmissionInvalid("max_attempts must be a whole number", field="max_attempts")
    if options.max_attempts is not None and not 1 <= options.max_attempts <= MAX_ATTEMPTS:
        raise SubmissionInvalid(f"max_attempts must be between 1 and {MAX_ATTEMPTS}")
    if options.timeout_seconds is not None and not 0 < options.timeout_seconds <= YEAR_SECONDS:
        raise SubmissionInvalid("timeout_seconds must be more than 0 and at most one year")


def _check_key(key: str | None) -> None:
    if key is None:
        raise IdempotencyKeyInvalid("an idempotency key is required here; none was given")
    if not 1 <= len(key) <= KEY_MAX_LENGTH:
        raise IdempotencyKeyInvalid(
            f"an idempotency key has 1 to {KEY_MAX_LENGTH} characters, not {len(key)}"
        )
    if not key.isprintable() or not key.isascii():
        raise IdempotencyKeyInvalid("an idempotency key is made of printable ASCII characters")
    if key.startswith(KEY_PREFIX):
        raise IdempotencyKeyInvalid(
            f"an idempotency key that begins with {KEY_PREFIX} belongs to an occurrence of a schedule"
        )


__all__ = ["KEY_MAX_LENGTH", "PRIORITIES", "Request", "accept"]
