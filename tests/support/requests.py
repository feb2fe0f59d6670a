"""Build the request of a submission from keywords, as a client would say it."""

from __future__ import annotations

from typing import Any

from leaseq.operations.submission import Request
from leaseq.options import SubmitOptions


def request_of(
    *, payload: bytes = b'{"n":1}', idempotency_key: str | None = None, **said: Any
) -> Request:
    name = said.pop("type", "add")
    return Request(
        type=name, payload=payload, options=SubmitOptions(**said), idempotency_key=idempotency_key
    )
