"""How does one attempt run to exactly one ending?

Every way a handler can end becomes one `Ending`: it returned, raised, asked for a retry, declared failure, ran out of time,
was cancelled, or was told to hand its task back. What follows from it is decided elsewhere (lifecycle.after).
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from leaseq.codec import encode_result
from leaseq.context import Context, running
from leaseq.errors import Fail, Fenced, ResultInvalid, Retry, ServerUnreachable, TransactionEnded, TransactionForeign
from leaseq.model import Ending, Outcome, TaskError
from leaseq.registry import Handler
from leaseq.worker.forks import end_copy
from leaseq.worker.lent import Loan
from leaseq.worker.remains import Remains

TRACEBACK_LIMIT = 20_000
MESSAGE_LIMIT = 2_000
NAME_LIMIT = 200
STORE_AWAY_DELAY = 1.0
SHOWN_LEAVES = 5

# What code that does not wait may raise: all but a cancellation.
RAISED = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)


class Stop(StrEnum):
    """Why a running attempt is being interrupted."""

    CANCEL = "cancel"  # somebody asked for it
    DRAIN = "drain"  # the worker goes down, and its grace is over
    FENCE = "fence"  # the lease is no longer ours
    OVERTIME = "overtime"  # it has had its time


class Lent(Struct, frozen=True):
    """What a handler gets that asks for its context, and the right to use it."""

    context: Context
    loan: Loan


class Call:
    """One call of a handler, in the event loop or in a thread."""

    def __init__(
        self,
        handler: Handler,
        lent: Lent | None,
        *,
        executor: Executor,
        lingered: Callable[[], None],
        remains: Remains | None = None,
    ) -> None:
        self._handler = handler
        self._remains = remains
        self._lent = lent
        self._executor = executor
        self._lingered = lingered
        self.lingers = False

    async def run(self, payload: bytes) -> Any:
        """Decode the payload and run the handler. A thread that outlives its time-out lingers, and says when it ends."""
        arguments = self._handler.decode(payload)
        if self._remains is not None:
            self._remains.begin()
        if self._handler.context_parameter is not None and self._lent is not None:
            self._lent.loan.begin()
            running.set(self._lent.context)
            arguments[self._handler.context_parameter] = self._lent.context
        if self._handler.is_async:
            try:
                return await self._handler.function(**arguments)
            finally:
                end_copy()
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
        end_copy()


async def execute(call: Call, payload: bytes, *, result_max_bytes: int, interrupted: Callable[[], Ending | None]) -> Ending:
    """Run a handler to its ending, which is what `interrupted` says once the handler has been interrupted. Never raises, except
    for a cancellation that nobody here has announced."""
    try:
        return Ending(Outcome.SUCCEEDED, result=encode_result(await call.run(payload), max_bytes=result_max_bytes))
    except (Retry, Fail) as error:
        return _said(error)
    except BaseException as error:  # a panic of an extension in another language is no Exception
        ending = interrupted()
        if ending is not None:
            return ending  # also where the handler has made an error of its own out of the interruption
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        return _said(error)


def _is_cancelled() -> bool:
    """Was this very task cancelled? If not, the handler has let out the cancellation of something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _said(error: BaseException) -> Ending:
    """What a handler says by raising, also where the code of the exception itself fails."""
    try:
        return _raised(error)
    except RAISED as failure:
        return _errored(failure)


def _raised(error: BaseException) -> Ending:
    """What a handler says by raising. A group of exceptions that all say the same says what each of them does."""
    if isinstance(error, BaseExceptionGroup):
        return _raised_in_a_group(error)
    match error:
        case Retry() if isinstance(error.delay, int | float | None):
            return Ending(Outcome.ERRORED, error=_describe(error, "retry"), delay=error.delay)
        case Retry():
            return _errored(TypeError(f"Retry(delay=...) is a number of seconds, not {type(error.delay).__name__}"))
        case Fail():
            return Ending(Outcome.ERRORED, error=_describe(error, "failed"), permanent=True)
        case ResultInvalid() | TransactionEnded():
            return Ending(Outcome.ERRORED, error=_describe(error, error.code), permanent=True)
        case msgspec.ValidationError():
            return _invalid(error)
        case TransactionForeign():
            return Ending(Outcome.ERRORED, error=_describe(error, error.code))  # the handler's own fault, unlike `Fenced`
        case ServerUnreachable() | Fenced():
            # The stores are away, not the handler at fault: the task is handed back and costs nothing.
            return Ending(Outcome.RELEASED, error=_describe(error, error.code), delay=STORE_AWAY_DELAY)
    return _errored(error)


