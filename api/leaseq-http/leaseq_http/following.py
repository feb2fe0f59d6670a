"""Follow tasks by a stream of server-sent events (WHATWG HTML, 9.2).

Nothing is sent or received here. A stream that breaks continues behind the last event that was
read, in any process of the service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from leaseq_http.calls import Call, follow_task, follow_tasks
from leaseq_http.errors import ForeignAnswer, Unreachable
from leaseq_http.model import Attempt, Event, ListedTask, Missed, Progress, TaskState

# The kinds of event, with their data. Others are ignored: later versions may add some.
OF_TASK: dict[str, type[TaskState | Attempt | Progress]] = {
    "state": TaskState,
    "attempt": Attempt,
    "progress": Progress,
}
OF_ALL_TASKS: dict[str, type[ListedTask | Missed]] = {"state": ListedTask, "missed": Missed}
STREAM = "text/event-stream"
NO_CONTENT = 204

T = TypeVar("T")
# A carriage return at the end may be followed by a line feed.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class Following(Generic[T]):
    """One subject that is followed, over as many streams as it takes. `open_stream` makes the call
    for a stream behind an event."""

    def __init__(
        self,
        open_stream: Callable[[str | None], Call[None]],
        kinds: Mapping[str, type[T]],
        *,
        last_event_id: str | None,
    ) -> None:
        self.ended = False
        # Until the next stream. The service chooses it.
        self.pause_seconds = 0.0
        self._open_stream = open_stream
        self._kinds = kinds
        self._last = last_event_id
        self._parser = Parser()
        open_stream(None)  # raises for a malformed id

    def call(self) -> Call[None]:
        """Open a stream."""
        self._parser = Parser()
        return self._open_stream(self._last)

    def check(self, status: int, media_type: str) -> None:
        """Check the head of a stream. Raises `ForeignAnswer`."""
        if status == NO_CONTENT:
            self.ended = True
        elif media_type.partition(";")[0].strip() != STREAM:
            raise ForeignAnswer(f"the stream of events has the type {media_type!r}", status=status)

    def broken(self) -> Unreachable:
        """The error of a stream that has ended before the task."""
        error = Unreachable("the stream has ended before it was over")
        error.retry_after = self.pause_seconds
        return error

    def feed(self, piece: bytes) -> Iterator[Event[T]]:
        """The events that a piece of the stream completes. Raises `ForeignAnswer`."""
        for sent in self._parser.feed(piece):
            if sent.id is not None:
                self._last = sent.id
            if (kind := self._kinds.get(sent.name)) is None:
                continue
            try:
                data = msgspec.json.decode(sent.data, type=kind)
            except msgspec.MsgspecError as error:
                raise ForeignAnswer(f"an event {sent.name} does not fit: {error}") from error
            self.ended = isinstance(data, TaskState) and data.ended
            yield Event(id=self._last, data=data)
        if self._parser.retry_seconds is not None:
            self.pause_seconds = self._parser.retry_seconds


def following_task(
    task_id: str, *, last_event_id: str | None
) -> Following[TaskState | Attempt | Progress]:
    """Follow one task, until it has ended."""

    def open_stream(last: str | None) -> Call[None]:
        return follow_task(task_id, last_event_id=last)

    return Following(open_stream, OF_TASK, last_event_id=last_event_id)


def following_tasks(
    *, queue: str | None, type_: str | None, last_event_id: str | None
) -> Following[ListedTask | Missed]:
    """Follow all tasks, without an end."""

    def open_stream(last: str | None) -> Call[None]:
        return follow_tasks(queue=queue, type=type_, last_event_id=last)

    return Following(open_stream, OF_ALL_TASKS, last_event_id=last_event_id)


class SentEvent(Struct, frozen=True):
    """One event as it was sent."""

    name: str
    id: str | None
    data: bytes


class Parser:
    """Turns the bytes of one stream into events."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        self._rest = b""
        self._begun = False
        self._fields: dict[bytes, Any] = {}

    def feed(self, piece: bytes) -> Iterator[SentEvent]:
        """The events that these bytes complete. An event ends with an empty line; one that is cut off
        does not count."""
        if piece and not self._begun:
            self._begun = True
            piece = piece.removeprefix(b"\xef\xbb\xbf")
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        for line in lines:
            if line:
                self._take(line)
                continue
            fields, self._fields = self._fields, {}
            if data := fields.get(b"data"):
                name = fields.get(b"event", b"message").decode("utf-8", "replace")
                yield SentEvent(name, _text(fields.get(b"id")), b"\n".join(data))

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._fields.setdefault(b"data", []).append(value)
        elif name == b"event" or (name == b"id" and b"\0" not in value):
            self._fields[name] = value
        elif name == b"retry" and value.isdigit():
            self.retry_seconds = int(value) / 1_000


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


__all__ = [
    "NO_CONTENT",
    "OF_ALL_TASKS",
    "OF_TASK",
    "STREAM",
    "Following",
    "Parser",
    "SentEvent",
    "following_task",
    "following_tasks",
]
