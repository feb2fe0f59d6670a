"""Conduct one run, from an empty machine to a verdict.

Start the cluster; let clients work and faults happen; heal everything; let the clients finish and
the queue drain; take the snapshot; and only then judge, from the recorded evidence. A run that
breaks off leaves its evidence, and no verdict.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from leaseq_chaos.checkers.catalogue import judge
from leaseq_chaos.cluster.cluster import Cluster, Layout, open_cluster
from leaseq_chaos.evidence import Run, Skip, Snapshot, load
from leaseq_chaos.history import Kind, Recorder, boottime
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.nemesis.nemesis import Nemesis
from leaseq_chaos.pace import Pace
from leaseq_chaos.report.write import write_report
from leaseq_chaos.scenario import DEFAULT_CONFIG, Scenario
from leaseq_chaos.schedule import Schedule, make_schedule
from leaseq_chaos.snapshot import drain, take_snapshot
from leaseq_chaos.storm import Storm
from leaseq_chaos.verdict import Finding
from leaseq_chaos.wal import CommitReader
from leaseq_chaos.watch import Watch
from leaseq_chaos.workload.accounts import prepare
from leaseq_chaos.workload.clients import Clients
from leaseq_chaos.workload.operator import operate
from leaseq_chaos.workload.plan import TENANTS, make_plan

__all__ = ["Options", "Progress", "judged", "run"]

ACCOUNTS, CENTS = 20, 100_000
WARM_UP_SECONDS = 2.0
CLIENT_PATIENCE_SECONDS = 60.0
DRAIN_PATIENCE_SECONDS = 90.0
MOST_PATIENCE_SECONDS = 240.0  # however slow the machine is


class Options(Struct, frozen=True, kw_only=True):
    """The options of a run."""

    scenario: Scenario
    seed: int
    minutes: float
    workers: int
    directory: Path
    rate: float = 1.0  # times as many tasks as the scenario has
    tree: Path | None = None
    other_tree: Path | None = None
    patience_seconds: float = DRAIN_PATIENCE_SECONDS
    repeat: str = ""  # the command that repeats it, where it is no `leaseq-chaos run`

    @property
    def command(self) -> str:
        """Repeats the run."""
        if self.repeat:
            return self.repeat
        rate = "" if self.rate == 1 else f" --rate {self.rate:g}"
        return (
            f"leaseq-chaos run {self.scenario.name} --seed {self.seed} --minutes {self.minutes:g} "
            f"--workers {self.workers}{rate}"
        )


class Progress(Struct, frozen=True, kw_only=True):
    """The visible progress of a run."""

    options: Options
    watch: Watch
    storm: Storm
    clients: Clients
    phase: list[str]  # the last one is the present one


Show = Callable[[Progress], None]


class Conductor:
    """One run in its cluster."""

    def __init__(
        self, options: Options, cluster: Cluster, stack: AsyncExitStack, wall_offset: int
    ) -> None:
        self.wall_offset = wall_offset
        self._options = options
        self._cluster = cluster
        self._recorder = Recorder(cluster.history, "runner")
        self._watch = Watch()
        self._commits = CommitReader(
            cluster.timelines, options.directory, wall_offset=wall_offset, watch=self._watch.see
        )
        self._phases: list[str] = []
        self._stop_reading = asyncio.Event()
        self.pace = Pace()
        self.skips: list[Skip] = []
        self.began = 0
        stack.callback(self._recorder.close)

    async def conduct(self, show: Show) -> None:
        """Everything that needs the cluster."""
        await prepare(self._cluster.postgres, accounts=ACCOUNTS, cents=CENTS)
        await self._commits.open()
        following = asyncio.create_task(self._commits.follow(self._stop_reading))
        able = await self._able()
        options = self._options
        spans = {name: NEMESES[name].seconds for name in options.scenario.nemeses}
        schedule = make_schedule(
            options.scenario, seed=options.seed, minutes=options.minutes, spans=spans
        )
        _write(options.directory / "schedule.json", schedule)
        clients = Clients(
            self._cluster.fronts,
            history=self._cluster.history,
            keys=self._cluster.keys,
            bulk_seed=options.seed if options.scenario.bulk else None,
            bounds=options.scenario.bounded,
            seed=options.seed,
        )
        storm = Storm(self._cluster, schedule, able, Recorder(self._cluster.history, "nemesis"))
        progress = Progress(
            options=options, watch=self._watch, storm=storm, clients=clients, phase=self._phases
        )
        showing = asyncio.create_task(_show_forever(show, progress))
        measuring = asyncio.create_task(self.pace.measure())
        try:
            await self._storm(storm, clients, schedule)
            snapshot = await self._settle(clients)
        finally:
            showing.cancel()
            measuring.cancel()
            self._stop_reading.set()
            await asyncio.wait([showing, measuring, following])
        await self._commits.finish()
        self._phase("erase")
        operator = Recorder(self._cluster.history, "operator")
        try:
            tombstones = await operate(self._cluster, snapshot, operator)
        finally:
            operator.close()
        _write(options.directory / "tombstones.json", tombstones)
        self._phase("end")

    async def _able(self) -> Mapping[str, Nemesis]:
        able = {}
        for name in sorted(self._options.scenario.nemeses):
            reason = await NEMESES[name].unable(self._cluster)
            if reason is None:
                able[name] = NEMESES[name]
            else:
                self.skips.append(Skip(name, reason))
                self._recorder.note(Kind.INFO, "skip", value={"nemesis": name, "reason": reason})
        return able

    async def _storm(self, storm: Storm, clients: Clients, schedule: Schedule) -> None:
        options = self._options
        self.began = boottime()
        self._phase("warm-up")
        scenario = msgspec.structs.replace(
            options.scenario, tasks_per_second=options.scenario.tasks_per_second * options.rate
        )
        plan = make_plan(
            scenario,
            seed=options.seed,
            seconds=WARM_UP_SECONDS + schedule.seconds,
            accounts=ACCOUNTS,
        )
        await clients.start(plan)
        await asyncio.sleep(WARM_UP_SECONDS)
        self._phase("storm")
        await storm.rage()

    async def _settle(self, clients: Clients) -> Snapshot:
        self._phase("heal")
        await self._cluster.heal()
        self._phase("drain")
        patience = min(MOST_PATIENCE_SECONDS, self._options.patience_seconds * self.pace.slowness)
        await clients.finish(patience=min(CLIENT_PATIENCE_SECONDS, patience))
        drained, waited = await drain(self._cluster, patience=patience)
        self._phase("snapshot")
        snapshot = await take_snapshot(self._cluster, drained=drained, waited_seconds=waited)
        _write(self._options.directory / "snapshot.json", snapshot)
        return snapshot

    def _phase(self, name: str) -> None:
        self._phases.append(name)
        self._recorder.note(Kind.OK, "phase", value={"phase": name})


async def run(options: Options, *, show: Show) -> list[Finding]:
    """Run a scenario once; returns what the checkers found. The evidence and the report are in the
    directory of the options."""
    shutil.rmtree(options.directory, ignore_errors=True)
    config = {**DEFAULT_CONFIG, **options.scenario.config}
    layout = Layout(
        evidence=options.directory.absolute(),
        config=config,
        workers=options.workers,
        processes=options.scenario.processes,
        apis=options.scenario.apis,
        reapers=options.scenario.reapers,
        tree=options.tree,
        other_tree=options.other_tree,
        tenants=TENANTS,
        disks=any("disk" in name for name in options.scenario.nemeses),
    )
    wall_offset = time.time_ns() - boottime()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(layout))
        conductor = Conductor(options, cluster, stack, wall_offset)
        machine = await _machine(cluster)
        await conductor.conduct(show)
    _write(options.directory / "run.json", _record(options, conductor, config, machine))
    return judged(options.directory)


def judged(directory: Path) -> list[Finding]:
    """Judge the evidence in a directory, now or years later; writes `verdict.json` and
    `report.html`."""
    evidence = load(directory)
    findings = judge(evidence)
    _write(directory / "verdict.json", findings)
    write_report(directory, evidence, findings)
    return findings


async def _show_forever(show: Show, progress: Progress) -> None:
    while True:
        show(progress)
        await asyncio.sleep(1)


def _record(
    options: Options, conductor: Conductor, config: dict[str, str], machine: dict[str, str]
) -> Run:
    scenario = options.scenario
    return Run(
        scenario=scenario.name,
        about=scenario.about,
        seed=options.seed,
        minutes=options.minutes,
        workers=options.workers,
        command=options.command,
        began=conductor.began,
        ended=boottime(),
        config=config,
        machine=machine,
        skips=conductor.skips,
        bounds=dict(scenario.bounds),
        has_room=scenario.has_room,
        expects=list(scenario.expects),
        slowness=conductor.pace.slowness,
        wall_offset=conductor.wall_offset,
        accounts=ACCOUNTS,
        cents=ACCOUNTS * CENTS,
    )


async def _machine(cluster: Cluster) -> dict[str, str]:
    ((postgres,),) = await cluster.postgres.fetch("show_version")
    async with cluster.valkey.client() as client:
        info = await client.info("server")
    return {
        "leaseq": version("leaseq"),
        "python": platform.python_version(),
        "postgres": str(postgres),
        "valkey": str(info.get("valkey_version") or info.get("redis_version")),
        "processors": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _write(file: Path, value: object) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
