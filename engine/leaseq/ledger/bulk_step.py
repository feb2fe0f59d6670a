"""The step of an operation on many tasks, as the statements of tasks need it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from leaseq.ledger.session import Connection


class BulkStep(msgspec.Struct, frozen=True):
    """The step of an operation on many tasks: the transaction of its statements, and a time. Tasks
    that were submitted later (cancel) or have ended later (redrive) stay as they are, and those that
    run, unless `running`."""

    conn: Connection
    as_of: datetime
    running: bool


__all__ = ["BulkStep"]
