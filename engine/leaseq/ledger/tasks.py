"""Tasks in the ledger, with one method for each verb.

Every method that writes is one compare-and-set statement over a batch. It returns the tasks whose
write counted; for a task that is missing from the answer it did not. Ids are sent in order, so that
two batches over the same rows wait for each other; where Postgres visits them in another order
after all (a small table) and finds a deadlock, its victim tries again (session.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger import rows
from leaseq.ledger.arrays import NOTHING, quoted, words
from leaseq.ledger.bulk_step import BulkStep
from leaseq.ledger.older_processes import OlderProcesses
from leaseq.ledger.refused_submissions import REFUSALS, refusal_of
from leaseq.ledger.session import Connection, Session
from leaseq.metrics.tally import TALLY
from leaseq.model import (
    Claim,
    ClaimedTask,
    Counts,
    Settled,
    Settlement,
    State,
    Submission,
    Submitted,
    Task,
    TaskSnapshot,
)

# How long a submission waits for an open transaction elsewhere that holds its key.
PATIENCE_SECONDS = 0.25
BATCH_SIZE = "leaseq_batch_size"

# The state and the attempt that a task must have. None: any.
StateSeen = tuple[State, int] | None


class KeyFound(msgspec.Struct, frozen=True):
    """The task that an idempotency key already stands for."""

    fingerprint: bytes
    submitted: Submitted
    # this server waits for standbys, and they may not have the rows that were read here
    on_standbys: bool


class TaskLedger:
    """The tasks in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Tenants of which each task that is recorded here is listed in `leaseq.unfinished_tasks`.
        self.counted: frozenset[str] = frozenset()
        self.older = OlderProcesses(session)
        # Called with the limits whose tasks have ended or wait.
        self.on_freed: Callable[[Iterable[str]], None] = lambda limits: None

    @property
    def session(self) -> Session:
        """The connections of this process."""
        return self._session

    async def submit(
        self,
        batch: Sequence[Submission],
        *,
        retention_seconds: float,
        conn: Connection | None = None,
        idempotent: bool = True,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> dict[str, Submitted | None]:
        """Record submissions. By task id: the new task, or None where the key (or the id) exists
        already.

        Tasks of one kind without a key, which most batches are, have a shorter statement. Within a
        batch no key may appear twice. With `conn` the rows belong to the caller's transaction; they
        wait as SCHEDULED and due, so that `promote` delivers them after the commit and never
        before. Nothing was recorded where this raises `IdempotencyInFlight` (an open transaction
        elsewhere holds one of the keys), `Locked` (another transaction holds a row or a table that
        they need), `SubmissionInvalid` (Postgres refuses a value), `LimitUnknown` or
        `FeatureNeedsUpgrade`.
        """
        TALLY.observe(BATCH_SIZE, len(batch), "submit")
        try:
            submitted = await self._record(
                batch,
                {
                    "retention": retention_seconds,
                    "after_commit": conn is not None,
                    "patience": None if conn is not None else f"{patience_seconds * 1000:.0f}",
                },
                conn=conn,
                idempotent=idempotent,
            )
        except REFUSALS as error:
            refusal = refusal_of(error, batch)
            if refusal is None:
                raise
            raise refusal from error
        reach("submit.sent")
        return submitted

    async def _record(
        self,
        batch: Sequence[Submission],
        options: dict[str, Any],
        *,
        conn: Connection | None,
        idempotent: bool,
    ) -> dict[str, Submitted | None]:
        """Record submissions by the shorter statement if it can, else by the whole one with these
        options."""
        counted = self._counted(batch) if self.counted and conn is None else None
        plain = rows.plain_submissions(batch) if conn is None and counted is None else None
        if plain is not None:
            time = await self._submit_plain(plain, idempotent=idempotent)
            if time is not None:
                return {s.task_id: rows.fresh(s, State.PENDING, time, time) for s in batch}
        params = rows.submission_arrays(batch) | options
        labels, bound = rows.label_arrays(batch), rows.bound_arrays(batch)
        if bound is not None:
            await self.older.refuse()
            params |= bound | {"counted": counted or NOTHING}
            found = await self._session.fetch(
                "submit_bound", params, conn=conn, idempotent=idempotent
            )
        elif labels is not None:
            params |= labels | {"counted": counted or NOTHING}
            found = await self._session.fetch(
                "submit_labelled", params, conn=conn, idempotent=idempotent
            )
        elif counted is not None:
            params["counted"] = counted
            found = await self._session.fetch("submit_counted", params, idempotent=idempotent)
        else:
            found = await self._session.fetch(
                "submit_tasks", params, conn=conn, idempotent=idempotent
            )
        created = {row[0]: (rows.STATES[row[1]], row[2], row[3]) for row in found}
        return {
            s.task_id: rows.fresh(s, *created[s.task_id]) if s.task_id in created else None
            for s in batch
        }

    def _counted(self, batch: Sequence[Submission]) -> str | None:
        """The tenants of a batch whose tasks are listed, as an array. None: there is none."""
        found = {s.tenant for s in batch} & self.counted
        return quoted(sorted(found)) if found else None

    async def _submit_plain(self, params: dict[str, Any], *, idempotent: bool) -> datetime | None:
        """Record tasks of one kind, all or none; when they were created. None: their queue is not
        known yet, or an id exists already."""
        try:
            found = await self._session.fetch("submit_plain", params, idempotent=idempotent)
        except psycopg.errors.UniqueViolation:
            return None
        return found[0][0] if found else None

    async def find_keys(
        self, keys: Sequence[tuple[str, str]], *, conn: Connection | None = None
    ) -> dict[tuple[str, str], KeyFound]:
        """Read the tasks that unexpired keys (tenant, key) stand for."""
        params = {"tenants": [tenant for tenant, _ in keys], "keys": [key for _, key in keys]}
        found = await self._session.fetch("find_keys", params, conn=conn, idempotent=True)
        return {
            (row.tenant, row.key): KeyFound(
                bytes(row.fingerprint), rows.replay(row), row.on_standbys
            )
            for row in found
        }

    async def wait_for_standby(self, *, conn: Connection | None = None) -> None:
        """Return when every standby that commits wait for has the rows that were read before this
        call.

        Called between a read and an answer that rests on it. One round trip, and a commit only
        where standbys are waited for. Raises `ServerUnreachable` while they are away.
        """
        await self._session.fetch("wait_for_standby", conn=conn, idempotent=True)

    async def expire_keys(
        self, keys: Sequence[tuple[str, str]], *, conn: Connection | None = None
    ) -> None:
        """Free these keys (tenant, key) where their retention is over."""
        params = {"tenants": [tenant for tenant, _ in keys], "keys": [key for _, key in keys]}
        await self._session.fetch("expire_keys", params, conn=conn, idempotent=True)

    async def claim(self, task_ids: Sequence[str], *, worker_id: str) -> list[ClaimedTask]:
        """Claim the PENDING ones of these tasks, each under a new attempt. A closed worker gets
        nothing."""
        TALLY.observe(BATCH_SIZE, len(task_ids), "claim")
        params = {"ids": words(sorted(task_ids)), "worker_id": worker_id}
        found = await self._session.fetch("claim_tasks", params)
        reach("claim.sent")
        return [rows.to_claimed(row, worker_id) for row in found]

    async def find_claimed(self, task_ids: Sequence[str], *, worker_id: str) -> list[ClaimedTask]:
        """Read the tasks among these that this worker holds, after a claim whose answer was lost."""
        params = {"ids": words(task_ids), "worker_id": worker_id}
        found = await self._session.fetch("find_claimed", params, idempotent=True)
        return [rows.to_claimed(row, worker_id) for row in found]

    async def settle(self, batch: Sequence[Settlement]) -> dict[str, Settled]:
        """End attempts under their fences. By task id: those that counted; the others were fenced.

        The successes of one worker, which most endings are, have a statement of their own, which is
        sent first. So where this raises, some of the endings may have counted.
        """
        TALLY.observe(BATCH_SIZE, len(batch), "settle")
        successes, others, bound = rows.divide(sorted(batch, key=lambda s: s.claim.task_id))
        settled: dict[str, Settled] = {}
        if successes:
            params = rows.success_arrays(successes)
            found = await self._session.fetch("succeed_attempts", params)
            attempts = {s.claim.task_id: s.claim.attempt for s in successes}
            for (task_id,) in found:
                settled[task_id] = Settled(task_id, attempts[task_id], State.SUCCESS)
        if others:
            if all(map(rows.is_harmless, others)):
                found = await self._session.fetch("settle_attempts", rows.settlement_arrays(others))
            elif any(each.disposition.state is State.FAILED for each in others):
                found = await self._session.fetch("settle_failed", rows.failure_arrays(others))
            else:
                found = await self._session.fetch("settle_errored", rows.failure_arrays(others))
            settled |= {row[0]: rows.to_settled(row) for row in found}
        if bound:
            found = await self._session.fetch("settle_bound", rows.failure_arrays(bound))
            settled |= {row[0]: rows.to_settled(row) for row in found}
            self.on_freed({row[8] for row in found})
        return settled

    async def succeed(
        self, claim: Claim, result: bytes | None, *, conn: FastCancelConnection
    ) -> Settled | None:
        """End an attempt in SUCCESS inside the transaction of its handler, under its fence. None:
        it was fenced.

        Raises `ServerUnreachable` where Postgres does not know the secret: a failover has lost it,
        and nothing was done.
        """
        assert conn.credential is not None, "a connection for handlers"
        params = {
            "worker_id": claim.worker_id,
            "secret": conn.credential.secret,
            "task_id": claim.task_id,
            "attempt": claim.attempt,
            "result": None if result is None else result.decode(),
        }
        try:
            if claim.traits:
                found = await self._session.fetch("handler_succeed_bound", params, conn=conn)
            else:
                found = await self._session.fetch("handler_succeed", params, conn=conn)
        except psycopg.errors.InsufficientPrivilege as error:
            raise ServerUnreachable(
                f"Postgres refuses the settle of this worker: {error.diag.message_primary}"
            ) from error
        if not found:
            return None
        limit = found[0][1] if claim.traits else None
        return Settled(claim.task_id, claim.attempt, State.SUCCESS, limit=limit)

    async def cancel(
        self,
        task_ids: Sequence[str],
        *,
        tenant: str | None,
        seen: StateSeen = None,
        step: BulkStep | None = None,
    ) -> dict[str, State]:
        """Stop tasks, immediately or by request; with `seen`, only in that state at that attempt. By
        task id: CANCELLED, or PROCESSING where it was asked for."""
        state, attempt = seen or (None, None)
        params = {
            "ids": words(sorted(task_ids)),
            "tenant": tenant,
            "seen_state": state,
            "seen_attempt": attempt,
            "running": step is None or step.running,
            "submitted_by": None if step is None else step.as_of,
        }
        conn = None if step is None else step.conn
        found = await self._session.fetch("cancel_tasks", params, conn=conn, idempotent=True)
        return {row[0]: State(row[1]) for row in found}

    async def redrive(
        self,
        task_ids: Sequence[str],
        *,
        tenant: str | None,
        seen: StateSeen = None,
        step: BulkStep | None = None,
    ) -> list[TaskSnapshot]:
        """Put FAILED and CANCELLED tasks back to SCHEDULED, due immediately; with `seen`, only in
        that state at that attempt."""
        state, attempt = seen or (None, None)
        params = {
            "ids": words(sorted(task_ids)),
            "tenant": tenant,
            "seen_state": state,
            "seen_attempt": attempt,
            "ended_by": None if step is None else step.as_of,
        }
        conn = None if step is None else step.conn
        found = await self._session.fetch("redrive_tasks", params, conn=conn)
        return [rows.to_snapshot(row) for row in found]

    async def erase(self, task_ids: Sequence[str], *, tenant: str | None) -> list[str]:
        """Remove the content of tasks that have ended, of this tenant or of any. Returns the ids of
        those that were erased now."""
        params = {"ids": words(sorted(task_ids)), "tenant": tenant}
        found = await self._session.fetch("erase_tasks", params, idempotent=True)
        return [row[0] for row in found]

    async def free_keys(self, task_ids: Sequence[str], *, tenant: str | None) -> list[str]:
        """Delete the keys of these tasks where they ended without success. Returns the ids of those
        whose key was freed now."""
        params = {"ids": words(sorted(task_ids)), "tenant": tenant}
        found = await self._session.fetch("free_keys", params, idempotent=True)
        return [row[0] for row in found]

    async def find(self, task_ids: Sequence[str], *, tenant: str | None) -> dict[str, Task]:
        """Whole tasks, by id."""
        params = {"ids": words(task_ids), "tenant": tenant}
        found = await self._session.fetch("find_tasks", params, idempotent=True)
        return {row.task_id: rows.to_task(row) for row in found}

    async def find_states(self, task_ids: Sequence[str]) -> dict[str, State]:
        """Read the states of tasks, by id. Pruned tasks are missing."""
        found = await self._session.fetch("find_states", {"ids": words(task_ids)}, idempotent=True)
        return {row[0]: State(row[1]) for row in found}

    async def find_snapshots(self, task_ids: Sequence[str]) -> dict[str, TaskSnapshot]:
        """Read the few fields of tasks by which their deliveries are judged."""
        found = await self._session.fetch(
            "find_snapshots", {"ids": words(task_ids)}, idempotent=True
        )
        return {row.task_id: rows.to_snapshot(row) for row in found}

    async def find_held(
        self, task_ids: Sequence[str], *, worker_id: str
    ) -> list[tuple[Claim, Counts]]:
        """Read which of these a worker holds, with the counts that settling them as lost needs."""
        params = {"ids": words(task_ids), "worker_id": worker_id}
        found = await self._session.fetch("find_held", params, idempotent=True)
        return [(rows.to_claim(row), rows.to_counts(row)) for row in found]

    async def find_locked(self, task_ids: Collection[str]) -> list[str]:
        """The tasks among these that another transaction has locked now."""
        found = await self._session.fetch(
            "find_locked", {"ids": words(sorted(task_ids))}, idempotent=True
        )
        return [row[0] for row in found]

    async def find_lockers(
        self, task_ids: Sequence[str], *, for_seconds: int | None = None
    ) -> list[str]:
        """The sessions that have locked these tasks, in words; with `for_seconds` only those whose
        transactions have been open for so long."""
        found = await self._session.fetch("find_lockers", {"ids": words(task_ids)}, idempotent=True)
        return [
            f"pid {pid} of role {role}, application {application!r}, {state or 'state unknown'}"
            + (f", in a transaction for {seconds} s" if seconds is not None else "")
            for pid, role, application, state, seconds in found
            if for_seconds is None or (seconds or 0) >= for_seconds
        ]

    async def find_cancel_requests(self, task_ids: Sequence[str]) -> list[str]:
        """Find the running tasks among these that have a cancel request."""
        found = await self._session.fetch(
            "find_cancel_requests", {"ids": words(task_ids)}, idempotent=True
        )
        return [row[0] for row in found]

    async def set_progress(self, claim: Claim, progress: bytes) -> bool:
        """Store the progress of a running attempt; False if it was taken away."""
        params = {
            "task_id": claim.task_id,
            "attempt": claim.attempt,
            "worker_id": claim.worker_id,
            "progress": progress.decode(),
        }
        return bool(await self._session.fetch("set_progress", params, idempotent=True))


__all__ = ["BulkStep", "KeyFound", "TaskLedger"]
