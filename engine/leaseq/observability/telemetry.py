"""Emit events, and listen to them.

`emit(name, **fields)` with a name and the fields of the catalogue in `leaseq.observability.events`. Logs,
metrics, tests and the chaos history listen here, and nothing else writes a log line. An event
without a listener at its level costs one comparison.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from leaseq.observability.events import CATALOGUE, DEBUG, ERROR, INFO, WARNING

# The level of each event, apart from its fields: `emit` looks nothing else up.
EVENTS: dict[str, int] = {name: kind.level for name, kind in CATALOGUE.items()}


class Event(Struct, frozen=True):
    """One event and its fields."""

    name: str
    level: int
    fields: dict[str, Any]


Listener = Callable[[Event], None]

_listeners: tuple[tuple[int, Listener], ...] = ()
_lowest = logging.CRITICAL


class Burst(threading.local):
    """The current burst of this thread: its depth, and the calls to make when it is over."""

    def __init__(self) -> None:
        self.depth = 0
        self.after: dict[Callable[[], None], None] = {}  # in order, each once


_burst = Burst()


def emit(name: str, given: dict[str, Any] | None = None, /, **fields: Any) -> None:
    """Emit an event with these fields. `given`: a dict with fields, which becomes that of the event.

    An exception in a listener is logged and ignored: telemetry never ends an attempt.
    """
    level = EVENTS[name]
    if level < _lowest:
        return
    if given is not None:
        given.update(fields)
        fields = given
    event = Event(name, level, fields)
    for least, listener in _listeners:
        if level >= least:
            try:
                listener(event)
            except Exception:
                logging.getLogger("leaseq").exception("a listener failed on %s", name)


def listening(name: str) -> bool:
    """Whether any listener observes this event. For callers that emit one event for each task in a
    batch."""
    return EVENTS[name] >= _lowest


@contextmanager
def burst() -> Iterator[None]:
    """Group the events of the code inside, which must not wait for anything, so that a listener may
    write them together."""
    _burst.depth += 1
    try:
        yield
    finally:
        _burst.depth -= 1
        if not _burst.depth:
            while _burst.after:
                _burst.after.popitem()[0]()


def after_burst(act: Callable[[], None]) -> bool:
    """Call this when the current burst is over, once. Returns False, without calling it, if there
    is no burst."""
    if not _burst.depth:
        return False
    _burst.after[act] = None
    return True


def subscribe(listener: Listener, *, level: int = DEBUG) -> Callable[[], None]:
    """Observe every event of at least this level. Returns a function that stops it."""
    entry = (level, listener)
    _listen((*_listeners, entry))

    def unsubscribe() -> None:
        _listen(tuple(other for other in _listeners if other is not entry))

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


def _listen(listeners: tuple[tuple[int, Listener], ...]) -> None:
    global _listeners, _lowest  # noqa: PLW0603 (both are read on every emit)
    _listeners = listeners
    _lowest = min((least for least, _ in listeners), default=logging.CRITICAL)


__all__ = [
    "DEBUG",
    "ERROR",
    "EVENTS",
    "INFO",
    "WARNING",
    "Event",
    "Listener",
    "after_burst",
    "burst",
    "emit",
    "listening",
    "recorded",
    "subscribe",
]
