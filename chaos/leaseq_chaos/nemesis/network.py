"""Network faults between a service and a store, or between a client and an API.

Each kind of fault affects one connection or all of its kind, through the proxies. Invariant: a
connection has one fault at a time, so that no heal ends another fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any
from weakref import WeakSet

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.proxy import Proxy, Way
from leaseq_chaos.nemesis.fault import Fault, drawn
from leaseq_chaos.nemesis.nemesis import Injury
from leaseq_chaos.nemesis.processes import living, worker_ids

__all__ = ["KINDS", "Network", "Partition"]

ALL_SHARE = 0.3  # how often all ways of a sort are struck together
DELAY_SECONDS = (0.02, 0.5)
REPLIES = (1, 20)
BYTES = (1, 5000)
DOORBELL = b"BLMOVE"
COMMIT = b"COMMIT"
_troubled: WeakSet[Proxy] = WeakSet()

Detail = dict[str, Any]
Trouble = Callable[[Proxy, Random], Detail]


def delay(proxy: Proxy, rng: Random) -> Detail:
    """Every read takes longer, in both directions."""
    proxy.delay_seconds = round(rng.uniform(*DELAY_SECONDS), 3)
    return {"delay_seconds": proxy.delay_seconds}


def stall(proxy: Proxy, rng: Random) -> Detail:
    """Bytes stay under way in both directions, and arrive after the heal."""
    proxy.stall()
    return {}


def reset(proxy: Proxy, rng: Random) -> Detail:
    """Every open connection is reset."""
    return {"connections": proxy.reset()}


def one_way(proxy: Proxy, rng: Random) -> Detail:
    """Requests pass, replies do not: they come very late, or never."""
    late = rng.random() < 0.5
    if late:
        proxy.stall(Way.BACK)
    else:
        proxy.swallow(Way.BACK)
    return {"replies": "late" if late else "lost"}


def half_open(proxy: Proxy, rng: Random) -> Detail:
    """The peer has vanished without a word."""
    proxy.swallow()
    return {}


def drop_reply(proxy: Proxy, rng: Random) -> Detail:
    """The request is carried out, but its reply is lost with the connection."""
    nth = rng.randint(*REPLIES)
    proxy.lose_reply(nth)
    return {"nth": nth}


def lose_doorbell(proxy: Proxy, rng: Random) -> Detail:
    """The same, of a request that waits for something to come."""
    proxy.lose_reply(to=DOORBELL)
    return {"to": DOORBELL.decode()}


def lose_commit(proxy: Proxy, rng: Random) -> Detail:
    """The same, of the COMMIT of a handler's transaction: its worker cannot know what happened."""
    proxy.lose_reply(to=COMMIT)
    return {"to": COMMIT.decode()}


def cut(proxy: Proxy, rng: Random) -> Detail:
    """A connection breaks off in the middle of a reply."""
    size = rng.randint(*BYTES)
    proxy.cut_after(size)
    return {"bytes": size}


def refuse(proxy: Proxy, rng: Random) -> Detail:
    """Open connections are reset, and new ones are refused."""
    proxy.refuse()
    return {"connections": proxy.reset()}


KINDS: Mapping[str, tuple[Trouble, tuple[float, float]]] = {
    "delay": (delay, (1.0, 4.0)),
    "stall": (stall, (0.5, 5.0)),
    "reset": (reset, (0.0, 0.0)),
    "one-way": (one_way, (0.5, 5.0)),
    "half-open": (half_open, (1.0, 6.0)),
    "drop-reply": (drop_reply, (0.5, 2.0)),
    "cut": (cut, (0.5, 2.0)),
    "refuse": (refuse, (0.5, 3.0)),
}


class Network(Fault):
    """One kind of trouble on the ways of one sort: to postgres, to valkey, or to an api."""

    def __init__(self, kind: str, store: str) -> None:
        self._trouble, seconds = KINDS[kind]
        super().__init__(f"{kind}-{store}", seconds)
        self._store = store

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        ways = _sound(cluster.links(self._store))
        one = drawn(rng, ways, f"sound way to {self._store}")
        if rng.random() < ALL_SHARE:
            return _strike(cluster, ways, self._trouble, rng, target=self._store)
        return _strike(cluster, [one], self._trouble, rng, target=one.name)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        _clear(cluster, injury)


class Partition(Fault):
    """Only one worker has a fault to one store; usually packets vanish without an error."""

    def __init__(
        self, name: str, seconds: tuple[float, float], *, store: str, trouble: Trouble = stall
    ) -> None:
        super().__init__(name, seconds)
        self._store = store
        self._trouble = trouble

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        ways = [
            proxy
            for worker in living(cluster, "worker")
            for proxy in cluster.links(self._store, worker)
        ]
        one = drawn(rng, _sound(ways), f"sound way from a worker to {self._store}")
        return _strike(cluster, [one], self._trouble, rng, target=one.name)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        _clear(cluster, injury)


def _sound(ways: Iterable[Proxy]) -> list[Proxy]:
    """The connections without a fault."""
    return [proxy for proxy in ways if proxy not in _troubled]


def _strike(
    cluster: Cluster, ways: list[Proxy], kind: Trouble, rng: Random, *, target: str
) -> Injury:
    """Strike these ways."""
    detail = {proxy.name: kind(proxy, rng) for proxy in ways}
    _troubled.update(ways)
    workers = [worker_id for proxy in ways for worker_id in _behind(cluster, proxy)]
    return Injury(target=target, workers=workers, detail=detail)


def _clear(cluster: Cluster, injury: Injury) -> None:
    """End the trouble of these ways, as far as they still are."""
    for name in injury.detail:
        if name in cluster.proxies:
            cluster.proxies[name].clear()
            _troubled.discard(cluster.proxies[name])


def _behind(cluster: Cluster, proxy: Proxy) -> Iterator[str]:
    """The workers that reach a store this way."""
    service = cluster.services.get(proxy.name.partition("@")[2])
    if service is not None and service.kind == "worker":
        yield from worker_ids(service)
