"""Services announce themselves, fall silent, stop, and are pruned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.errors import ServerUnreachable
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.services import ServiceLedger, ServiceRecord
from leaseq.ledger.session import Connection, Session
from leaseq.operations import announcement
from leaseq.operations.announcement import announced
from support.worker import until


@pytest.fixture
def services_ledger(session: Session) -> ServiceLedger:
    return ServiceLedger(session)


async def announce(ledger: ServiceLedger, name: str, **detail: Any) -> None:
    await ledger.announce(
        name, "reaper", process=("here", 7, "1"), beat_seconds=10.0, detail=detail
    )


async def only(ledger: ServiceLedger) -> ServiceRecord:
    (found,) = await ledger.list_services()
    return found


async def age(plain: Connection, name: str, seconds: float) -> None:
    """Set its last beat back."""
    await plain.execute(
        "update leaseq.services set last_seen = last_seen - make_interval(secs => %s) where id = %s",
        [seconds, name],
    )


async def test_a_beat_moves_the_time_and_keeps_the_row(
    services_ledger: ServiceLedger, plain: Connection
) -> None:
    await announce(services_ledger, "a")
    first = await only(services_ledger)
    assert first.is_alive
    await announce(services_ledger, "a", failing=["promote"])
    second = await only(services_ledger)
    assert second.started_at == first.started_at
    assert second.last_seen > first.last_seen
    assert second.detail == b'{"failing":["promote"]}'


async def test_silence_of_three_beats_is_absence(
    services_ledger: ServiceLedger, plain: Connection
) -> None:
    await announce(services_ledger, "a")
    await age(plain, "a", 31)
    assert not (await only(services_ledger)).is_alive
    await announce(services_ledger, "a")  # it was frozen, and goes on
    assert (await only(services_ledger)).is_alive


async def test_an_orderly_end_is_known_immediately(services_ledger: ServiceLedger) -> None:
    await announce(services_ledger, "a")
    await services_ledger.end("a")
    ended = await only(services_ledger)
    assert not ended.is_alive
    assert ended.ended_at is not None


async def test_the_open_ones_of_each_role_come_first(
    services_ledger: ServiceLedger, plain: Connection
) -> None:
    for name in ("old", "gone", "new"):
        await announce(services_ledger, name)
    await services_ledger.end("gone")
    await age(plain, "old", 5)
    found = await services_ledger.list_services()
    assert [each.service_id for each in found] == ["new", "old", "gone"]
    assert [each.service_id for each in await services_ledger.list_services(limit=1)] == ["new"]


async def test_services_not_seen_for_a_day_are_pruned(
    services_ledger: ServiceLedger, maintenance: Maintenance, plain: Connection
) -> None:
    for name in ("old", "new"):
        await announce(services_ledger, name)
    await age(plain, "old", 90_000)
    assert await maintenance.prune_services(retention_seconds=86_400.0) == 1
    assert (await only(services_ledger)).service_id == "new"


async def test_a_process_announces_itself_until_it_ends(
    services_ledger: ServiceLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement, "LOOK_SECONDS", 0.01)
    failing: list[str] = []

    async def detail() -> bytes:
        found = await services_ledger.list_services()
        return found[0].detail if found else b""

    async with announced(services_ledger, "reaper", lambda: {"failing": [*failing]}):
        await until(lambda: _is(detail(), b'{"failing":[]}'))
        failing.append("promote")  # known before the next beat
        await until(lambda: _is(detail(), b'{"failing":["promote"]}'))
    assert (await only(services_ledger)).ended_at is not None


async def test_an_outage_delays_neither_the_process_nor_its_end(
    services_ledger: ServiceLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = asyncio.Event()

    async def away(*_: Any, **__: Any) -> None:
        looks.set()
        raise ServerUnreachable("away")

    monkeypatch.setattr(services_ledger, "announce", away)
    monkeypatch.setattr(services_ledger, "end", away)
    async with announced(services_ledger, "api"):
        await looks.wait()


async def _is(found: Any, wanted: bytes) -> bool:
    return bool(await found == wanted)
