"""Turn groups of failures into the JSON of HTTP and `--json`."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from leaseq.ledger import failures
from leaseq.ledger.failures import FailedAttempt, FailureGroup
from leaseq.safe_text.fingerprint import constant_part
from leaseq_api.failures.schemas import (
    ErrorVariant,
    FailedAttemptView,
    FailureDetail,
    FailurePage,
    FailureView,
)

MOST_VARIANTS = 5


def failure_view(group: FailureGroup, *, contents: bool = True) -> FailureView:
    """A group; without `contents`, without words of the handler."""
    values = {name: getattr(group, name) for name in FailureView.__struct_fields__}
    return FailureView(**values if contents else values | {"message": UNSET})


def failure_page(page: failures.FailurePage, *, contents: bool = True) -> FailurePage:
    """A page of groups."""
    cursor = None
    if page.cursor is not None:
        cursor = urlsafe_b64encode(page.cursor.encode()).rstrip(b"=").decode()
    views = [failure_view(group, contents=contents) for group in page.groups]
    return FailurePage(failures=views, next_cursor=cursor)


def read_cursor(text: str) -> str:
    """The cursor of the ledger. Raises `ValueError`."""
    cursor = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    failures.check_cursor(cursor)
    return cursor


def failure_detail(
    group: FailureGroup, recent: Sequence[FailedAttempt], *, contents: bool = True
) -> FailureDetail:
    """A group with its recent attempts."""
    return FailureDetail(
        failure=failure_view(group, contents=contents),
        recent=[_attempt_view(attempt) for attempt in recent],
        messages=_variants(recent) if contents else UNSET,
    )


def _attempt_view(attempt: FailedAttempt) -> FailedAttemptView:
    values = {name: getattr(attempt, name) for name in FailedAttemptView.__struct_fields__}
    return FailedAttemptView(**values)


def _variants(recent: Sequence[FailedAttempt]) -> list[ErrorVariant]:
    """The kinds of messages among recent attempts, the most frequent first."""
    kinds: dict[str, list[FailedAttempt]] = {}
    for attempt in recent:
        if attempt.error is not None:
            error: dict[str, Any] = msgspec.json.decode(attempt.error)
            kinds.setdefault(constant_part(str(error.get("message", ""))), []).append(attempt)
    frequent = sorted(kinds.values(), key=len, reverse=True)[:MOST_VARIANTS]
    return [
        ErrorVariant(
            count=len(same),
            task_id=same[0].task_id,
            attempt=same[0].attempt,
            error=Raw(same[0].error or b"null"),
        )
        for same in frequent
    ]


__all__ = ["failure_detail", "failure_page", "failure_view", "read_cursor"]
