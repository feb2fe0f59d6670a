"""A reaper pushes tasks that another process has admitted and not pushed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import VARIABLE
from leaseq.ledger.limits import HANDOFF_SECONDS
from leaseq.limits import LimitBounds
from leaseq.operations.admissions import Admissions
from leaseq.operations.push import Pusher
from leaseq_reaper.duties.admit import Admit
from support.processes import Services
from support.reaper import Stage

LIMIT, COUNT = "stripe", 5


async def line_up(stage: Stage) -> list[str]:
    """Tasks that wait for permits of a limit that has room for all of them."""
    await stage.stores.limits.put(LimitBounds(name=LIMIT, concurrency=COUNT))
    return sorted(await stage.submit(COUNT, push=False, limit=LIMIT))


async def handoffs(stage: Stage) -> int:
    cursor = await stage.plain.execute("select count(*) from leaseq.handoffs")
    (found,) = await cursor.fetchone() or (0,)
    return int(found)


async def age(stage: Stage) -> None:
    await stage.plain.execute("update leaseq.handoffs set at = at - interval '1 minute'")


@pytest.mark.parametrize("point", ["admit.committed", "admit.sent"])
async def test_tasks_of_a_killed_process_are_pushed_soon(
    stage: Stage, services: Services, tmp_path: Path, point: str
) -> None:
    """Without the reconciler, whose passes are an hour apart."""
    services.executing = True
    ids = await line_up(stage)
    (tmp_path / point).write_text("kill")
    env = {VARIABLE: str(tmp_path), "LEASEQ_RECONCILE_INTERVAL_SECONDS": "3600"}
    first = await services.reaper(**env)
    assert await first.ended() == -signal.SIGKILL
    assert await handoffs(stage) == 1
    await asyncio.sleep(HANDOFF_SECONDS)
    admit = Admit(stage.stores)
    await admit.run_once()
    assert await handoffs(stage) == 0
    pushed = await stage.lane()
    assert sorted(set(pushed)) == ids
    await admit.run_once()
    assert await stage.lane() == pushed


async def test_a_handoff_that_is_claimed_is_deleted_and_not_pushed(stage: Stage) -> None:
    ids = await line_up(stage)
    await stage.stores.limits.admit(LIMIT)
    await stage.plain.execute(
        "update leaseq.tasks set state = 'CANCELLED', finished_at = now(), expires_at = now()"
    )
    await age(stage)
    await Admit(stage.stores).run_once()
    assert ids
    assert (await handoffs(stage), await stage.lane()) == (0, [])


async def test_a_handoff_outlives_a_push_that_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await line_up(stage)
    pusher = Pusher(stage.stores.dispatcher)
    admissions = Admissions(stage.stores.limits, stage.stores.tasks, pusher)

    async def refused(*_: object, **__: object) -> list[str]:
        raise ServerUnreachable("redis is away")

    with monkeypatch.context() as broken:
        broken.setattr(Dispatcher, "push", refused)
        admissions.ask([LIMIT])
        await admissions.aclose()
        assert await handoffs(stage) == 1
        await age(stage)
        admit = Admit(stage.stores)
        with pytest.raises(ServerUnreachable):
            await admit.run_once()
    await admit.run_once()
    assert await stage.lane() == ids
    assert await handoffs(stage) == 0


async def test_an_admission_deletes_the_handoffs_of_those_before(stage: Stage) -> None:
    await line_up(stage)
    pusher = Pusher(stage.stores.dispatcher)
    admissions = Admissions(stage.stores.limits, stage.stores.tasks, pusher)
    admissions.ask([LIMIT, "missing"])
    await admissions.aclose()
    assert await handoffs(stage) == 0
    assert len(await stage.lane()) == COUNT
