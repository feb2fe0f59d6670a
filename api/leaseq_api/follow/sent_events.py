"""Events that a client of a stream has got, and those that are news to it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from leaseq.model import State
from leaseq.operations.follow import Look
from leaseq_api.follow.event_stream import event
from leaseq_api.follow.event_views import ProgressView
from leaseq_api.follow.position import Position, position_of
from leaseq_api.schemas import Json
from leaseq_api.views import attempt_view, followed_view


class SentEvents:
    """The position of one client, which moves with each event. `contents`: its key may read what
    clients and handlers wrote."""

    def __init__(self, position: Position, *, contents: bool) -> None:
        self.position = position
        self._contents = contents

    def is_complete(self, look: Look) -> bool:
        """Whether the task has ended, and the client knows how."""
        return look.ended and self.position.state == position_of(look.task).state

    def news(self, look: Look) -> Iterator[bytes]:
        """The events for what has changed since the position.

        While an attempt runs, the ends of those before come first and its progress last. Otherwise
        the progress belongs to the attempt whose end comes next.
        """
        now = position_of(look.task)
        running = look.task.state is State.PROCESSING
        if not running:
            yield from self._progress(look, now)
        for attempt in look.ends:
            self.position = replace(self.position, ends=attempt.last)
            contents = self._contents and look.task.erased_at is None
            view = attempt_view(attempt, contents=contents)
            yield event("attempt", view, event_id=str(self.position))
        self.position = replace(self.position, ends=max(self.position.ends, now.ends))
        if now.state != self.position.state:
            self.position = replace(self.position, state=now.state)
            task = followed_view(look.task, contents=self._contents)
            yield event("state", task, event_id=str(self.position))
        if running:
            yield from self._progress(look, now)

    def _progress(self, look: Look, now: Position) -> Iterator[bytes]:
        progress = look.task.progress
        if self._contents and progress is not None and now.progress != self.position.progress:
            self.position = replace(self.position, progress=now.progress)
            view = ProgressView(attempt=look.task.attempt, progress=Json(progress))
            yield event("progress", view, event_id=str(self.position))


__all__ = ["SentEvents"]
