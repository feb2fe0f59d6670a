"""The order of measurements: contenders take turns at each measure.

Noise that lasts for minutes so reaches all contenders alike, and the values of one round are pairs.
Every other round has the contenders in reverse order. The crash comparison comes last and several
at a time: its tasks sleep, and it measures seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

import psutil

from bench.__main__ import console
from bench.figures import Reading, combine
from bench.machine import describe
from bench.peers.contenders import Contender
from bench.peers.crash import crash
from bench.peers.environments import Environment
from bench.peers.limits import limited, permits
from bench.peers.measures import MEASURES, Play
from bench.peers.outcomes import Recovery
from bench.peers.report import Comparison
from bench.peers.scope import Scope

T = TypeVar("T")

CRASHES = {"crash-default": "default", "crash-reliable": "most reliable documented"}
LIMITS: dict[str, Play] = {
    "limit": partial(limited, keys=False),
    "limit-keys": partial(limited, keys=True),
}
PERMITS = ("permits-default", "permits-reliable")
PLAYED = MEASURES | LIMITS


class Rounds:
    """The results so far."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.readings: dict[str, list[list[Reading]]] = {}
        self.crashes: dict[tuple[str, str], list[Recovery]] = {}
        self.failed: dict[str, str] = {}

    async def play(self, contender: Contender, measure: str) -> None:
        """One measurement of one contender, once."""
        found = await self.attempt(
            f"{contender.name} {measure}", PLAYED[measure](contender, self.scope)
        )
        if found is not None:
            self.readings.setdefault(contender.name, []).append(found)
            console.print(
                f"{contender.name} {found[0].name}: {found[0].value:,.1f} {found[0].unit}",
                markup=False,
            )

    async def crash(
        self, contender: Contender, measure: str, turn: asyncio.Semaphore, *, seed: int
    ) -> None:
        """The crash comparison of one contender, once."""
        async with turn:
            name = f"{contender.name} {measure}"
            found = await self.attempt(
                name, crash(contender, self.scope, reliable=measure == "crash-reliable", seed=seed)
            )
        if found is not None:
            self.crashes.setdefault((measure, contender.name), []).append(found)
            console.print(
                f"{name}: {found.lost} never done, {found.doubled} done twice", markup=False
            )

    async def permits(
        self, contender: Contender, measure: str, turn: asyncio.Semaphore, *, seed: int
    ) -> None:
        """The permits of a killed worker of one contender, once."""
        async with turn:
            name = f"{contender.name} {measure}"
            reliable = measure == "permits-reliable"
            work = permits(contender, self.scope, reliable=reliable, seed=seed)
            found = await self.attempt(name, work)
        if found is not None:
            self.readings.setdefault(contender.name, []).append(found)
            console.print(
                f"{name}: {found[0].value:.1f} s, {found[1].value:.0f} held", markup=False
            )

    async def attempt(self, name: str, work: Awaitable[T]) -> T | None:
        """Its result. A failure is reported, and does not end the others."""
        try:
            return await work
        except Exception as error:  # a peer may raise anything
            self.failed[name] = str(error) or type(error).__name__
            console.print(f"{name} FAILED: {self.failed[name]}", style="bold red", markup=False)
            return None


async def compare(
    contenders: Sequence[Contender], measures: Sequence[str], scope: Scope, *, at_once: int
) -> Comparison:
    """Everything that was asked for."""
    machine = await describe()
    rounds = Rounds(scope)
    installed = [contender for contender in contenders if Environment(contender.environment).ready]
    for contender in contenders:
        if contender not in installed:
            rounds.failed[contender.name] = (
                f"not installed; `python -m bench.peers setup {contender.name}` says why"
            )
    stolen = psutil.cpu_times().steal
    began = monotonic()
    for number in range(scope.runs):
        for measure in (measure for measure in PLAYED if measure in measures):
            for contender in installed[:: -1 if number % 2 else 1]:
                if takes_part(contender, measure):
                    await rounds.play(contender, measure)
    machine |= _load(psutil.cpu_times().steal - stolen, monotonic() - began)
    await _play_kills(rounds, installed, measures, asyncio.Semaphore(at_once))
    return _comparison(contenders, rounds, machine)


async def _play_kills(
    rounds: Rounds,
    contenders: Sequence[Contender],
    measures: Sequence[str],
    turn: asyncio.Semaphore,
) -> None:
    """Everything in which tasks sleep and workers are killed, several at a time."""
    plays = dict.fromkeys(CRASHES, rounds.crash) | dict.fromkeys(PERMITS, rounds.permits)
    async with asyncio.TaskGroup() as group:
        for seed in range(1, rounds.scope.crash_runs + 1):
            for measure, play in plays.items():
                for contender in contenders:
                    if measure in measures and takes_part(contender, measure):
                        group.create_task(play(contender, measure, turn, seed=seed))


def takes_part(contender: Contender, measure: str) -> bool:
    """Whether a contender has what a measure is of."""
    if measure.endswith("-reliable") and not contender.reliable:
        return False
    if measure == "limit-keys":
        return contender.keys
    return bool(contender.limit) or measure not in (*LIMITS, *PERMITS)


def _load(stolen_seconds: float, seconds: float) -> dict[str, str]:
    """The load of the machine, and the share of its processors that the host took."""
    share = stolen_seconds / max(seconds * (os.cpu_count() or 1), 1e-9)
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return {
        "load after the rates (1, 5, 15 min)": load,
        "processor time taken by the host meanwhile": f"{share:.1%} (steal)",
    }


def _comparison(
    contenders: Sequence[Contender], rounds: Rounds, machine: dict[str, str]
) -> Comparison:
    names = dict.fromkeys(contender.environment for contender in contenders)
    environments = {name: found for name in names if (found := Environment(name)).ready}
    pythons = sorted({environment.python_version() for environment in environments.values()})
    # Its packages are those of the benchmark; each contender has its own.
    about = {
        name: value.replace("unix socket", "TCP on loopback")
        for name, value in machine.items()
        if name != "packages"
    }
    return Comparison(
        machine=about | {"Python": ", ".join(pythons)},
        scope=rounds.scope,
        contenders=list(contenders),
        packages={name: environment.frozen() for name, environment in environments.items()},
        figures={name: combine(readings) for name, readings in rounds.readings.items()},
        crashes={
            words: {
                c.name: rounds.crashes[measure, c.name]
                for c in contenders
                if (measure, c.name) in rounds.crashes
            }
            for measure, words in CRASHES.items()
        },
        failed=rounds.failed,
    )
