"""How does one attempt run to exactly one ending?

Every way a handler can end becomes one `Ending`: it returned, raised, asked for a retry, declared failure, ran out of time,
was cancelled, or was told to hand its task back. What follows from it is decided elsewhere (lifecycle.after).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from leaseq.codec import encode_result
from leaseq.context import Context, running
from leaseq.describe import NAME_LIMIT, describe, leaves_of, name_of, read, storable
from leaseq.errors import Fail, Fenced, ResultInvalid, Retry, ServerUnreachable, TransactionEnded, TransactionForeign
from leaseq.model import Ending, Outcome, TaskError
from leaseq.registry import Handler
from leaseq.worker.attempt.handler_connection import AccessToken
from leaseq.worker.process.forks import exit_forked_copy
from leaseq.worker.process.leftovers import Leftovers

# Before an attempt is begun again whose server was left: the new primary may still be coming up.
SERVER_LEFT_SECONDS = 1.0


class Stop(StrEnum):
    """Why a running attempt is being interrupted."""

    CANCEL = "cancel"  # somebody asked for it
    DRAIN = "drain"  # the worker goes down, and its grace is over
    LEASE_LOST = "lease_lost"  # the lease is no longer ours
    OVERTIME = "overtime"  # it has had its time
    SERVER = "server"  # the server of its open transaction was left


class Lent(Struct, frozen=True):
    """What a handler gets that asks for its context, and the right to use it."""

    context: Context
    access: AccessToken


class Call:
    """One call of a handler, in the event loop or in a thread."""

    def __init__(
        self,
        handler: Handler,
        lent: Lent | None,
        *,
        executor: Executor,
        lingered: Callable[[], None],
        leftovers: Leftovers | None = None,
    ) -> None:
        self._handler = handler
        self._leftovers = leftovers
        self._lent = lent
        self._executor = executor
        self._lingered = lingered
        self.lingers = False

    async def run(self, payload: bytes) -> Any:
        """Decode the payload and run the handler. A thread that outlives its time-out lingers, and says when it ends."""
        arguments = self._handler.decode(payload)
        if self._leftovers is not None:
            self._leftovers.begin()
        if self._handler.context_parameter is not None and self._lent is not None:
            self._lent.access.begin()
            running.set(self._lent.context)
            arguments[self._handler.context_parameter] = self._lent.context
        if self._handler.is_async:
            try:
                return await self._handler.function(**arguments)
            finally:
                exit_forked_copy()
        call = partial(contextvars.copy_context().run, _call, self._handler.function, arguments)
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self.lingers = True
                future.add_done_callback(self._end)
            raise

    def _end(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()  # nobody else will look: the attempt has ended already
        self._lingered()


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except StopIteration as error:
        # No future can carry it: whoever waits for the thread would wait for ever.
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        exit_forked_copy()


async def execute(call: Call, payload: bytes, *, result_max_bytes: int, interrupted: Callable[[], Ending | None]) -> Ending:
    """Run a handler to its ending, which is what `interrupted` says once the handler has been interrupted. Never raises, except
    for a cancellation that nobody here has announced."""
    try:
        return Ending(Outcome.SUCCEEDED, result=encode_result(await call.run(payload), max_bytes=result_max_bytes))
    except (Retry, Fail) as error:
        return _raised(error)
    except BaseException as error:  # a panic of an extension in another language is no Exception
        ending = interrupted()
        if ending is not None:
            return ending  # also where the handler has made an error of its own out of the interruption
        if issubclass(type(error), asyncio.CancelledError) and _is_cancelled():
            raise
        return _raised(error)


def _is_cancelled() -> bool:
    """Was this very task cancelled? If not, the handler has let out the cancellation of something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException) -> Ending:
    """What a handler says by raising. Asks for the type only, since an exception may lie about
    its class. A group of exceptions that all say the same says what each of them does."""
    kind = type(error)
    if issubclass(kind, BaseExceptionGroup):
        return _raised_in_a_group(error)
    if issubclass(kind, Retry):
        return _asked_again(error)
    if issubclass(kind, Fail):
        return Ending(Outcome.ERRORED, error=describe(error, "failed", frames=False), permanent=True)
    for permanent in (ResultInvalid, TransactionEnded):
        if issubclass(kind, permanent):
            return Ending(Outcome.ERRORED, error=describe(error, permanent.code), permanent=True)
    if issubclass(kind, ServerUnreachable):
        return Ending(Outcome.ERRORED, error=describe(error, ServerUnreachable.code), store_away=True)
    for mistaken in (TransactionForeign, Fenced):
        # If the attempt was indeed taken away, the fence refuses this ending.
        if issubclass(kind, mistaken):
            return Ending(Outcome.ERRORED, error=describe(error, mistaken.code))
    if kind is msgspec.ValidationError and _from_payload(error):
        return Ending(Outcome.ERRORED, error=describe(error, "payload_invalid"), permanent=True)
    return Ending(Outcome.ERRORED, error=describe(error, "error"))


