"""The script of the demo.

Submissions come in as fast as the API takes them. When some of the tasks are finished a worker's
child is killed, and when more are, a whole worker. Then nothing is left to do but wait.
"""

from __future__ import annotations

import asyncio

from examples.demo.evidence import gather_evidence
from examples.demo.kills import Recovery, finished, kill_busy, recovered
from examples.demo.ledger import Ledger, open_ledger
from examples.demo.screen import Screen
from examples.demo.stage import DemoFailed, Stage
from examples.demo.submit import submit_all
from examples.demo.verdict import Evidence
from examples.demo.workload import Workload

FIRST_KILL, SECOND_KILL = 0.10, 0.30
LIMIT_SECONDS = 150.0
POLL_SECONDS = 0.1


async def play(stage: Stage, workload: Workload, screen: Screen) -> Evidence:
    """Play the demo from the first submission to the last finished task."""
    async with open_ledger(stage.postgres_url) as ledger:
        progress = Watch(ledger, screen, total=len(workload.errands))
        try:
            async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
                group.create_task(progress.run())
                submitting = group.create_task(submit_all(stage.api_url, workload.errands))
                killing = group.create_task(kill_twice(stage, progress, screen))
        except TimeoutError:
            raise DemoFailed(f"it did not come to its end within {LIMIT_SECONDS:.0f} s") from None
        finally:
            screen.close()
        return await gather_evidence(stage, ledger, workload, submitting.result(), killing.result())


class Watch:
    """How far it is, looked at ten times a second."""

    def __init__(self, ledger: Ledger, screen: Screen, *, total: int) -> None:
        self._ledger = ledger
        self._screen = screen
        self._total = total
        self._finished = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Until everything is finished."""
        while self._finished < self._total:
            count = await self._ledger.progress()
            self._screen.show(count)
            async with self._moved:
                self._finished = count.finished
                self._moved.notify_all()
            await asyncio.sleep(POLL_SECONDS)

    async def reached(self, share: float) -> None:
        """Return once this share of all tasks is finished."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._finished >= share * self._total)


async def kill_twice(stage: Stage, progress: Watch, screen: Screen) -> tuple[Recovery, Recovery]:
    """Kill a child of the first worker, then the whole second one; each time, wait until its tasks
    run again."""
    first, second = stage.workers
    async with open_ledger(stage.postgres_url) as ledger:
        await progress.reached(FIRST_KILL)
        killed = await kill_busy(ledger, first, whole=False)
        screen.say(
            f"kill -9 {killed.pids[0]}: the process of worker 1 that ran {killed.running} tasks",
            "bold yellow",
        )
        child = await recovered(ledger, killed)
        screen.say(f"  its supervisor took them back: {child}")

        await finished(ledger, killed)
        await progress.reached(SECOND_KILL)
        killed = await kill_busy(ledger, second, whole=True)
        pids = " ".join(map(str, killed.pids))
        screen.say(
            f"kill -9 {pids}: all of worker 2, supervisor and child, with {killed.running} tasks",
            "bold yellow",
        )
        screen.say("  no supervisor is left to recover them: its lease has to expire")
        worker = await recovered(ledger, killed)
        screen.say(f"  the reaper took them back: {worker}")
    return child, worker
