"""Failovers of the ledger to a promoted standby.

The address moves, while the old primary lives on, freezes or dies.

With a synchronous standby nothing that was acknowledged may be lost. Without one, what the old
primary committed beyond the position at which the new one branched off is lost, and only that; the
position is in the detail of the fault, the commits are in `lost.jsonl`. Invariants: the slot of the
new primary exists before a client can write there; each heal leaves one primary, with no standby
and no session on the old one; a failover that fails half way leaves the old primary in charge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.proxy import Proxy, Way
from leaseq_chaos.cluster.stores import Postgres
from leaseq_chaos.history import boottime
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = ["FailOver", "Fate", "LoseStandby"]

COPY_SECONDS = 60.0
TOGETHER_SECONDS = (0.3, 1.5)  # from the first commit that waits for the standby to its promotion
LAG_SECONDS = (0.0, 0.5)  # how far an asynchronous standby is behind
READING_SECONDS = (0.5, 3.0)  # for so long the address leads to a standby that takes no writes
LAST_WORD_SECONDS = 0.2  # until the last messages of a frozen standby have arrived
POLL_SECONDS = 0.05
READ_ONLY = {"default_transaction_read_only": "on"}


class Fate(StrEnum):
    """The fate of the old primary."""

    LIVES = "lives"  # keeps its connections, and takes writes as far as it can
    FREEZES = "freezes"  # SIGSTOP to all of it; it wakes at the heal
    DIES = "dies"  # SIGKILL
    YIELDS = "yields"  # stopped in order; the address leads to the standby before that is promoted


class _Pair:
    """The primary, and a standby that streams from it through a way that can be cut."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary = primary
        self.standby = standby
        self.way = Proxy("postgres@standby", primary.port)

    async def dissolve(self) -> None:
        """The primary waits for no standby any more, and the standby is gone."""
        if self.primary.answers:
            await _wait_for(self.primary, None)
        await self.way.aclose()
        await self.standby.destroy()


class FailOver(Fault):
    """A standby is made, lives beside its primary for a while, and takes its place."""

    def __init__(
        self, name: str, seconds: tuple[float, float], *, fate: Fate, synchronous: bool
    ) -> None:
        super().__init__(name, seconds)
        self._fate = fate
        self._synchronous = synchronous

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        await cluster.seal()
        pair = await _pair(cluster, read_only=self._fate is Fate.YIELDS)
        try:
            if self._synchronous:
                await _synchronize(pair)
            await asyncio.sleep(rng.uniform(*TOGETHER_SECONDS))
            if not self._synchronous and self._fate is not Fate.YIELDS:
                pair.way.stall(Way.BACK)
                await asyncio.sleep(rng.uniform(*LAG_SECONDS))
            async with cluster.moving:
                since = boottime()
                try:
                    await self._part(cluster, pair, rng)
                    promoted = boottime()
                    await _promote(pair)
                    await _take_over(cluster, pair)
                except BaseException:
                    await _undo(cluster, pair)
                    raise
        except BaseException:
            await pair.dissolve()
            raise
        await pair.way.aclose()
        detail = {
            "since": since,
            "promoted": promoted,
            "timeline": pair.primary.timeline,
            "branched": pair.primary.branched,
            "synchronous": self._synchronous,
            "fate": self._fate.value,
        }
        return Injury(target="postgres", detail=detail)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.seal()
        await cluster.postgres.ready()

    async def _part(self, cluster: Cluster, pair: _Pair, rng: Random) -> None:
        """Steps on the old primary before the new one is made."""
        match self._fate:
            case Fate.FREEZES:
                pair.primary.freeze()
            case Fate.DIES:
                await pair.primary.kill()
            case Fate.YIELDS:
                await pair.primary.stop("fast")
                cluster.lead("postgres", pair.standby.port)
                await asyncio.sleep(rng.uniform(*READING_SECONDS))
            case Fate.LIVES:
                pass


