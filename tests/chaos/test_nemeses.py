"""Each nemesis injects its fault, and its heal removes it.

One or two of each family run with the ordinary tests, all of them with LEASEQ_TEST_ALL_NEMESES=1.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from time import time

import aiohttp
import msgspec
import psycopg
import pytest
import pytest_asyncio
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

import support.nemeses_failover
import support.nemeses_network
import support.nemeses_rogues  # noqa: F401 (its proofs)
from leaseq_chaos.cluster.cluster import Cluster, Layout, open_cluster
from leaseq_chaos.cluster.stores import REDIS_PREFIX
from leaseq_chaos.history import Kind, read_history
from leaseq_chaos.nemesis import clocks
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.nemesis.nemesis import Impossible
from leaseq_chaos.scenario import DEFAULT_CONFIG
from leaseq_chaos.workload.accounts import prepare
from support.nemeses import (
    ALL,
    PROOFS,
    SILENCE,
    Hurt,
    asked,
    ended,
    eventually,
    eventually_said,
    followed,
    gone,
    has_faked_clock,
    inflicted,
    proves,
    stopped,
    whole,
)
from support.source_tree import ROOT

HOUR = 3600
KEY = "untouched"
CLOCKS = ("clock-and-kill", "clock-api", "clock-reaper", "clock-valkey", "clock-worker")
ORDINARY = (
    "kill-child kill-worker freeze-worker-briefly more-reapers poison-hang flushall restore-valkey fill-valkey kill-backends "
    "readonly-postgres lock-tasks drop-reply-postgres lose-commit-postgres half-open-valkey refuse-api clock-valkey "
    "partition-and-flush failover-postgres-sync failover-killed-postgres lose-standby-postgres demote-valkey"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    layout = Layout(
        evidence=tmp_path_factory.mktemp("nemeses"),
        config=DEFAULT_CONFIG,
        workers=1,
        processes=1,
        other_tree=ROOT,
        disks=ALL,
    )
    async with open_cluster(layout) as opened:
        await prepare(opened.postgres, accounts=2, cents=100)
        yield opened


@pytest.mark.slow("a cluster for each nemesis")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", sorted(NEMESES) if ALL else ORDINARY.split())
async def test_nemesis_injects_and_heals(cluster: Cluster, name: str) -> None:
    reason = await NEMESES[name].unable(cluster)
    if reason is not None:
        pytest.skip(reason)
    await whole(cluster)
    await PROOFS[name](cluster, inflicted(cluster, name))
    await whole(cluster)


@pytest.mark.asyncio(loop_scope="module")
async def test_unsupported_nemesis_names_the_reason(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "LIBRARIES", ("nowhere",))
    monkeypatch.setattr(cluster, "layout", msgspec.structs.replace(cluster.layout, other_tree=None))
    monkeypatch.setattr(cluster, "disks", {})
    monkeypatch.setattr(cluster, "no_disks", "there is no small disk")
    unable = {
        name: reason
        for name in NEMESES
        if (reason := await NEMESES[name].unable(cluster)) is not None
    }
    assert unable == {
        **dict.fromkeys(
            ("clock-and-kill", "clock-api", "clock-reaper", "clock-valkey", "clock-worker"),
            "libfaketime is not installed",
        ),
        **dict.fromkeys(("fill-postgres-disk", "fill-valkey-disk"), "there is no small disk"),
        "mixed-versions": "no other version was given (--old)",
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_target_it_is_impossible_just_now(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "services", {})
    for name in (
        "kill-child",
        "kill-reaper",
        "freeze-api",
        "rolling-restart",
        "clock-worker",
        "partition-and-flush",
    ):
        with pytest.raises(Impossible):
            await NEMESES[name].inject(cluster, Random(0))


def test_every_nemesis_has_a_proof() -> None:
    assert PROOFS.keys() == NEMESES.keys()


@proves("kill-child")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        await eventually(lambda: all(gone(pid) for pid in injury.pids))
        worker = cluster.services[injury.target]
        assert len(injury.pids) == len(injury.workers) == 1
        assert worker.alive


@proves(
    "kill-worker",
    "kill-supervisor",
    "kill-newborn",
    "kill-reaper",
    "kill-api",
    "pause-and-kill",
    "kill-reaping-supervisor",
)
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        service = cluster.services[injury.target]
        assert injury.pids
        assert bool(injury.workers) == (service.kind == "worker")
        assert not service.alive
        await asyncio.sleep(SILENCE)
        assert not service.alive, "it stays down"
        await eventually(lambda: all(gone(pid) for pid in injury.pids) and not service.children)


@proves(
    "freeze-child",
    "hang-child",
    "freeze-worker-briefly",
    "freeze-worker",
    "freeze-reaper",
    "freeze-api",
)
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.pids
        await eventually(lambda: all(stopped(pid) for pid in injury.pids))
        if injury.target.startswith("api"):
            with pytest.raises(TimeoutError):
                await asked(cluster.proxies["api@api-1"], patience=SILENCE)
    await eventually(lambda: not any(stopped(pid) for pid in injury.pids if not gone(pid)))


@proves("rolling-restart")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    (worker,) = cluster.of("worker")
    lives = len(worker.exits)
    async with hurt as injury:
        assert injury.pids == worker.pids
    assert worker.exits[lives:] == [0]
    assert not set(injury.pids) & set(worker.pids)


@proves("more-reapers", "mixed-versions")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    before = set(cluster.services)
    async with hurt as injury:
        added = [cluster.services[name] for name in sorted(set(cluster.services) - before)]
        assert [service.name for service in added] == sorted(injury.detail["added"])
        for service in added:
            await service.ready()
        trees = [service.command.tree for service in added]
        assert trees == ([None] if injury.target == "reapers" else [ROOT, ROOT])
        pids = [pid for service in added for pid in service.pids]
        assert len(pids) >= len(added)
    assert set(cluster.services) == before
    await eventually(lambda: all(gone(pid) for pid in pids))


@proves("pause-queue")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    headers, body = {"Idempotency-Key": "paused"}, {"type": "plain", "payload": {"n": 1}}
    assert (await ended(cluster, "plain", {"n": 0}))["state"] == "SUCCESS", "the queue is known now"
    async with aiohttp.ClientSession(cluster.fronts[0], raise_for_status=True) as session:

        async def says_paused() -> bool:
            async with session.get("/api/queues") as answer:
                return any(queue["paused"] for queue in (await answer.json())["queues"])

        async with hurt as injury:
            assert injury.target == "side"
            assert await says_paused()
            async with session.post("/api/tasks", json=body, headers=headers) as accepted:
                task = (await accepted.json())["task_id"]
            async with session.get(f"/api/tasks/{task}", params={"wait": "1"}) as answer:
                assert (await answer.json())["state"] == "PENDING"
        assert not await says_paused()
    assert (await followed(cluster, task))["state"] == "SUCCESS"


@proves("poison-hang", "poison-segfault", "poison-bomb", "poison-block")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        said = [
            event for event in read_history(cluster.history) if event.key == injury.detail["key"]
        ]
        assert [event.kind for event in said] == [Kind.INVOKE, Kind.OK]
        assert said[-1].task is not None
        task = await followed(cluster, said[-1].task)
        assert task["state"] == "FAILED"
        assert task["error"]["code"] == (
            "timeout" if injury.detail["type"] == "hang" else "crashed"
        )


# Valkey.


@proves("kill-valkey", "kill-valkey-without-data")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with cluster.valkey.client() as client:
        await client.set(KEY, "1")
    async with hurt as injury:
        assert cluster.valkey.server.pid is None
        assert all(gone(pid) for pid in injury.pids)
    async with cluster.valkey.client() as client:
        await client.delete(KEY)


@proves("restore-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    last = 0

    async def go_on() -> None:
        nonlocal last
        async with cluster.valkey.client() as client:
            with suppress(RedisError):
                while True:
                    last = await client.incr(KEY)
                    await asyncio.sleep(0.01)

    going = asyncio.create_task(go_on())
    await eventually(lambda: last > 0)
    async with hurt:
        await going
    async with cluster.valkey.client() as client:
        restored = int(await client.get(KEY) or 0)
        await client.delete(KEY)
    assert restored < last - 10, "what was written last is lost"


@proves("flushall", "flush-and-freeze", "partition-and-flush")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with cluster.valkey.client() as client:
        await client.set(KEY, "1")
        async with hurt as injury:
            assert await client.get(KEY) is None
            await eventually(lambda: all(stopped(pid) for pid in injury.pids))
            if "valkey@" in injury.target:
                with pytest.raises(TimeoutError):
                    await asked(cluster.proxies["valkey@worker-1"], patience=SILENCE)


@proves("freeze-valkey", "freeze-valkey-long")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        await eventually(lambda: stopped(cluster.valkey.server.pid))
        assert injury.pids == [cluster.valkey.server.pid]


@proves("fill-valkey", "readonly-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with cluster.valkey.client() as client:
        async with hurt:
            with pytest.raises((OutOfMemoryError, ReadOnlyError)):
                await client.set(KEY, "1")
        assert await client.set(KEY, "1")
        await client.delete(KEY)


@proves("slow-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with cluster.valkey.client() as client:
        async with hurt:
            with pytest.raises(ResponseError, match="BUSY"):
                await client.execute_command("get", KEY)  # type: ignore[no-untyped-call]
        assert await client.config_get("busy-reply-threshold") == {"busy-reply-threshold": "5000"}


@proves("duplicate-deliveries")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    slow = asyncio.create_task(ended(cluster, "slow", {"seconds": 1}))
    async with cluster.valkey.client() as client:

        async def held() -> bool:
            return bool([key async for key in client.scan_iter(f"{REDIS_PREFIX}:*:processing:*")])

        await eventually_said(held)
        async with hurt as injury:
            assert injury.detail["deliveries"] == 1
    assert (await slow)["state"] == "SUCCESS"


# Postgres.


@proves("kill-backends")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.pids
        await eventually(lambda: all(gone(pid) for pid in injury.pids))


@proves("kill-backend-hard")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    bystander = await cluster.postgres.connect()
    async with hurt as injury:
        assert len(injury.pids) == 1
        await eventually(lambda: gone(injury.pids[0]))
    with pytest.raises(psycopg.OperationalError):
        await bystander.execute("select 1")
    await bystander.close()


@proves("restart-postgres", "restart-postgres-and-kill-reaper")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert cluster.postgres.server.pid is None
        assert all(gone(pid) for pid in injury.pids)
        assert cluster.services["reaper-1"].alive == (injury.target == "postgres")


@proves("freeze-postgres")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.pids[0] == cluster.postgres.server.pid
        await eventually(lambda: all(stopped(pid) for pid in injury.pids))


@proves("exhaust-postgres")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.detail["connections"] > 20
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            await cluster.postgres.connect()


@proves("readonly-postgres")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await cluster.postgres.fetch("fill_accounts", {"accounts": 0, "cents": 0})


@proves("lock-tasks")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    slow = asyncio.create_task(ended(cluster, "slow", {"seconds": 1.5}))

    async def running() -> bool:
        return any("PROCESSING" in row for row in await cluster.postgres.fetch("list_tasks"))

    await eventually_said(running)
    async with hurt as injury:
        assert injury.detail["tasks"] == 1
        done, _ = await asyncio.wait([slow], timeout=2)
        assert not done, "its ending waits for the row"
    assert (await slow)["state"] == "SUCCESS"


# Clocks and disks.


@proves("clock-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async def ahead() -> float:
        async with cluster.valkey.client() as client:
            seconds, _ = await client.time()
        return float(seconds) - time()

    async def jumped() -> bool:
        return await ahead() > HOUR - 10

    async with hurt as injury:
        assert injury.detail["jump"] == "+1h"
        await eventually_said(jumped)
    assert abs(await ahead()) < 10


@proves("clock-worker", "clock-reaper")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert all(map(has_faked_clock, injury.pids))
        assert injury.detail["jump"] == "+1h"
    assert not os.path.exists(injury.detail["folder"])  # noqa: ASYNC240, PTH110


@proves("clock-and-kill")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert injury.detail["jump"] == "+1h"
        assert not cluster.services[injury.target].alive
        await eventually(lambda: all(gone(pid) for pid in injury.pids))
    assert cluster.services[injury.target].alive
    assert not os.path.exists(injury.detail["folder"])  # noqa: ASYNC240, PTH110


@proves("fill-valkey-disk", "fill-postgres-disk")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        disk = os.statvfs(cluster.disks[injury.target])
        assert injury.detail["bytes"] > 2**20
        assert disk.f_bavail * disk.f_frsize < 2**20
