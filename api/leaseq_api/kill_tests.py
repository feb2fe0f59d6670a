"""Ask the `leaseq dev` that has started this process for kill tests.

The API breaks nothing itself: it writes down the tasks that exist before a test, asks, and later
compares the ledger with the promise. Known tests are kept by `leaseq dev`, so a
restart of the API loses none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec

from leaseq.ledger.followed import FollowedTasks
from leaseq.ledger.task_lists import TaskFilter
from leaseq.model import State
from leaseq.operations.kill_tests import private_socket
from leaseq.operations.kill_tests.facts import read_facts
from leaseq.operations.kill_tests.judge import Judgement, judge
from leaseq.operations.kill_tests.protocol import (
    LINE_BYTES,
    OF_A_WORKER,
    Answer,
    KillTest,
    Kind,
    Request,
    TaskBefore,
    to_answer,
)
from leaseq.operations.running import RunningTask
from leaseq_api.fleet import AnyRequest, read_running
from leaseq_api.refused import Refused
from leaseq_api.service import Service

ANSWER_SECONDS = 5.0
# Of all waiting tasks, so many are followed.
MOST_WAITING = 200
MOST_WORKERS = 200


class KillTests:
    """The tests of the `leaseq dev` at a socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def list(self) -> list[KillTest]:
        """The newest tests, the newest first. Raises `Refused`."""
        return (await self._exchange(Request())).tests

    async def find(self, test_id: str) -> KillTest:
        """One test. Raises `Refused`."""
        for test in await self.list():
            if test.test_id == test_id:
                return test
        raise Refused("not_found", "no kill test has this id: `leaseq dev` keeps the last ones")

    async def start(self, test: KillTest) -> None:
        """Start a test, once for each id. Raises `Refused`."""
        answer = await self._exchange(Request(test))
        if answer.refused is not None:
            raise Refused("operation_conflict", answer.refused)

    async def _exchange(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(
                    sock=private_socket.connect(self._path), limit=LINE_BYTES
                )
                try:
                    writer.write(msgspec.json.encode(request) + b"\n")
                    await writer.drain()
                    return to_answer.decode(await reader.readline())
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError) as error:
            raise Refused("not_ready", f"`leaseq dev` does not answer: {error}") from None


async def prepare(
    service: Service, request: AnyRequest, *, test_id: str, kind: Kind, task_id: str | None
) -> KillTest:
    """A test with the tasks that it is about. Raises `Refused` where no worker runs the task."""
    if kind not in OF_A_WORKER:
        running = (await read_running(service, request)).tasks or []
        waiting = await service.lists.list_tasks(
            TaskFilter(state=State.PENDING, limit=MOST_WAITING), tenant=None
        )
        tasks = [*_running(running)] + [
            TaskBefore(task_id=task.task_id, attempt=task.attempt, running=False)
            for task in waiting.tasks
        ]
        shown = tasks[0].task_id if tasks else None
        return KillTest(test_id=test_id, kind=kind, task_id=shown, tasks=tasks)
    async with service.lists.turn():
        found = await FollowedTasks(service.lists.session).find_followed(
            [] if task_id is None else [task_id]
        )
    task = found.get(task_id or "")
    if task is None or task.state is not State.PROCESSING or task.worker_id is None:
        raise Refused("task_conflict", "this task does not run now: choose one that does")
    held = await read_running(service, request, worker_id=task.worker_id)
    tasks = [*_running(held.tasks or [])]
    if all(each.task_id != task.task_id for each in tasks):
        tasks.append(TaskBefore(task_id=task.task_id, attempt=task.attempt, running=True))
    workers = await service.lists.list_workers(closed=False, limit=MOST_WORKERS)
    others = [each for each in workers if each.worker_id != task.worker_id]
    return KillTest(
        test_id=test_id,
        kind=kind,
        task_id=task.task_id,
        worker_id=task.worker_id,
        tasks=tasks,
        # Freezing stops all worker processes of the supervisor.
        alone=kind == "freeze-worker" or not any(task.queue in each.queues for each in others),
    )


async def judged(service: Service, test: KillTest) -> Judgement:
    """The verdict on a test, from the ledger. Raises `ServerUnreachable` while Postgres is away."""
    now = (await service.overview.whole()).at
    async with service.lists.turn():
        facts = await read_facts(service.lists.session, test, now=now)
    return judge(test, facts, lease_seconds=service.config.lease_seconds)


def _running(tasks: list[RunningTask]) -> Iterator[TaskBefore]:
    for task in tasks:
        yield TaskBefore(task_id=task.task_id, attempt=task.attempt, running=True)


__all__ = ["KillTests", "judged", "prepare"]
