"""Emit events, and listen to them.

`emit(name, **fields)` with a name and the fields of the catalogue in `leaseq.observability.events`. Logs,
metrics, tests and the chaos history listen here, and nothing else writes a log line. An event
without a listener costs one look-up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from leaseq.observability.events import CATALOGUE, DEBUG, ERROR, INFO, WARNING

# The level of each event, apart from its fields.
EVENTS: dict[str, int] = {name: kind.level for name, kind in CATALOGUE.items()}


class Event(Struct, frozen=True):
    """One event and its fields."""

    name: str
    level: int
    fields: dict[str, Any]


Listener = Callable[[Event], None]

# Each listener, with the names of the events that it observes.
_listeners: tuple[tuple[frozenset[str], Listener], ...] = ()
# The same by name: `emit` looks nothing else up.
_heard: dict[str, tuple[Listener, ...]] = dict.fromkeys(EVENTS, ())


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
    listeners = _heard[name]
    if not listeners:
        return
    if given is not None:
        given.update(fields)
        fields = given
    event = Event(name, EVENTS[name], fields)
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logging.getLogger("leaseq").exception("a listener failed on %s", name)


def listening(name: str) -> bool:
    """Whether any listener observes this event. For callers that emit one event for each task in a
    batch."""
    return bool(_heard[name])


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


def subscribe(
    listener: Listener, *, level: int = DEBUG, names: Collection[str] | None = None
) -> Callable[[], None]:
    """Observe every event of at least this level, or those with these names. Returns a function
    that stops it."""
    if names is None:
        names = [name for name, least in EVENTS.items() if least >= level]
    entry = (frozenset(names), listener)
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


def _listen(listeners: tuple[tuple[frozenset[str], Listener], ...]) -> None:
    global _listeners, _heard  # noqa: PLW0603 (read by other threads: replaced as a whole)
    _listeners = listeners
    _heard = {
        name: tuple(listener for names, listener in listeners if name in names) for name in EVENTS
    }


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
