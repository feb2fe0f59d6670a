"""The common part of the nemeses.

It has a name, a span, and a way to draw a target. Invariant: if a store does not answer within a
few seconds, for any reason, the fault is impossible for now, and the run does not wait for it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol, TypeVar

import psycopg
from redis.exceptions import RedisError

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = ["Fault", "drawn", "store_must_answer"]

ANSWER_SECONDS = 5.0


class Named(Protocol):
    """Something with a name of its own in the cluster."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


class Fault(ABC):
    """A nemesis that any machine can do, and that does not have to be healed."""

    def __init__(self, name: str, seconds: tuple[float, float] = (0.0, 0.0)) -> None:
        self.name = name
        self.seconds = seconds

    async def unable(self, cluster: Cluster) -> str | None:
        return None

    @abstractmethod
    async def inject(self, cluster: Cluster, rng: Random) -> Injury: ...

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        return None


def drawn(rng: Random, among: Iterable[N], what: str) -> N:
    """One of them, by the name alone, so that the order in which they were made does not matter.
    Raises Impossible."""
    candidates = sorted(among, key=lambda each: each.name)
    if not candidates:
        raise Impossible(f"there is no {what} just now")
    return rng.choice(candidates)


@asynccontextmanager
async def store_must_answer(name: str, *, seconds: float = ANSWER_SECONDS) -> AsyncIterator[None]:
    """Turns a store's refusal or silence within the block into Impossible."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (psycopg.Error, RedisError, OSError, TimeoutError) as error:
        raise Impossible(
            f"{name} does not do it just now: {type(error).__name__}: {str(error).strip()[:200]}"
        ) from error
