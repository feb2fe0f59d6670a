"""Throughput of fair queues, and how long one tenant delays the others.

`python -m bench.fair [--tasks N] [--tenants N] [--seconds S]` starts servers, a worker and a reaper of
its own. First the worker drains the same number of tasks from a plain queue and from a fair one, in
turn. Then it works on the tasks of one tenant at full load, and the other tenants submit ten tasks each:
the delay is that of the last of these, from its submission to its end. `--seconds`: tasks that take so
long, instead of tasks that do nothing. It wants a quiet machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from statistics import median

import click
from msgspec.structs import replace

from bench.cost import Meter
from bench.stage import Stage, set_up
from bench.supply import QUEUE, all_ended, noops, submission, supply
from leaseq.codec import new_task_id
from leaseq.limits import QueueRule
from leaseq.model import Submission
from leaseq.operations.submit import Answer

EACH = 10
CHUNK = 10_000
# The busy tenant has the workers to itself for so long.
HEAD_START_SECONDS = 3.0
POLL_SECONDS = 0.05


async def _fair(stage: Stage, *, fair: bool) -> None:
    await stage.engine.stores.queue_limits.put(QueueRule(queue=QUEUE, fair=fair))
    await stage.engine.queue_limits.refresh()


async def drain(count: int, *, fair: bool) -> tuple[float, float]:
    """The rate at which one worker drains a queue, in tasks a second, and the microseconds of CPU that
    all processes together need for a task."""
    async with set_up({}) as stage:
        await _fair(stage, fair=fair)
        if fair:
            await _submit(stage, list(noops(stage.config, count)))
        else:
            await supply(stage, count)
        pids = {"Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid}
        servers = Meter(pids)
        own = Meter({"reaper": (await stage.reaper()).pid, "worker": (await stage.worker()).pid})
        await all_ended(stage, every=0.5)
        servers.stop()
        own.stop()
        used = [*servers.per_task("", count), *own.per_task("", count)]
        return (await stage.witness.endings()).rate, sum(each.value for each in used)


async def _submit(stage: Stage, batch: Sequence[Submission]) -> list[str]:
    answers: list[Answer] = []
    for start in range(0, len(batch), CHUNK):
        answers += await stage.engine.submit_many(batch[start : start + CHUNK])
    if refused := [answer for answer in answers if isinstance(answer, BaseException)]:
        raise refused[0]
    return [each.task_id for each in batch]


async def delays(count: int, tenants: int, seconds: float) -> list[float]:
    """The delays of the tasks of tenants that submit while another one has so many, in seconds."""
    async with set_up({}) as stage:
        await _fair(stage, fair=True)
        many = [_work(stage, "busy", seconds) for _ in range(count)]
        await _submit(stage, many)
        await stage.reaper()
        await stage.worker()
        await asyncio.sleep(HEAD_START_SECONDS)
        few = chain.from_iterable(
            [_work(stage, f"tenant-{n}", seconds)] * EACH for n in range(tenants)
        )
        ids = await _submit(stage, [_fresh(each) for each in few])
        while True:
            found = (await stage.engine.stores.tasks.find(ids, tenant=None)).values()
            if all(task.finished_at is not None for task in found):
                break
            await asyncio.sleep(POLL_SECONDS)
        left = await stage.engine.stores.tasks.find_states([each.task_id for each in many])
        waiting = sum(state not in ("SUCCESS", "FAILED", "CANCELLED") for state in left.values())
        print(f"{waiting} of {count} tasks of the busy tenant were not done by then")
        return sorted(
            (task.finished_at - task.created_at).total_seconds()
            for task in found
            if task.finished_at is not None
        )


def _work(stage: Stage, tenant: str, seconds: float) -> Submission:
    made = (
        submission(stage.config, "nap", seconds=seconds)
        if seconds
        else next(iter(noops(stage.config, 1)))
    )
    return replace(made, tenant=tenant)


def _fresh(made: Submission) -> Submission:
    return replace(made, task_id=new_task_id())


@click.command()
@click.option("--tasks", default=100_000, show_default=True, help="Tasks of the busy tenant.")
@click.option("--tenants", default=99, show_default=True, help="Tenants with ten tasks each.")
@click.option("--seconds", default=0.0, show_default=True, help="Duration of a task.")
@click.option("--runs", default=3, show_default=True, help="Drains of each kind; 0: none.")
def main(tasks: int, tenants: int, seconds: float, runs: int) -> None:
    """Measure on servers in a temporary directory."""
    asyncio.run(_main(tasks, tenants, seconds, runs))


async def _main(tasks: int, tenants: int, seconds: float, runs: int) -> None:
    drains: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(runs):
        for is_fair, found in drains.items():
            found.append(await drain(min(tasks, 30_000), fair=is_fair))
    if runs:
        for what, unit, n in (("throughput", "tasks/s", 0), ("CPU", "us a task", 1)):
            plain, fair = (
                median([each[n] for each in drains[is_fair]]) for is_fair in (False, True)
            )
            print(f"{what}: plain {plain:.0f} {unit}, fair {fair:.0f} {unit}: {fair / plain:.0%}")
    found_delays = await delays(tasks, tenants, seconds)
    middle, last = median(found_delays), found_delays[-1]
    print(f"{len(found_delays)} tasks of {tenants} tenants: p50 {middle:.2f} s, last {last:.2f} s")


if __name__ == "__main__":
    main()
