"""Turn the way in which a handler ended into the ending of its attempt.

Each way becomes one `Ending`: the handler returned, raised, asked for a retry, declared failure,
ran out of time, was cancelled, or had to hand its task back. `lifecycle.after` decides what
follows.

Invariants: these functions ask for the type of an exception only, since an exception may lie about
its class, and they read nothing of it that could run its code.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from leaseq.codec import encode_result
from leaseq.errors import (
    CodecMismatch,
    Fail,
    Fenced,
    ResultInvalid,
    Retry,
    ServerUnreachable,
    TransactionEnded,
    TransactionForeign,
)
from leaseq.model import ClaimedTask, Ending, Outcome, TaskError
from leaseq.payloads.known_type import stamp_in
from leaseq.payloads.payload_codec import ContentCodec, envelope_in
from leaseq.registry import Handler
from leaseq.safe_text.exceptions import (
    NAME_LIMIT,
    describe,
    leaves_of,
    name_of,
    plain,
    read,
    storable,
)

# Before an attempt starts again whose server was left: the new primary may still be coming up.
SERVER_LEFT_SECONDS = 1.0


# Of most handlers, which return nothing.
RETURNED_NOTHING = Ending(Outcome.SUCCEEDED, result=b"null")


class Stop(StrEnum):
    """The reason for which a running attempt is interrupted."""

    CANCEL = "cancel"  # a client requested it
    DRAIN = "drain"  # the worker drains, and its grace is over
    LEASE_LOST = "lease_lost"  # the worker has lost its lease
    OVERTIME = "overtime"  # the time-out has passed
    SERVER = "server"  # the server of its open transaction was left


def returned(result: object, *, max_bytes: int, codec: ContentCodec | None = None) -> Ending:
    """The ending for what a handler returned, which may have so many bytes as JSON, before `codec`
    encodes it. Raises `ResultInvalid`."""
    if codec is not None:
        content = encode_result(result, max_bytes=max_bytes)
        return Ending(Outcome.SUCCEEDED, result=codec.encode(content))
    if result is None:
        return RETURNED_NOTHING
    return Ending(Outcome.SUCCEEDED, result=encode_result(result, max_bytes=max_bytes))


def ending_of(error: BaseException, interrupted: Callable[[], Ending | None]) -> Ending | None:
    """The ending for what a handler raised. None: its task was cancelled, and the worker did not
    announce that.

    `interrupted` gives the ending of an attempt that was stopped. That one also counts where the
    handler has made an error of its own out of the interruption. A `Retry` or a `Fail` keeps its
    meaning.
    """
    kind = type(error)
    if not issubclass(kind, (Retry, Fail)):
        ending = interrupted()
        if ending is not None:
            return ending
        if issubclass(kind, asyncio.CancelledError) and _is_cancelled():
            return None
    return _raised(error)


def _is_cancelled() -> bool:
    """Whether this very task was cancelled. If not, the handler let out the cancellation of
    something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException) -> Ending:
    """The ending for an exception. A group of exceptions that all mean the same means what each of
    them does."""
    kind = type(error)
    if issubclass(kind, BaseExceptionGroup):
        return _raised_in_a_group(error)
    if issubclass(kind, Retry):
        return _retry(error)
    if issubclass(kind, Fail):
        return Ending(
            Outcome.ERRORED, error=describe(error, "failed", frames=False), permanent=True
        )
    for permanent in (ResultInvalid, TransactionEnded):
        if issubclass(kind, permanent):
            return Ending(Outcome.ERRORED, error=describe(error, permanent.code), permanent=True)
    if issubclass(kind, ServerUnreachable):
        return Ending(
            Outcome.ERRORED, error=describe(error, ServerUnreachable.code), store_away=True
        )
    for mistaken in (TransactionForeign, Fenced):
        # If the attempt was indeed taken away, the fence refuses this ending.
        if issubclass(kind, mistaken):
            return Ending(Outcome.ERRORED, error=describe(error, mistaken.code))
    return _unfit_payload(error) or Ending(Outcome.ERRORED, error=describe(error, "error"))


def _unfit_payload(error: BaseException) -> Ending | None:
    """The ending where the handler was not called, because its payload cannot be decoded."""
    if type(error) is CodecMismatch and _passed_decode(error):
        return _undecodable(str(error))
    if type(error) is msgspec.ValidationError and _from_payload(error):
        return Ending(Outcome.ERRORED, error=describe(error, "payload_invalid"), permanent=True)
    return None


def _retry(error: BaseException) -> Ending:
    """The ending for `Retry(delay=...)`, whose delay may be any object that a handler treats as a
    number of seconds."""
    delay = read(error, "delay")
    description = describe(error, "retry", frames=False)
    if delay is None:
        return Ending(Outcome.ERRORED, error=description)
    for kind in (int, float):
        if issubclass(type(delay), kind) and type(delay) is not bool:
            try:
                return Ending(Outcome.ERRORED, error=description, delay=kind.__float__(delay))
            except OverflowError:  # lifecycle.after bounds the delay
                return Ending(
                    Outcome.ERRORED,
                    error=description,
                    delay=math.inf if int.__gt__(delay, 0) else -math.inf,
                )
    wrong = f"Retry(delay=...) takes a number of seconds, not {name_of(delay)}"
    return Ending(
        Outcome.ERRORED, error=TaskError("error", storable(wrong, NAME_LIMIT), type="TypeError")
    )


