"""Values from which the examples of the OpenAPI document are made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec.structs
from msgspec import Struct

Examples = dict[str, dict[str, tuple[str, Struct]]]
T = TypeVar("T", bound=Struct)

TASK_ID = "01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d"
WORKER_ID = "billing-7f9c-31-a1b2c3"
CREATED_AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
STARTED_AT = datetime(2026, 11, 30, 12, 0, 0, 4000, tzinfo=UTC)
FINISHED_AT = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)


def example_of(kind: type[T], /, **values: Any) -> T:
    """A value of a struct. A field that is not given is null, or has its default."""
    required = dict.fromkeys(field.name for field in msgspec.structs.fields(kind) if field.required)
    return kind(**(required | values))


__all__ = [
    "CREATED_AT",
    "FINISHED_AT",
    "STARTED_AT",
    "TASK_ID",
    "WORKER_ID",
    "Examples",
    "example_of",
]
