"""Unique keys in the ledger, and the tasks that had them last.

A row of `leaseq.uniques` names the task that had a key last. `find` reads its state, and `submit`
takes the key from it only under the version that was read, so the judgement in between cannot be
overtaken (docs/decisions/0070-a-key-names-its-last-task.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from leaseq.failpoints import reach
from leaseq.ledger import rows
from leaseq.ledger.arrays import NOTHING, numbers, quoted, words
from leaseq.ledger.refused_submissions import REFUSALS, refusal_of
from leaseq.ledger.session import Connection
from leaseq.ledger.tasks import TaskLedger
from leaseq.lifecycle import lane_of
from leaseq.model import TERMINAL, Priority, State, Submission, Submitted
from leaseq.uniqueness import HoldName, UniqueRule

WAITING = (State.PENDING, State.SCHEDULED)


class KeyName(NamedTuple):
    """The name of a unique key in the ledger."""

    tenant: str
    type: str
    hold: HoldName
    key: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The task that had a key last."""

    task_id: str
    version: int
    state: State | None  # None: it does not exist any more, and no period is left of it
    created_at: datetime
    run_at: datetime
    queue: str
    priority: Priority
    headers: str | None
    in_period: bool
    is_due: bool
    is_held_back: bool  # its run can be put off
    on_standbys: bool  # as in KeyFound

    def is_in_the_way(self, rule: UniqueRule) -> bool:
        """Whether it keeps another task with its key from being made."""
        state = self.state
        if state is None:
            return False
        match rule.hold:
            case "throttle":
                return self.in_period
            case "debounce":
                return self.is_held_back
            case "while_waiting":
                return state in WAITING
            case "while_running":
                return state not in TERMINAL and (state is not State.SCHEDULED or self.is_due)
            case _:
                # work that was not done may be submitted again
                is_kept = self.in_period and state is State.SUCCESS
                return is_kept or state not in TERMINAL

    @property
    def submitted(self) -> Submitted:
        """The answer to a submission that this task is in the way of."""
        assert self.state is not None
        lane = lane_of(self.priority, crash_count=0, loss_count=0)
        return Submitted(
            self.task_id,
            self.state,
            True,
            self.created_at,
            self.run_at,
            self.queue,
            lane,
            self.headers,
            deduplicated=True,
        )


def name_of(submission: Submission) -> KeyName:
    """The name of the key of a submission that has one."""
    assert submission.unique is not None
    unique = submission.unique
    return KeyName(submission.tenant, submission.type, unique.rule.hold, unique.key)


def _to_holder(row: Any) -> Holder:
    return Holder(
        task_id=row.task_id,
        version=row.version,
        state=None if row.state is None else rows.STATES[row.state],
        created_at=row.created_at,
        run_at=row.run_at,
        queue=row.queue,
        priority=rows.PRIORITIES[row.priority],
        headers=row.headers,
        in_period=row.in_period,
        is_due=row.is_due,
        is_held_back=row.is_held_back,
        on_standbys=row.on_standbys,
    )


