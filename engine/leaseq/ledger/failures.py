"""Failures in the ledger, grouped by type and fingerprint (docs/failures.md).

A settle hands each failed attempt over, in its own statement. `count` adds it to its group.
Messages are not copied: they are read with the attempts, which erase and prune remove.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.json import decode

from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.model import NAME, YEAR_SECONDS, Moment, Outcome, State

GroupState = Literal["new", "known", "acknowledged"]
GROUP_STATES: tuple[GroupState, ...] = get_args(GroupState)
# The group of further failures of a type that has so many groups that another one is not kept.
NAME_PATTERN = f"^{NAME.pattern}$"
MANY = "many"
MOST_GROUPS = 1_000
# Dead letters of one group that are counted for a list.
MOST_DEAD = 1_000
MOST_DEAD_OF_ONE = 100_000
# Recent attempts of a group that are read for its messages.
RECENT = 20
TEXT_LENGTH = 500


class NewGroup(Struct, frozen=True):
    """A group of failures that was not there before."""

    tenant: str
    type: str
    fingerprint: str
    code: str


class CountedFailures(Struct, frozen=True):
    """One step of the counting: how many attempts were added, when the last of them failed (None:
    there was none), and the first of the groups that are new."""

    count: int
    last: datetime | None
    fresh: list[NewGroup]


class FailureFilter(Struct, frozen=True, kw_only=True):
    """Which groups to list; `None` means any. `cursor` is that of the page before."""

    type: str | None = None
    fingerprint: str | None = None
    queue: str | None = None
    state: GroupState | None = None
    window_seconds: float = 7 * 86_400.0
    new_seconds: float | None = None  # first seen, or back in a new version, within this time
    cursor: str | None = None
    limit: int = 50


class SeenVersion(Struct, frozen=True):
    """A version of the application, and when a failure occurred in it first."""

    version: str
    first_seen: Moment


class FailureGroup(Struct, frozen=True, kw_only=True):
    """The failures of one type that have one fingerprint."""

    type: str
    fingerprint: str
    state: GroupState
    code: str
    exception: str  # its class; empty: there was none
    frame: str  # of the application, as `module:function`; empty: unknown
    in_hour: int
    in_day: int
    in_week: int
    hours: list[int]  # of the last 24 hours, this one last
    dead: int  # tasks that are FAILED with it now, counted up to a bound
    first_seen: Moment
    last_seen: Moment
    queues: list[str]
    versions: list[SeenVersion]  # the oldest first
    hosts: list[str]
    acknowledged_at: Moment | None
    acknowledged_by: str | None
    returned_at: Moment | None  # it was acknowledged, and came back in a new version then
    # of the newest attempt; no message: it was erased or pruned
    task_id: str
    attempt: int
    message: str | None


class FailureSummary(Struct, frozen=True, kw_only=True):
    """The part of a group that explains one of its tasks."""

    type: str
    fingerprint: str
    in_day: int  # attempts
    first_seen: Moment
    versions: list[str]  # the one in which it occurred first, first


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """A recent attempt of a group."""

    task_id: str
    attempt: int
    tenant: str
    queue: str
    state: State  # of the task, now
    outcome: Outcome
    worker_id: str
    host: str | None
    version: str | None
    finished_at: Moment
    next_state: State
    error: bytes | None


class FailurePage(Struct, frozen=True):
    """A page of groups, the one that occurred last first. With a `cursor` there may be more."""

    groups: list[FailureGroup]
    cursor: str | None


class _Position(Struct, frozen=True, array_like=True):
    at: Moment | None = None
    type: Annotated[str, Meta(pattern=NAME_PATTERN)] | None = None
    fingerprint: Annotated[str, Meta(pattern=NAME_PATTERN)] | None = None


def check_cursor(cursor: str) -> None:
    """Raise `ValueError` for a text that is not the cursor of a page."""
    decode(cursor, type=_Position)


class FailureLedger:
    """The groups of failures in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def count(self, *, since: datetime | None, limit: int) -> CountedFailures:
        """Add the next failed attempts, of those that were handed over since a moment (None: ever),
        to their groups."""
        params = {"since": since, "limit": limit, "most": MOST_GROUPS}
        found = await self._session.fetch("count_failures", params)
        fresh = [
            NewGroup(row.tenant, row.type, row.fingerprint, row.code) for row in found if row.type
        ]
        return CountedFailures(found[0].taken, found[0].last, fresh)

    async def list_groups(self, wanted: FailureFilter, *, tenant: str | None) -> FailurePage:
        """One page of the groups of a tenant. None: those of every tenant, of which the ones with
        the same fingerprint are one group."""
        return await self._list(wanted, tenant=tenant, dead_most=MOST_DEAD)

    async def find_group(
        self, type_name: str, fingerprint: str, *, tenant: str | None
    ) -> FailureGroup | None:
        """One group, whenever it has occurred. None: there is no such group."""
        wanted = FailureFilter(
            type=type_name, fingerprint=fingerprint, window_seconds=YEAR_SECONDS, limit=1
        )
        page = await self._list(wanted, tenant=tenant, dead_most=MOST_DEAD_OF_ONE)
        return page.groups[0] if page.groups else None

    async def summarize(
        self, type_name: str, fingerprint: str, *, tenant: str | None
    ) -> FailureSummary | None:
        """The part of a group that explains a task, without its dead letters and messages. None:
        there is no such group, or its failures are not counted yet."""
        params = {"type": type_name, "fingerprint": fingerprint, "tenant": tenant}
        found = await self._session.fetch("summarize_failure", params, idempotent=True)
        return _to_summary(found[0]) if found else None

    async def _list(
        self, wanted: FailureFilter, *, tenant: str | None, dead_most: int
    ) -> FailurePage:
        position = _Position() if wanted.cursor is None else decode(wanted.cursor, type=_Position)
        params = {
            "tenant": tenant,
            "type": wanted.type,
            "fingerprint": wanted.fingerprint,
            "queue": wanted.queue,
            "state": wanted.state,
            "window": wanted.window_seconds,
            "new": wanted.new_seconds,
            "cursor_at": position.at,
            "cursor_type": position.type,
            "cursor_fingerprint": position.fingerprint,
            "dead_most": dead_most,
            "limit": wanted.limit + 1,  # one more than is shown tells whether there is a next page
        }
        found = await self._session.fetch("list_failures", params, idempotent=True)
        groups = [_to_group(row) for row in found]
        if len(groups) <= wanted.limit:
            return FailurePage(groups, None)
        last = groups[wanted.limit - 1]
        following = msgspec.json.encode(_Position(last.last_seen, last.type, last.fingerprint))
        return FailurePage(groups[: wanted.limit], following.decode())

    async def list_attempts(
        self, type_name: str, fingerprint: str, *, tenant: str | None
    ) -> list[FailedAttempt]:
        """The newest attempts of a group that are still recorded, newest first."""
        params = {
            "type": type_name,
            "fingerprint": fingerprint,
            "tenant": tenant,
            "limit": RECENT,
        }
        found = await self._session.fetch("list_failed_attempts", params, idempotent=True)
        return [_to_attempt(row) for row in found]

    async def acknowledge(
        self, type_name: str, fingerprint: str, *, tenant: str | None, by: str
    ) -> bool:
        """Acknowledge a group, until it occurs in a new version. False: there is no such group."""
        params = {"type": type_name, "fingerprint": fingerprint, "tenant": tenant, "by": by}
        return bool(await self._session.fetch("acknowledge_failure", params, idempotent=True))

    async def unacknowledge(self, type_name: str, fingerprint: str, *, tenant: str | None) -> bool:
        """Take an acknowledgement back. False: there is no such group."""
        params = {"type": type_name, "fingerprint": fingerprint, "tenant": tenant}
        return bool(await self._session.fetch("unacknowledge_failure", params, idempotent=True))

    async def prune(
        self, *, fine_seconds: float, coarse_seconds: float, group_seconds: float, limit: int
    ) -> tuple[int, int]:
        """Delete counts of ten minutes, counts of hours, and groups that are older than that;
        returns how many counts and how many groups."""
        params = {
            "fine": fine_seconds,
            "coarse": coarse_seconds,
            "groups": group_seconds,
            "limit": limit,
        }
        ((counts, groups),) = await self._session.fetch("prune_failures", params)
        return counts, groups


