"""Count the permits and the waiting tasks of one limit, by key."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

__all__ = ["Bounds", "Line"]


class Bounds(Struct, frozen=True):
    """How many permits a limit has, and each of its keys. None: no bound."""

    concurrency: int | None
    key_concurrency: int | None


class Line:
    """One limit. `since`: from when on a task waited although there was room."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.permits = 0
        self.by_key: Counter[str] = Counter()
        self.since: int | None = None
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()  # keys with room, and with a task that waits

    def change(self, bounds: Bounds) -> None:
        self.bounds = bounds
        for key in [*self._waiting]:
            self._note(key)

    def add(self, key: str, *, permit: bool, due: bool) -> None:
        self._count(key, permit=int(permit), due=int(due))

    def remove(self, key: str, *, permit: bool, due: bool) -> None:
        self._count(key, permit=-int(permit), due=-int(due))

    def has_room(self) -> bool:
        """Whether a task waits that could have a permit."""
        most = self.bounds.concurrency
        return bool(self._open) and (most is None or self.permits < most)

    def _count(self, key: str, *, permit: int, due: int) -> None:
        self.permits += permit
        self.by_key[key] += permit
        self._waiting[key] += due
        self._note(key)

    def _note(self, key: str) -> None:
        each = self.bounds.key_concurrency
        if self._waiting[key] > 0 and (each is None or self.by_key[key] < each):
            self._open.add(key)
        else:
            self._open.discard(key)
        if self._waiting[key] <= 0:
            del self._waiting[key]