def _asked_again(error: BaseException) -> Ending:
    """`Retry(delay=...)` with whatever a handler takes for a number of seconds."""
    delay = read(error, "delay")
    said = describe(error, "retry", frames=False)
    if delay is None:
        return Ending(Outcome.ERRORED, error=said)
    for kind in (int, float):
        if issubclass(type(delay), kind) and type(delay) is not bool:
            try:
                return Ending(Outcome.ERRORED, error=said, delay=kind.__float__(delay))
            except OverflowError:  # lifecycle.after has its own idea of the longest delay
                return Ending(Outcome.ERRORED, error=said, delay=math.inf if int.__gt__(delay, 0) else -math.inf)
    wrong = f"Retry(delay=...) takes a number of seconds, not {name_of(delay)}"
    return Ending(Outcome.ERRORED, error=TaskError("error", storable(wrong, NAME_LIMIT), type="TypeError"))


def _raised_in_a_group(group: BaseException) -> Ending:
    """What the parts of a handler say together, which ran side by side (asyncio.TaskGroup).

    One `Fail` among nothing but `Fail` and `Retry` is final: that part can never succeed, so running it again is in vain. Of
    several `Retry` the longest delay holds. Any other exception beside them makes the whole an ordinary error.
    """
    leaves = list(leaves_of(group))
    if _are(leaves, Fail, Retry):
        final = [leaf for leaf in leaves if issubclass(type(leaf), Fail)]
        if final:
            return msgspec.structs.replace(_raised(final[0]), error=describe(group, "failed"))
        endings = [_raised(leaf) for leaf in leaves]
        delays = [ending.delay for ending in endings if ending.delay is not None]
        return msgspec.structs.replace(endings[0], error=describe(group, "retry"), delay=max(delays, default=None))
    for kinds in ((ServerUnreachable, Fenced), (ResultInvalid, TransactionEnded)):
        if _are(leaves, *kinds):
            return _raised(leaves[0])
    return Ending(Outcome.ERRORED, error=describe(group, "error"))


def _are(errors: Sequence[BaseException], *kinds: type[BaseException]) -> bool:
    return all(issubclass(type(error), kinds) for error in errors)


def stopped(reason: Stop, *, timeout_seconds: float) -> Ending:
    """The ending of an attempt that was interrupted, or kept from starting."""
    match reason:
        case Stop.CANCEL:
            return Ending(Outcome.CANCELLED, error=TaskError("cancelled", "cancelled while it ran"))
        case Stop.OVERTIME:
            said = f"the attempt ran longer than {timeout_seconds:g} seconds"
            return Ending(Outcome.TIMED_OUT, error=TaskError("timeout", said))
        case Stop.SERVER:
            error = TaskError("server_unreachable", "Postgres was left while the handler's transaction was open")
            return Ending(Outcome.RELEASED, error=error, delay=SERVER_LEFT_SECONDS)
    said = "its worker went down" if reason is Stop.DRAIN else "its worker lost its lease"
    return Ending(Outcome.RELEASED, error=TaskError("released", said))


def _from_payload(error: BaseException) -> bool:
    """A payload that does not fit fails permanently; the same error raised by the handler's own code is an ordinary one."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is Handler.decode.__code__


__all__ = ["Call", "Lent", "Stop", "execute", "stopped"]
