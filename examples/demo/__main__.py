"""Run the demo: set up, play, judge, tear down.

Exit code 1 if a guarantee was broken, 130 after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from time import monotonic
from typing import NoReturn

import click

from examples.demo.plot import play
from examples.demo.screen import Screen
from examples.demo.stage import CONCURRENCY, HEARTBEAT_SECONDS, LEASE_SECONDS, DemoFailed, set_up
from examples.demo.verdict import Evidence, judge, measure
from examples.demo.workload import make_workload

INTERRUPTED = 130
SIGNALS = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if signal.getsignal(number) is not signal.SIG_IGN  # nohup
)


@click.command()
@click.option("--tasks", default=2_000, type=click.IntRange(200), help="How many tasks to submit.")
def main(tasks: int) -> None:
    """See leaseq run real tasks, be killed twice, and lose nothing. Takes less than a minute,
    leaves nothing behind."""
    for number in SIGNALS:
        signal.signal(number, interrupt)
    screen = Screen(tasks)
    try:
        kept = run(screen, tasks)
    except DemoFailed as failed:
        screen.say(f"The demo could not be played: {failed}", "bold red")
        sys.exit(1)
    except KeyboardInterrupt:
        screen.say("Interrupted; everything has been taken down.")
        sys.exit(INTERRUPTED)
    sys.exit(0 if kept else 1)


def run(screen: Screen, tasks: int) -> bool:
    """Play the demo; returns whether every promise was kept."""
    began = monotonic()
    screen.say(
        "Starting PostgreSQL, Valkey, a mail server, and leaseq: one API, one reaper, two workers ...",
        "bold",
    )
    with set_up() as stage:
        for service in stage.services:
            screen.say(f"  {' '.join(service.command)}  (pid {service.pid})")
        screen.say(
            f"Leases of {LEASE_SECONDS:g} s, a heartbeat every {HEARTBEAT_SECONDS:g} s (by default 10 s and 2 s)."
        )
        workload = make_workload(stage.data, tasks=tasks)
        screen.say(
            f"Submitting {tasks:,} tasks over HTTP, {workload.repeated} of them twice, to {2 * CONCURRENCY} slots ...",
            "bold",
        )
        evidence = play_out(play(stage, workload, screen))
        findings = judge(evidence)
        screen.report(findings, measure(evidence))
        screen.say("Taking everything down ...")
    broken = sum(not finding.held for finding in findings)
    verdict = (
        "Every promise was kept"
        if not broken
        else f"{broken} of {len(findings)} promises were BROKEN"
    )
    screen.say(
        f"{verdict}. It took {monotonic() - began:.0f} s.", "bold red" if broken else "bold green"
    )
    return not broken


def play_out(playing: Coroutine[None, None, Evidence]) -> Evidence:
    """Run the play. Ctrl-C and SIGTERM cancel it in order, as KeyboardInterrupt; nothing interrupts
    the taking down."""

    async def cancellable() -> Evidence:
        task = asyncio.ensure_future(playing)
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        ignore_signals()


def interrupt(number: int, frame: object) -> NoReturn:
    """Before the play, the first signal ends the putting up."""
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """Interrupts do not stop the teardown."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
