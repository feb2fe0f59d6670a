"""Turn limits of the ledger into the JSON of HTTP and `--json`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leaseq.ledger.limits import Limit, LimitKey
from leaseq.ledger.queue_limits import QueueLimit
from leaseq.limits import QueueRule
from leaseq_api.limits.schemas import LimitKeyView, LimitView, QueueLineView


def limit_view(limit: Limit) -> LimitView:
    """A limit as the answer shows it."""
    fields = msgspec.structs.asdict(limit)
    return LimitView(order="strict" if fields.pop("strict") else None, **fields)


def key_view(key: LimitKey) -> LimitKeyView:
    """A key of a limit as the answer shows it."""
    return LimitKeyView(**msgspec.structs.asdict(key))


def line_view(
    rule: QueueRule | QueueLimit, limit: Limit | None, keys: Sequence[LimitKey]
) -> QueueLineView:
    """The line of a queue as the answer shows it; without a limit the queue is plain."""
    return QueueLineView(
        name=rule.queue,
        limit=None if rule.fair else rule.limit,
        fair=rule.fair,
        permits=None if limit is None else limit.concurrency,
        admitted=0 if limit is None else limit.admitted,
        waiting=0 if limit is None else limit.waiting,
        oldest_at=None if limit is None else limit.oldest_at,
        lines=[key_view(each) for each in keys],
    )


__all__ = ["key_view", "limit_view", "line_view"]
