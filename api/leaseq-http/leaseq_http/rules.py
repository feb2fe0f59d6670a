"""Limits and schedules without an event loop.

This file is made from `async_rules.py` by `make generated`. Change that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Unpack

from leaseq_http import rule_calls
from leaseq_http.limits import Limit, LimitBounds, LimitDetail
from leaseq_http.schedules import Schedule, ScheduleFields, StartedRun
from leaseq_http.sending import Sender


class Limits:
    """The limits of a service (`client.limits`). Changes need a key without a tenant."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list_limits(self, *, page_size: int = 50) -> Iterator[Limit]:
        """Read the limits by name, page by page while you iterate."""
        page = partial(rule_calls.list_limits, page_size=page_size)
        yield from self._sender.pages(page, lambda page: page.limits)

    def find(self, name: str) -> LimitDetail:
        """Read a limit, and those of its keys with the longest lines. Raises `NotFound`."""
        return self._sender.send(rule_calls.show_limit(name))

    def put(self, name: str, **bounds: Unpack[LimitBounds]) -> LimitDetail:
        """Make a limit, or change it while tasks run. A bound that is left out is none. Raises
        `RequestRefused`."""
        return self._sender.send(rule_calls.put_limit(name, bounds))

    def delete(self, name: str) -> None:
        """Delete a limit. Raises `NotFound`, and `Conflict` while an unfinished task has it."""
        self._sender.send(rule_calls.delete_limit(name))


class Schedules:
    """The schedules of the tenant that this client submits to (`client.schedules`)."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list_schedules(self, *, page_size: int = 50) -> Iterator[Schedule]:
        """Read schedules by tenant and name, page by page while you iterate."""
        page = partial(rule_calls.list_schedules, page_size=page_size)
        yield from self._sender.pages(page, lambda page: page.schedules)

    def find(self, name: str) -> Schedule:
        """Read a schedule, with its next five times and its last runs. Raises `NotFound`."""
        return self._sender.send(rule_calls.on_schedule("show_schedule", name))

    def put(self, name: str, type: str, **fields: Unpack[ScheduleFields]) -> Schedule:  # noqa: A002
        """Create a schedule of tasks of a type, or replace its definition: `put("daily", "report",
        cron="0 6 * * *", tz="Europe/Zurich")`. It stays paused if it is. Raises `RequestRefused`."""
        return self._sender.send(rule_calls.put_schedule(name, type, fields))

    def pause(self, name: str) -> Schedule:
        """Pause a schedule: its occurrences become no tasks. Raises `NotFound`."""
        return self._sender.send(rule_calls.on_schedule("pause_schedule", name))

    def resume(self, name: str) -> Schedule:
        """Resume a schedule from now on. Raises `NotFound`."""
        return self._sender.send(rule_calls.on_schedule("resume_schedule", name))

    def run(self, name: str, *, operation_id: str | None = None) -> StartedRun:
        """Submit a task of a schedule now, once for each `operation_id`, a new UUID. Without one it is
        made, so that lost answers are safe. Raises `NotFound` and `SubmissionInvalid`."""
        return self._sender.send(rule_calls.run_schedule(name, operation_id=operation_id))

    def delete(self, name: str) -> None:
        """Delete a schedule; its tasks stay. Raises `NotFound`."""
        self._sender.send(rule_calls.delete_schedule(name))


__all__ = ["Limits", "Schedules"]
