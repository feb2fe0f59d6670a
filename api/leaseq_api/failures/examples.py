"""Examples of failures in the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct

from leaseq.ledger.failures import SeenVersion
from leaseq.model import Outcome, State, TaskError
from leaseq_api.failures.schemas import (
    ErrorVariant,
    FailedAttemptView,
    FailureDetail,
    FailurePage,
    FailureView,
)

_SEEN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_TASK_ID = "0199c6d2-7f3a-7cc4-b2a8-9d1f6a0c4e11"
_ERROR = TaskError(
    "error",
    "the bank did not answer within 3 s",
    "ConnectTimeout",
    "in charge, line 12\n",
    fingerprint="4f1c09ab77d2",
    frame="shop.bank:Client.post",
)
_FAILURE = FailureView(
    type="charge",
    fingerprint=_ERROR.fingerprint,
    state="new",
    code=_ERROR.code,
    exception=_ERROR.type,
    frame=_ERROR.frame,
    message=_ERROR.message,
    in_hour=212,
    in_day=212,
    in_week=212,
    hours=[0] * 23 + [212],
    dead=37,
    first_seen=_SEEN,
    last_seen=_SEEN + timedelta(minutes=14),
    queues=["billing"],
    versions=[SeenVersion("1.4.2", _SEEN)],
    hosts=["billing-7f9c"],
    acknowledged_at=None,
    acknowledged_by=None,
    returned_at=None,
    task_id=_TASK_ID,
    attempt=5,
)

FAILURE_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "FailureView": {"failure": ("A cause of failures", _FAILURE)},
    "FailurePage": {"page": ("The last page", FailurePage(failures=[_FAILURE], next_cursor=None))},
    "FailureDetail": {
        "failure": (
            "A cause of failures, with one recent attempt",
            FailureDetail(
                failure=_FAILURE,
                recent=[
                    FailedAttemptView(
                        task_id=_TASK_ID,
                        attempt=5,
                        tenant="default",
                        queue="billing",
                        state=State.FAILED,
                        outcome=Outcome.ERRORED,
                        worker_id="billing-7f9c-31-a1b2c3",
                        host="billing-7f9c",
                        version="1.4.2",
                        finished_at=_FAILURE.last_seen,
                    )
                ],
                messages=[
                    ErrorVariant(
                        count=1,
                        task_id=_TASK_ID,
                        attempt=5,
                        error=Raw(msgspec.json.encode(_ERROR)),
                    )
                ],
            ),
        )
    },
}
FAILURE_PARAMETERS: dict[str, Any] = {"type_name": "charge", "fingerprint": _ERROR.fingerprint}

__all__ = ["FAILURE_EXAMPLES", "FAILURE_PARAMETERS"]