class LoseStandby(Fault):
    """A synchronous standby freezes, so that no commit is acknowledged, and comes back before it is
    given up."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds)
        self._pairs: list[_Pair] = []

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        await cluster.seal()
        pair = await _pair(cluster, read_only=False)
        try:
            await _synchronize(pair)
            await asyncio.sleep(rng.uniform(*TOGETHER_SECONDS))
            pids = pair.standby.pids()
            since = boottime()
            pair.standby.freeze()
            await asyncio.sleep(LAST_WORD_SECONDS)
            async with store_must_answer("Postgres"):
                flushed = max(flushed for _, flushed in await pair.primary.fetch("find_standbys"))
        except BaseException:
            await pair.dissolve()
            raise
        self._pairs.append(pair)
        return Injury(target="postgres", pids=pids, detail={"since": since, "flushed": flushed})

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        while self._pairs:
            pair = self._pairs[-1]
            pair.standby.thaw()
            await _caught_up(pair)
            await pair.dissolve()
            self._pairs.pop()
        await cluster.postgres.ready()


async def _pair(cluster: Cluster, *, read_only: bool) -> _Pair:
    """Make a standby of the present primary. Raises Impossible."""
    primary = cluster.postgres
    if not primary.answers:
        raise Impossible("Postgres does not run just now")
    pair = _Pair(primary, Postgres(cluster.next_directory("postgres")))
    pair.standby.timeline = primary.timeline + 1
    await pair.way.start()
    try:
        async with store_must_answer("Postgres", seconds=COPY_SECONDS):
            await pair.standby.copy(
                primary, port=pair.way.port, settings=READ_ONLY if read_only else None
            )
            await _until(primary, lambda standbys: bool(standbys) and pair.way.open_links > 0)
    except BaseException:
        await pair.dissolve()
        raise
    return pair


async def _synchronize(pair: _Pair) -> None:
    """From now on each commit waits for the standby, which has all earlier ones."""
    async with store_must_answer("Postgres", seconds=COPY_SECONDS):
        await _wait_for(pair.primary, "*")
        await _until(pair.primary, lambda standbys: any(waits for waits, _ in standbys))
        await _caught_up(pair)


async def _caught_up(pair: _Pair) -> None:
    ((written,),) = await pair.primary.fetch("find_flushed")
    await _until(pair.primary, lambda standbys: any(flushed >= written for _, flushed in standbys))


async def _until(primary: Postgres, fits: Callable[[list[tuple[bool, int]]], bool]) -> None:
    """Wait until what the primary says of its standbys fits: (does it wait, position up to which it
    has the log)."""
    while True:
        if fits([(waits, flushed) for waits, flushed in await primary.fetch("find_standbys")]):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _wait_for(primary: Postgres, standbys: str | None) -> None:
    async with await primary.connect() as conn:
        await primary.set(conn, "synchronous_standby_names", standbys)
    await primary.fetch("reload_settings")


async def _promote(pair: _Pair) -> None:
    """Make the standby a primary with a slot of its own, and note where it left the log of the old
    one."""
    async with asyncio.timeout(COPY_SECONDS):
        await pair.standby.fetch("promote")
        await pair.standby.fetch("create_slot")
        ((_, branched),) = await pair.standby.fetch("find_branch")
    pair.primary.branched = branched


async def _take_over(cluster: Cluster, pair: _Pair) -> None:
    async with await pair.standby.connect() as conn:
        for name in READ_ONLY:
            await pair.standby.set(conn, name, None)
    await pair.standby.fetch("reload_settings")
    cluster.timelines.append(pair.standby)
    cluster.lead("postgres", pair.standby.port)


async def _undo(cluster: Cluster, pair: _Pair) -> None:
    """The old primary stays in charge."""
    pair.primary.branched = None
    pair.primary.thaw()
    await pair.primary.start()
    cluster.lead("postgres", pair.primary.port)
