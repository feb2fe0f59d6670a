"""Turn limits of the ledger into the JSON of HTTP and `--json`."""

from __future__ import annotations

import msgspec

from leaseq.ledger.limits import Limit, LimitKey
from leaseq_api.limits.schemas import LimitKeyView, LimitView


def limit_view(limit: Limit) -> LimitView:
    """A limit as the answer shows it."""
    return LimitView(**msgspec.structs.asdict(limit))


def key_view(key: LimitKey) -> LimitKeyView:
    """A key of a limit as the answer shows it."""
    return LimitKeyView(**msgspec.structs.asdict(key))


__all__ = ["key_view", "limit_view"]
