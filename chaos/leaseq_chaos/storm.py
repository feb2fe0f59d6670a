"""Carry out a schedule of faults.

Each fault is injected at its time and healed when its span is over, and both are recorded in the
history. Invariant: when `rage` returns, every injected fault has been healed, or the history says
that it could not be.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from random import Random
from time import monotonic

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.history import Kind, Recorder
from leaseq_chaos.nemesis.nemesis import Impossible, Injury, Nemesis
from leaseq_chaos.schedule import Planned, Schedule, ground

__all__ = ["Storm"]

HEAL_SECONDS = 60.0


class Storm:
    """The faults of one run."""

    def __init__(
        self,
        cluster: Cluster,
        schedule: Schedule,
        nemeses: Mapping[str, Nemesis],
        recorder: Recorder,
    ) -> None:
        self._cluster = cluster
        self._schedule = schedule
        self._nemeses = nemeses  # those that this machine can do
        self._recorder = recorder
        self._grounds: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._began = 0.0
        self.injected: Counter[str] = Counter()
        self.open: dict[str, str] = {}  # number -> nemesis

    async def rage(self) -> None:
        """From the first fault to the last heal."""
        self._began = monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_quiet())
            for planned in self._schedule.faults:
                await self._sleep_until(planned.at)
                if planned.nemesis in self._nemeses:
                    group.create_task(self._one(planned))
            await self._sleep_until(self._schedule.seconds)

    async def _one(self, planned: Planned) -> None:
        where = ground(planned.nemesis)
        if where is None:
            await self._inflict(planned)
            return
        async with self._grounds[where]:  # the heal before may have taken longer than planned
            await self._inflict(planned)

    async def _inflict(self, planned: Planned) -> None:
        nemesis, key = self._nemeses[planned.nemesis], f"f-{planned.number}"
        about = {"nemesis": planned.nemesis}
        self._recorder.note(Kind.INVOKE, "fault", key=key, value=about)
        try:
            injury = await nemesis.inject(self._cluster, Random(planned.seed))
        except Impossible as error:
            self._recorder.note(Kind.FAIL, "fault", key=key, value=about | {"reason": str(error)})
            return
        except (
            Exception
        ) as error:  # a fault that met another one half way: it may have taken effect
            self._recorder.note(Kind.INFO, "fault", key=key, value=about | {"error": _said(error)})
            injury = Injury(target="unknown")
        else:
            told = {
                "target": injury.target,
                "pids": injury.pids,
                "workers": injury.workers,
                "detail": injury.detail,
            }
            self._recorder.note(Kind.OK, "fault", key=key, value=about | told)
            self.injected[planned.nemesis] += 1
        self.open[key] = planned.nemesis
        if planned.seconds:
            await asyncio.sleep(planned.seconds)
        await self._heal(nemesis, key, injury)

    async def _heal(self, nemesis: Nemesis, key: str, injury: Injury) -> None:
        about = {"nemesis": nemesis.name}
        self._recorder.note(Kind.INVOKE, "heal", key=key, value=about)
        try:
            async with asyncio.timeout(HEAL_SECONDS):
                await nemesis.heal(self._cluster, injury)
        except Exception as error:  # the end of the storm heals all remaining faults
            self._recorder.note(Kind.INFO, "heal", key=key, value=about | {"error": _said(error)})
        else:
            self._recorder.note(Kind.OK, "heal", key=key, value=about)
        self.open.pop(key, None)

    async def _tell_quiet(self) -> None:
        for period in self._schedule.quiet:
            await self._sleep_until(period.begin)
            self._recorder.note(Kind.OK, "phase", value={"phase": "quiet"})
            await self._sleep_until(period.end)
            self._recorder.note(Kind.OK, "phase", value={"phase": "storm"})

    async def _sleep_until(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, self._began + seconds - monotonic()))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip()[:300]
