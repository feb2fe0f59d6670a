"""Through which door does everything that happens go?

`emit(name, **fields)` with a past-tense name from `EVENTS`. Logs, metrics, tests and the chaos history listen here;
nothing else writes a log line. With nobody listening at its level, an event costs one comparison.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

# Transitions at debug, one line an attempt at info, what a person should know at warning.
EVENTS: dict[str, int] = {
    "task.submitted": DEBUG,
    "task.replayed": DEBUG,
    "task.promoted": DEBUG,
    "task.claimed": DEBUG,
    "task.cancelled": INFO,
    "task.failed": WARNING,
    "task.redriven": INFO,
    "task.redispatched": WARNING,
    "task.rescheduled": WARNING,
    "task.locked": WARNING,
    "task.pruned": INFO,
    "attempt.started": DEBUG,
    "attempt.settled": INFO,
    "attempt.fenced": WARNING,
    "attempt.reaped": WARNING,
    "attempt.ambiguous": WARNING,
    "attempt.forgotten": WARNING,
    "delivery.pushed": DEBUG,
    "delivery.refilled": DEBUG,
    "task.expedited": INFO,
    "delivery.released": DEBUG,
    "delivery.skipped": INFO,
    "delivery.parked": WARNING,
    "delivery.stray": WARNING,
    "delivery.restored": WARNING,
    "push.failed": WARNING,
    "backlog.began": INFO,
    "backlog.ended": INFO,
    "lease.opened": DEBUG,
    "lease.renewed": DEBUG,
    "lease.lapsed": WARNING,
    "lease.reopened": WARNING,
    "lease.dropped": WARNING,
    "worker.opened": INFO,
    "worker.exhausted": WARNING,
    "worker.locked": WARNING,
    "worker.draining": INFO,
    "worker.drained": INFO,
    "worker.closed": INFO,
    "worker.fenced": ERROR,
    "worker.suspected": WARNING,
    "worker.reaped": WARNING,
    "sessions.kept": WARNING,
    "child.started": INFO,
    "child.exited": INFO,
    "child.died": ERROR,
    "child.stalled": ERROR,
    "supervisor.started": INFO,
    "supervisor.lagged": WARNING,
    "supervisor.draining": INFO,
    "supervisor.stopped": INFO,
    "supervisor.lost": ERROR,
    "reaper.started": INFO,
    "reaper.braked": ERROR,
    "reaper.quieted": WARNING,
    "reaper.stopped": INFO,
    "epoch.changed": WARNING,
    "queue.paused": INFO,
    "queue.resumed": INFO,
    "queue.forgotten": INFO,
    "handler.escaped": ERROR,
    "handler.limited": WARNING,
    "handler.overran": WARNING,
    "handler.remained": INFO,
    "ledger.unreachable": WARNING,
    "ledger.returned": INFO,
    "ledger.left": WARNING,
    "ledger.abandoned": WARNING,
    "dispatch.unreachable": WARNING,
    "dispatch.mended": WARNING,
    "dispatch.foreign": ERROR,
    "dispatch.returned": INFO,
    "log.dropped": WARNING,
    "loop.failed": ERROR,
    "api.started": INFO,
    "api.crowded": WARNING,
    "api.stopping": INFO,
    "api.stopped": INFO,
    "request.failed": ERROR,
    "schema.refused": WARNING,
    "server.doubted": WARNING,
}


class Event(Struct, frozen=True):
    """Something that happened."""

    name: str
    level: int
    fields: dict[str, Any]


Listener = Callable[[Event], None]

_listeners: list[tuple[int, Listener]] = []
_lowest = logging.CRITICAL


class Burst(threading.local):
    """The burst that is going on in this thread: how deep, and what to do when it is over."""

    def __init__(self) -> None:
        self.depth = 0
        self.after: dict[Callable[[], None], None] = {}  # in order, each once


_burst = Burst()


def emit(name: str, /, **fields: Any) -> None:
    """Say that something happened. A listener that fails is not heard of: telemetry never ends an attempt."""
    level = EVENTS[name]
    if level < _lowest:
        return
    event = Event(name, level, fields)
    for least, listener in tuple(_listeners):
        if level >= least:
            try:
                listener(event)
            except Exception:
                logging.getLogger("leaseq").exception("a listener failed on %s", name)


def listening(name: str) -> bool:
    """Would anybody hear this event? For callers that emit one per task in a batch."""
    return EVENTS[name] >= _lowest


@contextmanager
def burst() -> Iterator[None]:
    """Events of the code inside, which must not wait for anything, belong together: whoever writes them down may write once."""
    _burst.depth += 1
    try:
        yield
    finally:
        _burst.depth -= 1
        if not _burst.depth:
            while _burst.after:
                _burst.after.popitem()[0]()


def after_burst(act: Callable[[], None]) -> bool:
    """Call this when the burst that is going on is over, once. False, and no call, if there is none."""
    if _burst.depth:
        _burst.after[act] = None
    return _burst.depth > 0


def subscribe(listener: Listener, *, level: int = DEBUG) -> Callable[[], None]:
    """Hear every event of at least this level from now on. Returns what ends it."""
    entry = (level, listener)
    _listeners.append(entry)
    _lower()

    def unsubscribe() -> None:
        if entry in _listeners:
            _listeners.remove(entry)
            _lower()

    return unsubscribe


@contextmanager
def recorded(*, level: int = DEBUG) -> Iterator[list[Event]]:
    """Collect events while inside; what tests use."""
    events: list[Event] = []
    unsubscribe = subscribe(events.append, level=level)
    try:
        yield events
    finally:
        unsubscribe()


def _lower() -> None:
    global _lowest  # noqa: PLW0603 (one number, read on every emit)
    _lowest = min((least for least, _ in _listeners), default=logging.CRITICAL)


__all__ = ["EVENTS", "Event", "Listener", "after_burst", "burst", "emit", "listening", "recorded", "subscribe"]
