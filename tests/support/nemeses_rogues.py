"""The endings of misbehaving handlers, long snapshots and wrong clocks.

The proofs of those nemeses, for tests/chaos/test_nemeses.py, which they come to by being imported
there.
"""

from __future__ import annotations

from typing import Any

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.history import Kind, read_history
from leaseq_chaos.nemesis.nemesis import Injury
from support.nemeses import Hurt, ended, followed, has_faked_clock, proves


@proves("poison-meddle", "poison-keep", "poison-linger")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert (await task_of(cluster, injury))["state"] == "SUCCESS"
    observed = await ended(cluster, "observe", {})
    assert observed["state"] == "SUCCESS"
    (seen,) = [
        event
        for event in read_history(cluster.history)
        if (event.op, event.task) == ("session", observed["task_id"])
    ]
    assert seen.value == {"marks": ""}


@proves("poison-sever", "poison-finish", "poison-leave")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        task = await task_of(cluster, injury)
        assert task["state"] == "FAILED"
        assert task["error"]["code"] != "crashed"


@proves("long-snapshot")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.detail["connections"] == 1
        assert (await ended(cluster, "note", {"n": 1}))["state"] == "SUCCESS"
        async with await cluster.postgres.connect() as conn:
            cursor = await conn.execute(
                "select count(*) from pg_stat_activity where backend_xmin is not null and state <> 'active'"
            )
            assert await cursor.fetchone() == (1,)


@proves("many-queues", "many-backlogs")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    workers = set(cluster.services)
    async with hurt as injury:
        about = {"prefix": injury.detail["prefix"]}
        assert await cluster.postgres.fetch("count_in_queues", about) == [(injury.detail["tasks"],)]
        assert injury.detail["tasks"] >= 1000
        assert (await ended(cluster, "note", {"n": 1}))["state"] == "SUCCESS", (
            "its neighbours go on"
        )
    assert await cluster.postgres.fetch("count_in_queues", about) == [(0,)]
    assert set(cluster.services) == workers


@proves("clock-api")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert all(map(has_faked_clock, injury.pids))
        assert injury.detail["jump"] == "+1d"
        assert (await ended(cluster, "note", {"n": 1}))["state"] == "SUCCESS"


async def task_of(cluster: Cluster, injury: Injury) -> dict[str, Any]:
    """The task that such a fault has submitted, when it has ended."""
    said = [event for event in read_history(cluster.history) if event.key == injury.detail["key"]]
    assert [event.kind for event in said] == [Kind.INVOKE, Kind.OK]
    assert said[-1].task is not None
    return await followed(cluster, said[-1].task)
