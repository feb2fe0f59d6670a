"""The menu of the dashboard. A page adds itself by one line here.

The key of a page is a letter that follows `g`. A page that does not exist yet has no line.
"""

from __future__ import annotations

from msgspec import Struct


class Entry(Struct, frozen=True):
    """One word of the menu."""

    word: str
    path: str
    key: str


MENU = (
    Entry("Overview", "/ui", "o"),
    Entry("Queues", "/ui/queues", "q"),
    Entry("Tasks", "/ui/tasks", "t"),
    Entry("Running", "/ui/running", "r"),
    Entry("Workers", "/ui/workers", "w"),
    Entry("Types", "/ui/types", "y"),
    Entry("Due", "/ui/due", "d"),
    Entry("Schedules", "/ui/schedules", "s"),
    Entry("Limits", "/ui/limits", "l"),
    Entry("Check", "/ui/check", "c"),
    Entry("Operations", "/ui/operations", "p"),
    Entry("Failures", "/ui/failures", "f"),
    Entry("Diary", "/ui/events", "e"),
)

__all__ = ["MENU", "Entry"]
