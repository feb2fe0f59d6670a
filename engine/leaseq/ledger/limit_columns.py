"""The columns of a limit and of its guard, and a declaration as text."""

from __future__ import annotations

from typing import Any

import msgspec

from leaseq.limits import LimitBounds


def limit_row(bounds: LimitBounds) -> dict[str, Any]:
    """The columns of a limit, and those of its guard."""
    whole, each = bounds.buckets()
    row = msgspec.structs.asdict(bounds)
    row["weights"] = (
        None if bounds.weights is None else msgspec.json.encode(bounds.weights).decode()
    )
    row |= {"rate_every": None, "rate_most": None, "key_every": None, "key_most": None}
    if whole is not None:
        row |= {"rate_every": whole.every, "rate_most": whole.most}
    if each is not None:
        row |= {"key_every": each.every, "key_most": each.most}
    return row


def declared_text(bounds: LimitBounds) -> str:
    """The declaration as text: as versions without rates wrote it, where it has none."""
    late = ("rate", "burst", "key_rate", "key_burst", "strict", "weights")
    fields = msgspec.structs.asdict(bounds)
    kept = {name: value for name, value in fields.items() if value or name not in late}
    return msgspec.json.encode(kept).decode()


__all__ = ["declared_text", "limit_row"]