_to_attempt = rows.reader(FailedAttempt)
_to_summary = rows.reader(FailureSummary)
# In JSON as msgspec writes it.
_TEXT = re.compile(r'"message":"((?:[^"\\]|\\.)*)')
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,4}|.)?")
_seconds = msgspec.json.Decoder(dict[str, float])


def _to_group(row: Any) -> FailureGroup:
    values = {
        name: getattr(row, name) for name in FailureGroup.__struct_fields__ if name != "message"
    }
    seen = _seconds.decode(values["versions"])
    values["versions"] = [
        SeenVersion(version, datetime.fromtimestamp(seconds, UTC))
        for version, seconds in sorted(seen.items(), key=lambda pair: pair[1])
    ]
    values["message"] = None if row.error is None else _text_in(row.error)
    return FailureGroup(**values)


def _text_in(error: str) -> str | None:
    """The beginning of the message in the beginning of an error, which is JSON."""
    found = _TEXT.search(error)
    if found is None:
        return None
    try:
        text: str = decode(f'"{found[1]}"')
    except ValueError:  # lone surrogates, or half of an escape
        text = _ESCAPE.sub("?", found[1])
    return text[:TEXT_LENGTH]


__all__ = [
    "GROUP_STATES",
    "MANY",
    "MOST_DEAD",
    "CountedFailures",
    "FailedAttempt",
    "FailureFilter",
    "FailureGroup",
    "FailureLedger",
    "FailurePage",
    "FailureSummary",
    "GroupState",
    "NewGroup",
    "SeenVersion",
    "check_cursor",
]
