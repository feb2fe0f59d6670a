"""Each failure counts once, although the reaper that counts it is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.failures import FailureFilter
from support.failures import GONE, Shop
from support.processes import Services
from support.reaper import Stage
from support.worker import until

BLOCKED = (
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    " and query like '%%uncounted_failures%%' and datname = current_database()"
)


async def counted(stage: Stage) -> int:
    page = await stage.stores.failures.list_groups(FailureFilter(), tenant=None)
    return sum(group.in_day for group in page.groups)


async def until_counted(stage: Stage, count: int) -> None:
    async def is_counted() -> bool:
        return not await left(stage) and await counted(stage) >= count

    await until(is_counted)
    assert await counted(stage) == count


async def left(stage: Stage) -> int:
    return await number(stage, "select count(*) from leaseq.uncounted_failures")


async def number(stage: Stage, query: str) -> int:
    cursor = await stage.plain.execute(query.encode())
    (found,) = await cursor.fetchone() or (0,)
    return int(found)


async def test_a_reaper_that_is_killed_while_it_waits_for_a_group(
    stage: Stage, services: Services, config: Config
) -> None:
    """A person acknowledges the group in a transaction that is still open. The statement of the
    killed reaper may go on in Postgres: its effect is all or nothing, and the next reaper finds the
    rest."""
    shop = Shop(stage.stores.tasks, stage.stores.workers)
    await shop.fail()
    first = await services.reaper()
    await until_counted(stage, 1)

    async def is_blocked() -> bool:
        return bool(await number(stage, BLOCKED))

    async with await psycopg.AsyncConnection.connect(str(config.postgres_url)) as person:
        await person.execute("update leaseq.failures set acknowledged_by = 'ada'")
        await shop.fail(times=4)
        await until(is_blocked)
        first.signal(signal.SIGKILL)
        assert await first.ended() == -signal.SIGKILL
        assert await counted(stage) == 1
    await services.reaper()
    await until_counted(stage, 5)


async def test_a_reaper_that_is_killed_behind_its_commit(
    stage: Stage, services: Services, tmp_path: Path
) -> None:
    services.executing = True
    shop = Shop(stage.stores.tasks, stage.stores.workers)
    await shop.fail(times=3)
    (tmp_path / "failures.counted").write_text("kill")
    first = await services.reaper(LEASEQ_CHAOS_FAILPOINTS=str(tmp_path))
    assert await first.ended() == -signal.SIGKILL
    assert (await counted(stage), await left(stage)) == (3, 0)
    await shop.fail(replace(GONE, fingerprint="f" * 12))
    second = await services.reaper()
    await second.hear("failure.appeared")
    await until_counted(stage, 4)
