"""The life of a task and the notices of the cluster, as HTTP shows them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.operations.life.history import LifeLine
from leaseq.operations.life.lanes import LifeBar, LifeLane, LifeMark
from leaseq.options import NAME_KEYWORDS, described
from leaseq_api.schemas import Count, Id, Json, Moment, Name


class LifeView(Struct, frozen=True, kw_only=True):
    """The life of one task. `lanes` are those of a picture, from top to bottom; `history` has the same
    times as lines. `earlier`: attempts without a lane, because there are very many."""

    task_id: Id
    began: Moment
    ended: Moment
    now: Moment
    earlier: Count
    lanes: list[LifeLane]
    history: list[LifeLine]
    replay_of: Annotated[Id | None, Meta(description="The task of which this one is a replay")]
    replayed_as: Annotated[list[Id], Meta(description="The tasks that were made from this one")]


class NoticeView(Struct, frozen=True, kw_only=True):
    """Something that happened to the cluster: an event of one process. `count`: so many more of the
    same name came from that process at the same time, and are left out. `meaning`: what such an event
    means, and what to do."""

    notice_id: Annotated[int, Meta(ge=0)]
    at: Moment
    name: str
    meaning: str
    level: Literal["info", "warning", "error"]
    role: Literal["api", "reaper", "supervisor", "worker"]
    host: str
    pid: int
    queue: str | None
    task_id: Id | None
    worker_id: str | None
    fields: Annotated[Json, Meta(description="The fields of the event, shortened")]
    count: Count


class NoticePage(Struct, frozen=True, kw_only=True):
    """Some notices, newest first. Only the last page has a null `next_cursor`. A filtered page may
    have few or none, and still a cursor from which to continue."""

    notices: list[NoticeView]
    next_cursor: Annotated[str, described(pattern="^[0-9]+$")] | None


class NoticeQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/notices`. A filter that is not given does not filter."""

    name: (
        Annotated[str, described("Only events of this name", pattern="^[a-z.]{1,100}$")] | UnsetType
    ) = UNSET
    queue: Annotated[Name, described("Only of this queue", **NAME_KEYWORDS)] | UnsetType = UNSET
    worker_id: (
        Annotated[str, described("Only of this worker", pattern="^[!-~]{1,255}$")] | UnsetType
    ) = UNSET
    since: Annotated[Moment, described("Only since this time")] | UnsetType = UNSET
    until: Annotated[Moment, described("Only before this time")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of items")] = 50
    cursor: (
        Annotated[str, described("`next_cursor` of the previous page", pattern="^[0-9]{1,18}$")]
        | UnsetType
    ) = UNSET


__all__ = [
    "LifeBar",
    "LifeLane",
    "LifeLine",
    "LifeMark",
    "LifeView",
    "NoticePage",
    "NoticeView",
]