class UniqueLedger:
    """The unique keys in Postgres."""

    def __init__(self, tasks: TaskLedger) -> None:
        self._tasks = tasks
        self._session = tasks.session

    async def find(
        self, names: Sequence[KeyName], *, conn: Connection | None = None
    ) -> dict[KeyName, Holder]:
        """Read the tasks that had these keys last."""
        tenants, types, holds, keys = (list(column) for column in zip(*names, strict=True))
        params = {"tenants": tenants, "types": types, "holds": holds, "keys": keys}
        found = await self._session.fetch("find_uniques", params, conn=conn, idempotent=True)
        return {KeyName(row.tenant, row.type, row.hold, row.key): _to_holder(row) for row in found}

    async def submit(
        self,
        batch: Sequence[Submission],
        holders: Mapping[KeyName, Holder],
        *,
        retention_seconds: float,
        conn: Connection | None,
        patience_seconds: float,
    ) -> dict[str, Submitted | None]:
        """Record submissions that take their keys from these holders. By task id: the new task, or
        None where another has the key now, or the idempotency key or the id exists.

        Raises what `TaskLedger.submit` raises. Then nothing was recorded.
        """
        counted = {s.tenant for s in batch} & self._tasks.counted if conn is None else None
        bound = rows.bound_arrays(batch)
        params = rows.submission_arrays(batch) | _unique_arrays(batch, holders)
        params |= bound or (rows.label_arrays(batch) or rows.NO_LABELS) | rows.NO_LIMITS
        params |= {
            "retention": retention_seconds,
            "after_commit": conn is not None,
            "patience": None if conn is not None else _milliseconds(patience_seconds),
            "counted": quoted(sorted(counted)) if counted else NOTHING,
        }
        try:
            if bound is not None:
                await self._tasks.older.refuse()
            found = await self._session.fetch("submit_unique", params, conn=conn, idempotent=True)
        except REFUSALS as error:
            refusal = refusal_of(error, batch)
            if refusal is None:
                raise
            raise refusal from error
        reach("unique.sent")
        created = {row[0]: (rows.STATES[row[1]], row[2], row[3]) for row in found}
        return {
            s.task_id: rows.fresh(s, *created[s.task_id]) if s.task_id in created else None
            for s in batch
        }

    async def debounce(
        self, submission: Submission, *, conn: Connection | None, patience_seconds: float
    ) -> Submitted | None:
        """Put off the task that has this key, and give it this payload. None: it cannot be put
        off; look again. Raises as `submit`."""
        assert submission.unique is not None
        unique, headers = submission.unique, submission.headers
        params = {
            "tenant": submission.tenant,
            "type": submission.type,
            "key": unique.key,
            "payload": submission.payload.decode(),
            "headers": None if headers is None else headers.decode(),
            "delay": unique.rule.delay_seconds,
            "longest": unique.rule.max_wait_seconds,
            "patience": None if conn is not None else _milliseconds(patience_seconds),
        }
        try:
            found = await self._session.fetch("debounce_task", params, conn=conn, idempotent=True)
        except REFUSALS as error:
            refusal = refusal_of(error, [submission])
            if refusal is None:
                raise
            raise refusal from error
        if not found:
            return None
        (row,) = found
        lane = lane_of(rows.PRIORITIES[row.priority], crash_count=0, loss_count=0)
        return Submitted(
            row.task_id,
            State.SCHEDULED,
            True,
            row.created_at,
            row.run_at,
            row.queue,
            lane,
            deduplicated=True,
        )

    async def adopt(
        self,
        answered: Sequence[tuple[Submission, str]],
        *,
        retention_seconds: float,
        conn: Connection | None,
    ) -> set[str]:
        """Let the idempotency keys of these submissions stand for the tasks that they were answered
        with. Returns the keys that do so now."""
        params = {
            "tenants": [s.tenant for s, _ in answered],
            "keys": [s.idempotency_key for s, _ in answered],
            "fingerprints": [s.fingerprint for s, _ in answered],
            "tasks": [task_id for _, task_id in answered],
            "retention": retention_seconds,
        }
        found = await self._session.fetch("adopt_keys", params, conn=conn)
        return {row[0] for row in found}


def _unique_arrays(
    batch: Sequence[Submission], holders: Mapping[KeyName, Holder]
) -> dict[str, Any]:
    """The arrays of submit_unique.sql that those of the other statements do not have."""
    told = [(s, s.unique, holders.get(name_of(s))) for s in batch if s.unique is not None]
    return {
        "unique_tasks": words([s.task_id for s, _, _ in told]),
        "unique_tenants": quoted([s.tenant for s, _, _ in told]),
        "unique_types": quoted([s.type for s, _, _ in told]),
        "unique_keys": quoted([unique.key for _, unique, _ in told]),
        "unique_holds": words([unique.rule.hold for _, unique, _ in told]),
        "holders": quoted([None if holder is None else holder.task_id for _, _, holder in told]),
        "versions": numbers([None if holder is None else holder.version for _, _, holder in told]),
        "periods": numbers([unique.rule.period_seconds for _, unique, _ in told]),
        "replaces": words(
            [
                "t" if holder is not None and holder.is_in_the_way(unique.rule) else "f"
                for _, unique, holder in told
            ]
        ),
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


__all__ = ["WAITING", "Holder", "KeyName", "UniqueLedger", "name_of"]
