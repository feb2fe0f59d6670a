"""The examples of actions on one task, of its life, and of notices."""

from __future__ import annotations

from msgspec import Raw, Struct

from leaseq_api.action_schemas import ActionBody, ReplayBody
from leaseq_api.life_examples import LIFE_EXAMPLES

ACTION_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "ActionBody": {
        "seen": (
            "Only if the task is as it was seen",
            ActionBody(seen="PENDING/0", operation_id="01997b1d-2b6c-7a11-8c55-3f0e9d2b7a64"),
        )
    },
    "ReplayBody": {
        "edited": (
            "With another payload, in another queue",
            ReplayBody(payload=Raw(b'{"cents":5}'), queue="billing"),
        )
    },
}

ACTION_EXAMPLES |= LIFE_EXAMPLES

__all__ = ["ACTION_EXAMPLES"]
