"""An operation is tried again with the declared pauses, report and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.loop import Pauses, Retries, retry

AWAY = "away"


class Operation:
    """Fails with each of these errors in turn, then returns the number of its calls."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors = [*errors]

    async def __call__(self) -> int:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.calls


def away(count: int) -> list[Exception]:
    """So many outages, one after the other."""
    return [ServerUnreachable(f"{AWAY} {number}") for number in range(1, count + 1)]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of `asyncio.sleep`, which take no time."""
    taken: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        taken.append(seconds)
        await sleep(0)

    monkeypatch.setattr("leaseq.loop.asyncio.sleep", note)
    return taken


def messages(into: list[str]) -> Callable[[Exception], None]:
    """A report that notes the message of each error."""
    return lambda error: into.append(str(error))


async def test_a_first_try_that_succeeds_pauses_and_reports_nothing(pauses: list[float]) -> None:
    reported: list[str] = []
    assert await retry(Operation(), Retries(Pauses(1.0), report=messages(reported))) == 1
    assert (pauses, reported) == ([], [])


async def test_pauses_grow_up_to_their_cap(pauses: list[float]) -> None:
    retries = Retries(Pauses(0.1, growth=2.0, cap=0.5))
    assert await retry(Operation(*away(5)), retries) == 6
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert retries.failures == 5


def test_pauses_after_any_number_of_failures_are_finite() -> None:
    assert Pauses(0.1, growth=2.0, cap=1.0).after(10_000) == 1.0
    assert Pauses(0.1).after(10_000) == 0.1


@pytest.mark.parametrize(("every", "expected"), [(False, 1), (True, 3)])
async def test_an_outage_is_reported_once_or_with_every_error(
    pauses: list[float], every: bool, expected: int
) -> None:
    reported: list[str] = []
    retries = Retries(Pauses(0.1), report=messages(reported), every=every)
    await retry(Operation(*away(3)), retries)
    assert reported == [f"{AWAY} {number}" for number in range(1, expected + 1)]


async def test_an_outage_after_a_success_is_reported_again(pauses: list[float]) -> None:
    reported: list[str] = []
    retries = Retries(Pauses(0.1, growth=2.0), report=messages(reported))
    for _ in range(2):
        await retry(Operation(*away(2)), retries)
        retries.failures = 0
    assert reported == [f"{AWAY} 1"] * 2
    assert pauses == [0.1, 0.2] * 2


async def test_the_last_error_is_raised_when_the_time_is_over(pauses: list[float]) -> None:
    operation, reported = Operation(*away(9)), list[str]()
    with pytest.raises(ServerUnreachable, match=f"{AWAY} 1$"):
        await retry(operation, Retries(Pauses(60.0), report=messages(reported), seconds=30.0))
    assert (operation.calls, pauses, reported) == (1, [], [])


async def test_a_stop_ends_the_pause_and_raises_the_last_error() -> None:
    stop, failed, operation = asyncio.Event(), asyncio.Event(), Operation(*away(9))
    retries = Retries(Pauses(3600.0), report=lambda _: failed.set(), stop=stop)
    running = asyncio.create_task(retry(operation, retries))
    await failed.wait()
    stop.set()
    with pytest.raises(ServerUnreachable, match=f"{AWAY} 1$"):
        await running
    assert operation.calls == 1


async def test_an_error_that_waiting_does_not_change_is_raised(pauses: list[float]) -> None:
    operation, reported = Operation(*away(1), DispatchForeign()), list[str]()
    with pytest.raises(DispatchForeign):
        await retry(
            operation, Retries(Pauses(0.1), report=messages(reported)), unless=DispatchForeign
        )
    assert (operation.calls, reported) == (2, [f"{AWAY} 1"])


async def test_any_other_error_is_raised(pauses: list[float]) -> None:
    operation = Operation(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await retry(operation, Retries(Pauses(0.1)))
    assert (operation.calls, pauses) == (1, [])


@pytest.mark.parametrize("during", ["try", "pause"])
async def test_a_cancellation_passes_through(during: str) -> None:
    began = asyncio.Event()

    async def act() -> None:
        began.set()
        if during == "try":
            await asyncio.Event().wait()
        raise ServerUnreachable(AWAY)

    running = asyncio.create_task(retry(act, Retries(Pauses(3600.0))))
    await began.wait()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