def _raised_in_a_group(group: BaseException) -> Ending:
    """The ending for parts of a handler that ran side by side (asyncio.TaskGroup) and raised
    together.

    One `Fail` among nothing but `Fail` and `Retry` is final: that part can never succeed, so
    another run would be useless. Of several `Retry` the longest delay holds. Any other exception
    beside them makes the whole an ordinary error.
    """
    leaves = list(leaves_of(group))
    if _are(leaves, Fail, Retry):
        final = [leaf for leaf in leaves if issubclass(type(leaf), Fail)]
        if final:
            return replace(_raised(final[0]), error=describe(group, "failed"))
        endings = [_raised(leaf) for leaf in leaves]
        delays = [ending.delay for ending in endings if ending.delay is not None]
        return replace(endings[0], error=describe(group, "retry"), delay=max(delays, default=None))
    for kinds in ((ServerUnreachable, Fenced), (ResultInvalid, TransactionEnded)):
        if _are(leaves, *kinds):
            return _raised(leaves[0])
    return Ending(Outcome.ERRORED, error=describe(group, "error"))


def _are(errors: Sequence[BaseException], *kinds: type[BaseException]) -> bool:
    return all(issubclass(type(error), kinds) for error in errors)


def _from_payload(error: BaseException) -> bool:
    """Whether the payload does not fit, which fails permanently. The same error of the handler's
    own code is ordinary."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is Handler.decode.__code__


def _passed_decode(error: BaseException) -> bool:
    """Whether the payload of the attempt could not be decoded. The same error of the handler's own
    code, about the result of another task, is ordinary."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is Handler.decode.__code__:
            return True
        trace = trace.tb_next
    return False


def _undecodable(reason: str) -> Ending:
    """A hand-back of a task whose payload this worker cannot decode: another worker may have the
    codec, or the version of its key. The text of the reason quotes no content."""
    error = TaskError("other_version", reason, type=CodecMismatch.__name__)
    return Ending(Outcome.RELEASED, error=error, self_caused=True)


def stopped(reason: Stop, *, timeout_seconds: float) -> Ending:
    """The ending of an attempt that was interrupted, or kept from starting."""
    match reason:
        case Stop.CANCEL:
            return Ending(Outcome.CANCELLED, error=TaskError("cancelled", "cancelled while it ran"))
        case Stop.OVERTIME:
            message = f"the attempt ran longer than {timeout_seconds:g} seconds"
            return Ending(Outcome.TIMED_OUT, error=TaskError("timeout", message))
        case Stop.SERVER:
            error = TaskError(
                "server_unreachable", "Postgres was left while the handler's transaction was open"
            )
            return Ending(Outcome.RELEASED, error=error, delay=SERVER_LEFT_SECONDS)
    message = "its worker went down" if reason is Stop.DRAIN else "its worker lost its lease"
    return Ending(Outcome.RELEASED, error=TaskError("released", message))


def cancelled_itself() -> Ending:
    """The ending of a handler whose own code cancelled its task."""
    return Ending(
        Outcome.ERRORED,
        error=TaskError("error", "it was cancelled by its own code", type="CancelledError"),
    )


def expired() -> Ending:
    """The ending of a task whose `expires_at` had passed before a handler started."""
    return Ending(
        Outcome.CANCELLED, error=TaskError("expired", "it was not started before expires_at")
    )


def without_token(seconds: float) -> Ending:
    """The ending of a task whose limit has a rate, and no token for it: it waits in its line again."""
    error = TaskError("rate", "the rate of its limit had no token for it")
    return Ending(Outcome.RELEASED, error=error, delay=seconds)


def isolated() -> Ending:
    """The ending of a suspect that a worker with other tasks has claimed: it goes to a process in
    which it runs alone."""
    return Ending(
        Outcome.RELEASED,
        error=TaskError("isolated", "handed over, to run alone"),
        delay=0.0,
        self_caused=True,
    )


def unknown_type(name: str) -> Ending:
    """The ending where this worker has no handler for the type.

    A deploy may be in progress: another worker, or this one after its restart, knows the type.
    """
    message = f"no handler for {name!r} in this worker"
    return Ending(Outcome.RELEASED, error=TaskError("unknown_type", message), self_caused=True)


def for_this_version(ending: Ending, claimed: ClaimedTask, handler: Handler) -> Ending:
    """The ending of a handler, or a hand-back where the payload was accepted for another version of
    the handler.

    A deploy is in progress, or was rolled back: another worker may have that version.
    """
    if ending.error is None or ending.error.code != "payload_invalid" or not ending.permanent:
        return ending
    if handler.codec is None and envelope_in(claimed.payload) is not None:
        return _undecodable("the payload is encoded, and the app of this worker has no codec")
    if stamp_in(claimed.headers) in (None, handler.stamp):
        return ending
    message = f"the payload was submitted for another version of the handler than this worker has: {ending.error.message}"
    return Ending(Outcome.RELEASED, error=TaskError("other_version", message), self_caused=True)


def plain_ending(ending: Ending | None, error: BaseException) -> Ending:
    """The plain ending in place of one that Postgres refuses with this error."""
    if ending is None:
        return Ending(Outcome.ERRORED, error=plain("ending_unwritable", error))
    if ending.result is not None:
        # Raw JSON that is none, for example: a retry cannot store what Postgres cannot store.
        return Ending(Outcome.ERRORED, error=plain("result_invalid", error), permanent=True)
    return replace(ending, error=plain("ending_unwritable", error))


__all__ = [
    "Stop",
    "cancelled_itself",
    "ending_of",
    "expired",
    "for_this_version",
    "isolated",
    "plain_ending",
    "returned",
    "stopped",
    "unknown_type",
]