def _raised_in_a_group(group: BaseExceptionGroup[BaseException]) -> Ending:
    """What the parts of a handler say together, which ran side by side (asyncio.TaskGroup).

    One `Fail` among nothing but `Fail` and `Retry` is final: that part can never succeed, so running it again is in vain. Of
    several `Retry` the longest delay holds. Any other exception beside them makes the whole an ordinary error.
    """
    leaves = list(_leaves(group))
    if all(isinstance(leaf, Fail | Retry) for leaf in leaves):
        final = [leaf for leaf in leaves if isinstance(leaf, Fail)]
        if final:
            return msgspec.structs.replace(_raised(final[0]), error=_describe(group, "failed"))
        endings = [_raised(leaf) for leaf in leaves]
        delays = [ending.delay for ending in endings if ending.delay is not None]
        return msgspec.structs.replace(endings[0], error=_describe(group, "retry"), delay=max(delays, default=None))
    if all(isinstance(leaf, ServerUnreachable | Fenced) for leaf in leaves):
        return _raised(leaves[0])
    if all(isinstance(leaf, ResultInvalid | TransactionEnded) for leaf in leaves):
        return _raised(leaves[0])
    return _errored(group)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group that are no groups, in order. Not recursive, since groups may be nested at will."""
    waiting = [error]
    while waiting:
        part = waiting.pop()
        if isinstance(part, BaseExceptionGroup):
            waiting += reversed(part.exceptions)
        else:
            yield part


def stopped(reason: Stop, *, timeout_seconds: float) -> Ending:
    """The ending of an attempt that was interrupted, or kept from starting."""
    match reason:
        case Stop.CANCEL:
            return Ending(Outcome.CANCELLED, error=TaskError("cancelled", "cancelled while it ran"))
        case Stop.OVERTIME:
            said = f"the attempt ran longer than {timeout_seconds:g} seconds"
            return Ending(Outcome.TIMED_OUT, error=TaskError("timeout", said))
    said = "its worker went down" if reason is Stop.DRAIN else "its worker lost its lease"
    return Ending(Outcome.RELEASED, error=TaskError("released", said))


def _errored(error: BaseException) -> Ending:
    return Ending(Outcome.ERRORED, error=_describe(error, "error"))


def _invalid(error: msgspec.ValidationError) -> Ending:
    """A payload that does not fit fails for good; the same error raised by the handler's own code is an ordinary one."""
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].name == "decode" and frames[-1].filename.endswith("registry.py"):
        return Ending(Outcome.ERRORED, error=_describe(error, "payload_invalid"), permanent=True)
    return _errored(error)


def _describe(error: BaseException, code: str) -> TaskError:
    name = type(error).__name__
    try:
        message = _message(error)
        trace = "" if isinstance(error, Retry | Fail) else "".join(traceback.format_exception(error))
    except RAISED as failure:  # the exception's own code has a fault
        message, trace = f"{name}, which cannot say why: {type(failure).__name__}", ""
    return TaskError(
        code, _storable(message, MESSAGE_LIMIT), type=_storable(name, NAME_LIMIT), traceback=_storable(trace, -TRACEBACK_LIMIT)
    )


def _message(error: BaseException) -> str:
    """What the exception says. A group says what its parts say, since its own message counts them only."""
    if not isinstance(error, BaseExceptionGroup):
        return str(error) or type(error).__name__
    leaves = list(islice(_leaves(error), SHOWN_LEAVES + 1))
    parts = [f"{type(leaf).__name__}: {_message(leaf)}" for leaf in leaves[:SHOWN_LEAVES]]
    return "; ".join([*parts, "..."] if len(leaves) > SHOWN_LEAVES else parts)


def _storable(text: str, limit: int) -> str:
    """Cut to size (a negative limit keeps the end) and free of what JSON in Postgres cannot hold."""
    cut = text[:limit] if limit > 0 else text[limit:]
    return cut.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


__all__ = ["STORE_AWAY_DELAY", "Call", "Lent", "Stop", "execute", "stopped"]
