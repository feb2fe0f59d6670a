"""Operations on the tasks of one tenant.

An edge (the Python app, the HTTP API, the command line) binds the tenant once, with
`Engine.for_tenant`. No signature below has a default tenant, so a forgotten tenant is an error and
not a look at the tasks of another one.
"""

from __future__ import annotations

from leaseq.errors import FailureNotFound, TaskConflict, TaskMoved, TaskNotFound
from leaseq.ledger.failures import FailureLedger
from leaseq.ledger.task_lists import Listing, TaskFilter, TaskLists
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import (
    TERMINAL,
    AttemptRecord,
    State,
    Task,
    TaskSnapshot,
)
from leaseq.observability.telemetry import emit
from leaseq.operations.seen import Seen
from leaseq.operations.traced_submissions import Submit, SubmitMany, SubmitWithin
from leaseq.operations.wait import Waiter

# A task that was redriven and has ended again while an erasure waited for its row is looked at again.
ERASE_ROUNDS = 3


class TenantClient:
    """The tasks of one tenant; of every tenant, where `tenant` is None.

    `submit`, `submit_within` and `submit_many` are those of the engine: a `Submission` carries its
    tenant already, and a second call for each task would cost the hot path.
    """

    def __init__(
        self,
        tenant: str | None,
        *,
        ledger: TaskLedger,
        waiter: Waiter,
        submit: Submit,
        submit_within: SubmitWithin,
        submit_many: SubmitMany,
    ) -> None:
        self.tenant = tenant
        self.submit = submit
        self.submit_within = submit_within
        self.submit_many = submit_many
        self._ledger = ledger
        self._lists = TaskLists(ledger.session)
        self._failures = FailureLedger(ledger.session)
        self._waiter = waiter

    async def find(self, task_id: str) -> Task:
        """Read one task. Raises `TaskNotFound`."""
        task = (await self._ledger.find([task_id], tenant=self.tenant)).get(task_id)
        if task is None:
            raise TaskNotFound(f"there is no task {task_id}")
        return task

    async def wait(self, task_id: str, *, timeout: float) -> Task:
        """Read one task when it has ended, or after `timeout` seconds. Raises `TaskNotFound`."""
        task = await self.find(task_id)
        if task.finished_at is None and timeout > 0:
            await self._waiter.wait(task_id, timeout=timeout)
            task = await self.find(task_id)
        return task

    async def list_tasks(self, wanted: TaskFilter) -> Listing:
        """Read one page of tasks, newest first, without payloads and results. A service for clients
        uses `Lists`."""
        return await self._lists.list_tasks(wanted, tenant=self.tenant)

    async def list_attempts(self, task_id: str) -> list[AttemptRecord]:
        """Read the attempts of a task that did not succeed. Raises `TaskNotFound`."""
        await self.find(task_id)
        return await self._lists.list_attempts(task_id, tenant=self.tenant)

    async def cancel(self, task_id: str, *, seen: Seen | None = None) -> State:
        """Stop a task. CANCELLED: it was waiting. PROCESSING: its worker was asked to stop it.

        With `seen`, only if the task is still as it was seen. Raises `TaskNotFound`, `TaskConflict`,
        `TaskMoved`.
        """
        stopped = await self._ledger.cancel([task_id], tenant=self.tenant, seen=_pair(seen))
        state = stopped.get(task_id)
        if state is None:
            task = await self.find(task_id)
            if seen is not None and (task.state, task.attempt) != _pair(seen):
                raise _moved(task, seen)
            if task.state is State.CANCELLED:
                # This answer rests on a read, and a standby may not have that state yet.
                await self._ledger.wait_for_standby()
                return task.state
            raise TaskConflict(f"task {task_id} has already ended in {task.state}")
        emit("task.cancelled", task_id=task_id, state=state)
        return state

    async def redrive(self, task_id: str, *, seen: Seen | None = None) -> TaskSnapshot:
        """Put a FAILED or CANCELLED task back to SCHEDULED, due immediately. The reaper's promote
        delivers it.

        With `seen`, only if the task is still as it was seen. Raises `TaskNotFound`, `TaskConflict`,
        `TaskMoved`.
        """
        snapshots = await self._ledger.redrive([task_id], tenant=self.tenant, seen=_pair(seen))
        if not snapshots:
            task = await self.find(task_id)
            if task.erased_at is not None:
                raise TaskConflict(
                    f"task {task_id} was erased at {task.erased_at:%Y-%m-%d %H:%M:%S} UTC: it has no "
                    "payload any more to run with"
                )
            if task.key_freed_at is not None:
                raise TaskConflict(
                    f"the idempotency key of task {task_id} was freed: another task may have run "
                    "under it, so submit it again instead"
                )
            if seen is not None and (task.state, task.attempt) != _pair(seen):
                raise _moved(task, seen)
            if task.unique_key is not None and task.state in (State.FAILED, State.CANCELLED):
                raise TaskConflict(
                    f"another task has the unique key of task {task_id}: wait for its end, or cancel it"
                )
            raise TaskConflict(
                f"task {task_id} is {task.state}; only FAILED and CANCELLED tasks can be redriven"
            )
        emit("task.redriven", task_id=task_id)
        return snapshots[0]

    async def erase(self, task_id: str) -> None:
        """Remove payload, result, error, progress and attempts of a task that has ended. It is safe
        to repeat.

        Raises `TaskNotFound`, `TaskConflict`.
        """
        for _ in range(ERASE_ROUNDS):
            if await self._ledger.erase([task_id], tenant=self.tenant):
                emit("task.erased", task_id=task_id)
                return
            task = await self.find(task_id)
            if task.erased_at is not None:
                # This answer rests on a read, and a standby may not have that row yet.
                await self._ledger.wait_for_standby()
                return
            if task.state not in TERMINAL:
                raise TaskConflict(
                    f"task {task_id} is {task.state}; only a task that has ended can be erased: "
                    "cancel it, or wait for its end"
                )
        raise TaskConflict(f"task {task_id} was redriven and has ended again: erase it again")

    async def free_key(self, task_id: str) -> None:
        """Free the idempotency key of a FAILED or CANCELLED task: the next submission with it makes
        another task. This task does not run again. It is safe to repeat.

        Raises `TaskNotFound`, `TaskConflict`.
        """
        if await self._ledger.free_keys([task_id], tenant=self.tenant):
            emit("key.freed", task_id=task_id)
            return
        task = await self.find(task_id)
        if task.key_freed_at is not None:
            # This answer rests on a read, and a standby may not have that row yet.
            await self._ledger.wait_for_standby()
            return
        if task.idempotency_key is None:
            raise TaskConflict(f"task {task_id} was submitted without an idempotency key")
        if task.state not in (State.FAILED, State.CANCELLED):
            raise TaskConflict(
                f"task {task_id} is {task.state}; only the key of a FAILED or CANCELLED task can be "
                "freed, because its effect would happen twice"
            )
        raise TaskConflict(
            f"the idempotency key of task {task_id} has expired, and does not stand for it any more"
        )

    async def acknowledge(self, type_name: str, fingerprint: str, *, by: str) -> None:
        """Acknowledge a group of failures, until it occurs in a version of the application in which
        it is not known so far. It is safe to repeat. Raises `FailureNotFound`."""
        if not await self._failures.acknowledge(type_name, fingerprint, tenant=self.tenant, by=by):
            raise FailureNotFound(
                f"no failure of type {type_name} has the fingerprint {fingerprint}"
            )
        emit("failure.acknowledged", type=type_name, fingerprint=fingerprint)

    async def unacknowledge(self, type_name: str, fingerprint: str) -> None:
        """Take the acknowledgement of a group of failures back. It is safe to repeat. Raises
        `FailureNotFound`."""
        if not await self._failures.unacknowledge(type_name, fingerprint, tenant=self.tenant):
            raise FailureNotFound(
                f"no failure of type {type_name} has the fingerprint {fingerprint}"
            )
        emit("failure.unacknowledged", type=type_name, fingerprint=fingerprint)


def _pair(seen: Seen | None) -> tuple[State, int] | None:
    return None if seen is None else (seen.state, seen.attempt)


def _moved(task: Task, seen: Seen) -> TaskMoved:
    present = Seen(task.state, task.attempt)
    return TaskMoved(
        f"task {task.task_id} is {present.state} at attempt {present.attempt} now; it was "
        f"{seen.state} at attempt {seen.attempt} when it was looked at, so nothing was changed",
        task_id=task.task_id,
        present=str(present),
    )


__all__ = ["TenantClient"]
