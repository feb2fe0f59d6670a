"""Compare the same work on empty and on full servers, in turn.

Machines drift by more than the expected effect, so the two alternate on separate servers, and the
result is the ratio within a turn. Both have a reaper, whose walks are part of living with a large
table; the one that waits for its turn is frozen.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bench.calm import calm
from bench.figures import Reading, percentile
from bench.measures.latency import idle_latency
from bench.processes import Service
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import ASIDE, QUEUE, single_runs_since, supply, until

ASK_SECONDS = 0.1

# Fills the servers, and returns the tasks that wait now, the next one first.
Fill = Callable[[Stage], Awaitable[list[str]]]


class Side:
    """One of the two: its servers, and the tasks that wait on them."""

    def __init__(self, stage: Stage, reaper: Service, waiting: list[str], *, scale: Scale) -> None:
        self._scale = scale
        self._stage = stage
        self._reaper = reaper
        self._waiting = waiting

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While it is the other's turn its reaper takes no CPU."""
        self._reaper.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._reaper.process.send_signal(signal.SIGCONT)

    async def latencies(self) -> list[float]:
        """Milliseconds on an idle queue, beside the one in which tasks wait."""
        worker = await self._stage.worker(queues=[ASIDE])
        try:
            return await idle_latency(self._stage, self._scale.latency_tasks, queue=ASIDE)
        finally:
            worker.stop()

    async def rate(self) -> float:
        """Tasks per second while the next ones are drained; as many more are recorded before, so
        that the depth remains."""
        count = self._scale.beside_tasks
        self._waiting += await supply(self._stage, count)
        await calm(self._stage, seconds=self._scale.calm_seconds)
        last = self._waiting[count - 1]
        since = await self._stage.witness.now()
        worker = await self._stage.worker(queues=[QUEUE])
        await until(
            lambda: self._stage.witness.has_ended(last),
            what=f"{count:,} tasks have ended",
            every=ASK_SECONDS,
        )
        worker.stop()
        endings = await single_runs_since(self._stage, since)
        del self._waiting[: endings.ended]
        return endings.rate


async def beside(scale: Scale, *, name: str, without: str, fill: Fill) -> list[Reading]:
    """Latency and drain, `scale.runs` times on each of the two, and what the full one reaches of
    the empty one."""
    readings = []
    async with set_up(scale.settings) as empty_stage, set_up(scale.settings) as full_stage:
        full = Side(full_stage, await full_stage.reaper(), await fill(full_stage), scale=scale)
        await calm(full_stage, seconds=scale.calm_seconds)
        empty = Side(empty_stage, await empty_stage.reaper(), [], scale=scale)
        for _ in range(scale.runs):
            rates, p50s = [], []
            for side, other, where in ((empty, full, without), (full, empty, name)):
                with other.aside():
                    taken = await side.latencies()
                    rates.append(await side.rate())
                p50s.append(percentile(taken, 0.5))
                readings += [
                    Reading(f"{where}: drain", "tasks/s", rates[-1]),
                    Reading(f"{where}: latency p50", "ms", p50s[-1]),
                    Reading(f"{where}: latency p99", "ms", percentile(taken, 0.99)),
                ]
            readings.append(
                Reading(f"{name}: drain, of that without", "%", 100 * rates[1] / rates[0])
            )
            readings.append(
                Reading(f"{name}: latency p50, of that without", "%", 100 * p50s[1] / p50s[0])
            )
    return readings
