"""Which deliveries has this worker in hand, from their pull to their release, and which of its parts has each?

An id may come several times: twice in one list, through the intake and through the sweep, and again after it was let go. So each
taking is a `Hold` of its own, and it is the hold that is let go of: whoever is late with that takes nothing away from another.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct


class Hold(Struct, frozen=True, eq=False):
    """One delivery, taken once. Two holds are never equal."""

    task_id: str
    queue: str


class Taken(Struct, frozen=True):
    """What a list held that was not in hand, and what it held once more: that is of no use to anybody."""

    news: list[Hold]
    repeated: list[str]


class Hands:
    """The worker's own memory of what its processing lists should hold."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._holds

    def take(self, queue: str, task_ids: Iterable[str]) -> Taken:
        """Note what has come in, and say what is new. No two ways of coming in take the same id twice."""
        news: dict[str, Hold] = {}
        repeated = []
        for task_id in task_ids:
            if task_id in news:
                repeated.append(task_id)
            elif task_id not in self._holds:
                news[task_id] = self._holds[task_id] = Hold(task_id, queue)
        return Taken([*news.values()], repeated)

    def drop(self, hold: Hold) -> None:
        """What this hold stood for is no longer in hand; if it is taken anew meanwhile, that stays."""
        if self._holds.get(hold.task_id) is hold:
            del self._holds[hold.task_id]

    def held(self, queue: str) -> set[str]:
        """The ids that are in hand, of one queue."""
        return {task_id for task_id, hold in self._holds.items() if hold.queue == queue}

    def queues(self) -> set[str]:
        """The queues of which something is in hand."""
        return {hold.queue for hold in self._holds.values()}


__all__ = ["Hands", "Hold", "Taken"]
