"""The limits on the requests of API keys.

Each request of a key with a limit takes a token from the bucket of its key in Postgres, so that all
processes and hosts share one limit. Requests that come at the same time take their tokens in one
statement. A process holds no tokens in advance: what it held and did not use would be missing
elsewhere. Where a bucket is empty, the process refuses further requests without a look until the
next token is due.

Invariant: over any time, all processes together let no more requests pass than the burst and what
the rate adds by the clock of Postgres. Redis has no part in it. While Postgres is away, requests of
keys with a limit get 503.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor
from operator import itemgetter

from msgspec import Struct

from leaseq.api_keys import RequestLimit
from leaseq.gather import Gatherer
from leaseq.observability.telemetry import emit
from leaseq.operations.quotas import Quotas, Taken
from leaseq_api.quotas.headers import Header, request_policy, requests_left
from leaseq_api.refused import Refused

# Requests of one statement, and those of one key that wait for it.
LOOK_SIZE = 1_000
LOOK_CAPACITY = 5_000
# An empty bucket is looked at again at the earliest after so long. A bucket holds a tenth of a
# second at least, so nothing is lost.
PAUSE_SECONDS = 0.01
REMEMBERED = 10_000
TOLD_EVERY_SECONDS = 60.0

Take = tuple[str, RequestLimit]
_policy = lru_cache(1_000)(request_policy)


class Bucket(Struct):
    """The bucket of one key, as it was at the last look."""

    taken: Taken
    closed_until: float
    told_at: float = float("-inf")


class RequestRates:
    """The limits that one process applies."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._loop = asyncio.get_running_loop()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._looking: Gatherer[Take, tuple[bool, Bucket]] = Gatherer(
            self._look, batch_size=LOOK_SIZE, capacity=LOOK_CAPACITY, owner_of=itemgetter(0)
        )

    async def admit(self, key_id: str, limit: RequestLimit) -> tuple[Header, Header]:
        """Take a token for a request; the headers of its answer. Raises `Refused`, and
        `ServerUnreachable`."""
        self.require_open(key_id, limit)
        admitted, bucket = await self._looking.add((key_id, limit))
        if not admitted:
            raise self._refusal(key_id, limit, bucket)
        return _policy(limit), requests_left(limit, bucket.taken.tokens)

    def require_open(self, key_id: str, limit: RequestLimit) -> None:
        """Raise `Refused` where the bucket of a key is known to be empty."""
        bucket = self._buckets.get(key_id)
        if bucket is not None and self._loop.time() < bucket.closed_until:
            raise self._refusal(key_id, limit, bucket)

    async def aclose(self) -> None:
        """Answer the requests that wait for a look."""
        await self._looking.aclose()

    async def _look(self, batch: Sequence[Take]) -> list[tuple[bool, Bucket] | BaseException]:
        counts, limits = Counter(key_id for key_id, _ in batch), dict(batch)
        found = await self._quotas.take_tokens(
            {key_id: (limits[key_id], count) for key_id, count in counts.items()}
        )
        now = self._loop.time()
        noted = {
            key_id: self._note(key_id, limits[key_id], taken, now)
            for key_id, taken in found.items()
        }
        granted = Counter({key_id: taken.granted for key_id, taken in found.items()})
        answers: list[tuple[bool, Bucket] | BaseException] = []
        for key_id, _ in batch:
            answers.append((granted[key_id] > 0, noted[key_id]))
            granted[key_id] -= 1
        return answers

    def _note(self, key_id: str, limit: RequestLimit, taken: Taken, now: float) -> Bucket:
        closed_until = 0.0
        if taken.tokens < 1:
            closed_until = now + max(PAUSE_SECONDS, (1 - taken.tokens) / limit.rate)
        known = self._buckets.pop(key_id, None)
        bucket = self._buckets[key_id] = Bucket(taken, closed_until)
        if known is not None:
            bucket.told_at = known.told_at
        elif len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket

    def _refusal(self, key_id: str, limit: RequestLimit, bucket: Bucket) -> Refused:
        now = self._loop.time()
        if now - bucket.told_at >= TOLD_EVERY_SECONDS:
            bucket.told_at = now
            emit("quota.exceeded", policy="requests", key_id=key_id)
        return Refused(
            "rate_limited",
            f"the API key may send {limit.rate:g} requests a second, and {limit.burst} at one time",
            retry_after=max(1, ceil(bucket.closed_until - now)),
            headers=(_policy(limit), requests_left(limit, floor(bucket.taken.tokens))),
        )


__all__ = ["RequestRates"]
