"""The chart of the overview, with marks of the diary, and its lists."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.notices import Mark
from leaseq.ledger.session import Connection
from leaseq.ledger.statistics import Counted
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.observability.telemetry import emit
from leaseq.operations.statistics.read import Statistics, StatisticsStep, figures_of
from leaseq_api.ui.history_chart import (
    BARS_HEIGHT,
    HEIGHT,
    MOST_IN_SLOT,
    SIGNS,
    SLOTS,
    WIDTH,
    chart_of,
)
from support.api import Api
from support.dashboard import HOSTILE
from support.failures import GONE, Shop, count
from support.keys import headers_of
from support.ledger import open_worker
from support.running import occupied

BEGIN = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
STEP = 60


def statistics(*counted: Counted | None) -> Statistics:
    steps = [
        StatisticsStep(
            at=BEGIN + timedelta(seconds=STEP * number),
            seconds=float(STEP),
            figures=None if each is None else figures_of(each, STEP),
        )
        for number, each in enumerate(counted)
    ]
    return Statistics(
        window="1h",
        step_seconds=STEP,
        now=BEGIN,
        since=BEGIN,
        last_flush_at=BEGIN,
        reporting=1,
        unknown=None,
        total=None,
        steps=steps,
        types=[],
        queues=[],
    )


def mark(seconds: float, kind: str = "queue.paused", number: int = 1) -> Mark:
    at = BEGIN + timedelta(seconds=seconds)
    return Mark(notice_id=number, at=at, kind=kind, about="mail")


def test_outcomes_stand_on_one_another_and_a_gap_is_not_a_zero() -> None:
    chart = chart_of(
        statistics(Counted(succeeded=6, errored=6), None, Counted(), Counted(succeeded=3)), []
    )
    (good, bad), (gap,) = chart.layers, chart.gaps
    assert (good.outcome, good.count, bad.outcome, bad.count) == ("succeeded", 9, "errored", 6)
    half, quarter = BARS_HEIGHT / 2, BARS_HEIGHT / 4
    step = WIDTH / 4
    assert good.path == (
        f"M0.0 {HEIGHT - half}h{0.86 * step:.1f}v{half}h-{0.86 * step:.1f}z"
        f"M{3 * step} {HEIGHT - quarter}h{0.86 * step:.1f}v{quarter}h-{0.86 * step:.1f}z"
    )
    assert bad.path.startswith(f"M0.0 {HEIGHT - 2 * half}h")
    assert gap == (step, step)
    assert chart.most == pytest.approx(12 / STEP)
    # Newest first; the one in which nothing happened is left out.
    assert [each.at.minute for each in chart.steps] == [3, 1, 0]


def test_a_line_of_waits_breaks_where_they_are_not_known() -> None:
    waited = Counted(waits=[0, 0, 5])
    chart = chart_of(statistics(waited, waited, None, waited), [])
    assert [len(piece.split()) for piece in chart.p95] == [2, 2]
    assert chart.longest > 0
    assert chart_of(statistics(None, None), []).p95 == []


def test_a_mark_stands_at_its_time_and_leads_to_its_entry() -> None:
    kinds = [mark(30, kind, number) for number, kind in enumerate(SIGNS)]
    chart = chart_of(statistics(*[Counted()] * 60), [mark(3600, number=9), *kinds, mark(-1)])
    assert [each.sign for each in chart.marks] == [sign for sign, _ in SIGNS.values()]
    assert {each.x for each in chart.marks} == {WIDTH * 30 / 3600}
    assert chart.marks[1].address == "/ui/events?until=2026-11-30T03%3A00%3A31.000000Z#notice-1"
    first, *others = chart.slots
    assert (len(first.marks), first.more) == (MOST_IN_SLOT - 1, len(SIGNS) - MOST_IN_SLOT + 1)
    assert first.address == (
        "/ui/events?since=2026-11-30T03%3A00%3A00.000000Z&until=2026-11-30T03%3A05%3A00.000000Z"
    )
    assert [each.marks for each in others] == [[]] * (SLOTS - 1)


async def worked(api: Api, plain: Connection) -> None:
    """Counts and marks of the last minutes."""
    await plain.execute(
        "insert into leaseq.tally_flushes (process, role, flush, at)"
        " values (gen_random_uuid(), 'supervisor', 1, now())"
    )
    await plain.execute("update leaseq.stats_fold set began_at = now() - interval '8 days'")
    for step in (60, 600, 3600):
        await plain.execute(
            "insert into leaseq.stats select %s, date_bin(make_interval(secs => %s), now(), 'epoch'),"
            " 'mail', 'send', 9, 0, 9, 7, 1, 0, 0, 0, 1, 0, 0, 1, 1, '{0,9}', '{0,9}'",
            [step, step],
        )
    async with api.service.engine.announced("reaper"):
        emit("queue.paused", queue="mail")
        emit("worker.reaped", worker_id=HOSTILE, reason="x", tasks=1, sessions_ended=0, first=True)


@pytest.mark.parametrize("window", ["1h", "6h", "24h", "7d"])
async def test_the_chart_of_a_window_has_its_numbers_and_its_marks(
    api: Api, plain: Connection, window: str
) -> None:
    await worked(api, plain)
    text = (await api.client.get(f"/ui?window={window}")).text
    picture = text[text.index('<section id="history"') : text.index('<section id="queues"')]
    for word in ("succeeded 7", "errored 1", "lost 1", "wait p95"):
        assert word in picture
    assert "<img src=x" not in text
    marks = re.findall(r'href="(/ui/events\?until=[^"]+#notice-\d+)" title="([^"]+)"', picture)
    assert len(marks) == 2
    for address, words in marks:
        entry = unescape(address)
        page = (await api.client.get(entry)).text
        assert f'<tr id="{entry.partition("#")[2]}">' in page
        assert "was lost" in words or "was paused" in words
    (row,) = re.findall(r"<tr><th scope=\"row\">.*?</tr>", picture)
    counts = re.findall(r'<span class="count[^"]*">(\d+)</span>', row)
    assert counts == ["7", "1", "0", "0", "0", "1"]
    part = await api.client.get(f"/ui?window={window}&part=history")
    assert part.text.strip() in text


async def test_marks_are_for_operators_and_numbers_for_unbound_keys(
    guarded: Api, plain: Connection
) -> None:
    await worked(guarded, plain)
    for scopes, tenant, marks, numbers in (
        (["read"], None, False, True),
        (["read", "operate"], None, True, True),
        (["read", "operate"], "acme", False, False),
    ):
        key = await headers_of(guarded, scopes, tenant=tenant)
        text = (await guarded.client.get("/ui", headers=key)).text
        assert ("#notice-" in text, "succeeded 7" in text) == (marks, numbers)
    assert (await guarded.client.get("/ui?window=2h", headers=key)).status_code == 400


async def test_new_causes_of_failures_and_the_longest_runs_are_listed(
    config: Config, api: Api, plain: Connection
) -> None:
    stores = api.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    await shop.fail(replace(GONE, message=HOSTILE), then=State.FAILED)
    await shop.fail(replace(GONE, fingerprint="f" * 12), type="mail")
    await count(stores.failures)
    await plain.execute(
        "update leaseq.failures set first_seen = now() - interval '2 hours' where type = 'mail'"
    )
    async with occupied(config, api, count=2) as task_ids:
        text = (await api.client.get("/ui")).text
        longest = text[text.index('<section id="longest"') :]
        assert longest.count('<tr id="task-') == 2
        assert f'id="task-{task_ids[0]}"' in longest
        assert text.count('<tr id="failure-') == 1
        assert f'href="/ui/failures/add/{GONE.fingerprint}"' in text
        assert "<img src=x" not in text
        assert (await api.client.get("/ui?window=6h")).text.count('<tr id="failure-') == 2


async def test_a_queue_and_a_worker_lead_to_their_failures_and_their_entries(
    guarded: Api, worker_ledger: WorkerLedger
) -> None:
    stores = guarded.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    await shop.fail(GONE, queue="mail", then=State.FAILED)
    await count(stores.failures)
    worker_id = await open_worker(worker_ledger, "mail")
    for scopes, diary in ((["read"], False), (["read", "operate"], True)):
        key = await headers_of(guarded, scopes)
        text = (await guarded.client.get("/ui/queues/mail", headers=key)).text
        assert f'href="/ui/failures/add/{GONE.fingerprint}"' in text
        assert ('href="/ui/events?queue=mail"' in text) == diary
        text = (await guarded.client.get(f"/ui/workers/{worker_id}", headers=key)).text
        assert (f'href="/ui/events?worker_id={worker_id}"' in text) == diary


async def test_many_who_look_share_what_is_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    lists = api.service.lists
    for name in ("list_failures", "list_marks", "statistics", "list_types"):
        monkeypatch.setattr(lists, name, _counting(read, name, getattr(lists, name)))
    for _ in range(5):
        for part in ("history", "failures", "longest", "numbers"):
            assert (await api.client.get(f"/ui?part={part}")).status_code == 200
    assert sorted(read) == ["list_failures", "list_marks", "statistics", "statistics"]


def _counting(read: list[str], name: str, do: Any) -> Any:
    async def counted(*given: Any, **named: Any) -> Any:
        read.append(name)
        return await do(*given, **named)

    return counted
