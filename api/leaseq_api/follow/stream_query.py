"""The query of the streams of events."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request
from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.model import NAME
from leaseq.options import NAME_KEYWORDS, described
from leaseq_api.refused import Refused

DAY = 86_400.0
Seconds = (
    Annotated[
        float,
        Meta(
            ge=0, le=DAY, description="End the stream after so many seconds; by default it goes on"
        ),
    ]
    | UnsetType
)


class StreamQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/tasks/{id}/events`."""

    seconds: Seconds = UNSET


class FeedQuery(StreamQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/events`. A filter that is not given does not filter."""

    queue: Annotated[str, described("Only tasks of this queue", **NAME_KEYWORDS)] | UnsetType = (
        UNSET
    )
    type: Annotated[str, described("Only tasks of this type", **NAME_KEYWORDS)] | UnsetType = UNSET


def read_stream_query(request: Request[Any, Any, Any]) -> FeedQuery:
    """The query of a stream. The route names the parameters that it takes."""
    try:
        query = msgspec.convert(dict(request.query_params.multi_items()), FeedQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("parameter_invalid", str(error).replace("$.", "")) from None
    for name, value in (("queue", query.queue), ("type", query.type)):
        if value is not UNSET and not NAME.fullmatch(value):
            raise Refused(
                "parameter_invalid", f"{name} must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
    return query


__all__ = ["FeedQuery", "StreamQuery", "read_stream_query"]
