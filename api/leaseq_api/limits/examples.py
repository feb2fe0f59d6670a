"""Examples of limits in the OpenAPI document."""

from __future__ import annotations

from leaseq_api.example_values import CREATED_AT, STARTED_AT, Examples
from leaseq_api.limits.schemas import (
    DeletedLimit,
    LimitBody,
    LimitDetail,
    LimitKeyView,
    LimitList,
    LimitView,
    QueueBody,
    QueueLineView,
)

_LIMIT = LimitView(
    name="stripe",
    concurrency=50,
    key_concurrency=3,
    rate="100/1s",
    burst=20,
    key_rate=None,
    key_burst=None,
    order=None,
    weights={},
    updated_at=CREATED_AT,
    admitted=50,
    waiting=812,
    oldest_at=STARTED_AT,
)
LIMIT_EXAMPLES: Examples = {
    "LimitBody": {
        "limit": ("At most 50, and 3 of one key", LimitBody(concurrency=50, key_concurrency=3)),
        "rate": ("At most 120 starts in any second", LimitBody(rate="100/1s", burst=20)),
        "order": ("One of a key after the other", LimitBody(key_concurrency=1, order="strict")),
    },
    "LimitDetail": {
        "limit": (
            "A limit that is full",
            LimitDetail(
                limit=_LIMIT,
                keys=[LimitKeyView(tenant="default", key="acme", admitted=3, waiting=700)],
            ),
        )
    },
    "LimitList": {"page": ("The last page", LimitList(limits=[_LIMIT], next_cursor=None))},
    "QueueBody": {
        "fair": ("Tenants have turns", QueueBody(fair=True)),
        "limit": ("Its tasks take a limit", QueueBody(limit="warehouse")),
    },
    "QueueLineView": {
        "fair": (
            "A fair queue with a busy tenant",
            QueueLineView(
                name="shared",
                limit=None,
                fair=True,
                permits=104,
                admitted=104,
                waiting=10_000,
                oldest_at=STARTED_AT,
                lines=[LimitKeyView(tenant="acme", key="", admitted=52, waiting=9_990)],
            ),
        )
    },
    "DeletedLimit": {"deleted": ("The limit is deleted", DeletedLimit(name="stripe"))},
}

__all__ = ["LIMIT_EXAMPLES"]
