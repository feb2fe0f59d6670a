"""A loop continues after errors, and stops when asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from leaseq import loop
from leaseq.errors import ServerUnreachable
from leaseq.loop import end, pause, run_forever
from leaseq.observability.telemetry import recorded


class Rounds:
    """A run_once that fails a number of times, and stops its loop after a number of rounds."""

    def __init__(self, *, rounds: int, error: Exception | None = None, failures: int = 0) -> None:
        self.stop = asyncio.Event()
        self.count = 0
        self._rounds = rounds
        self._error = error
        self._failures = failures

    async def run_once(self) -> None:
        self.count += 1
        if self.count == self._rounds:
            self.stop.set()
        if self._error is not None and self.count <= self._failures:
            raise self._error


async def _run(
    rounds: Rounds, *, interval_seconds: float = 0.0, error_cap_seconds: float = 0.0
) -> None:
    await run_forever(
        rounds.run_once,
        name="tested",
        interval_seconds=interval_seconds,
        stop=rounds.stop,
        error_cap_seconds=error_cap_seconds,
    )


async def test_loop_runs_until_it_is_stopped() -> None:
    rounds = Rounds(rounds=5)
    await _run(rounds)
    assert rounds.count == 5


async def test_loop_stopped_before_its_start_does_not_run() -> None:
    rounds = Rounds(rounds=5)
    rounds.stop.set()
    await _run(rounds)
    assert rounds.count == 0


async def test_every_error_of_a_duty_is_logged_and_survived() -> None:
    rounds = Rounds(rounds=4, error=ValueError("odd"), failures=3)
    with recorded() as events:
        await _run(rounds)
    assert [event.fields["error"] for event in events if event.name == "loop.failed"] == [
        "ValueError: odd"
    ] * 3


async def test_outage_is_logged_once() -> None:
    rounds = Rounds(rounds=6, error=ServerUnreachable(), failures=4)
    with recorded() as events:
        await _run(rounds)
    assert [event.name for event in events] == ["loop.failed"]


async def test_an_outage_of_any_length_is_survived() -> None:
    """2**1024 no longer fits a float: at a round every two seconds that is reached after half an
    hour."""
    rounds = Rounds(rounds=1_500, error=ServerUnreachable(), failures=1_499)
    await _run(rounds, interval_seconds=1e-6, error_cap_seconds=1e-6)
    assert rounds.count == 1_500


async def test_the_wait_grows_during_an_outage_up_to_its_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def note(seconds: float, *, stop: asyncio.Event) -> None:
        waits.append(seconds)

    monkeypatch.setattr("leaseq.loop.pause", note)
    monkeypatch.setattr("leaseq.loop.random", lambda: 0.5)
    rounds = Rounds(rounds=7, error=ServerUnreachable(), failures=6)

    await _run(rounds, interval_seconds=0.1, error_cap_seconds=1.0)

    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.1])


async def test_a_cancellation_is_not_swallowed() -> None:
    began = asyncio.Event()

    async def run_once() -> None:
        began.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(
        run_forever(run_once, name="tested", interval_seconds=1, stop=asyncio.Event())
    )
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_stop_ends_a_pause() -> None:
    stop = asyncio.Event()
    pausing = asyncio.create_task(pause(60, stop=stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(pausing, timeout=5)


async def test_a_pause_takes_its_time() -> None:
    began = time.monotonic()
    await pause(0.02, stop=asyncio.Event())
    assert time.monotonic() - began >= 0.015
    await pause(0, stop=asyncio.Event())
    await pause(-1, stop=asyncio.Event())


async def test_lost_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.01)
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    async def failing() -> None:
        raise ValueError("its own affair")

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    await end(*tasks)
    assert [task.done() for task in tasks] == [True, True]
    assert lost == 3
    assert isinstance(tasks[1].exception(), ValueError)
    await end()
