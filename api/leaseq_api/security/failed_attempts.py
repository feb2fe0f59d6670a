"""Slow down guesses at API keys.

Failures are counted for each address (for each network of IPv6) and for each public id of a key. After a few of them the
refusals of that address, and those for that id, are given late. A valid key is never slowed from
any address, so a client that guesses locks out no other one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Network

from leaseq.observability.telemetry import emit
from leaseq_api.refused import Refused

# Failures that cost nothing: a program with an old key, a person with a misspelt one.
FREE = 5
FIRST_SECONDS = 0.05
LONGEST_SECONDS = 2.0
# A count is forgotten after so many seconds without a failure.
MEMORY_SECONDS = 300.0
COUNTED = 10_000
# Refusals that are being held back. More of them are refused immediately, with 429: a refusal that
# waits holds a connection.
HELD = 64
TOLD_EVERY_SECONDS = 60.0


class FailedAttempts:
    """The failures of one process, by address and by key id."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._held = 0
        self._told: OrderedDict[str, float] = OrderedDict()

    async def slow_down(self, *, address: str, key_id: str | None, reason: str) -> None:
        """Count a failure, and return when it may be answered. Raises `Refused` where too many are
        being held back."""
        now, address = asyncio.get_running_loop().time(), network_of(address)
        count = self._count(f"address {address}", now)
        if key_id is not None:
            count = max(count, self._count(f"key {key_id}", now))
        self._tell(now, address=address, key_id=key_id, reason=reason, count=count)
        seconds = delay_of(count)
        if seconds == 0:
            return
        if self._held >= HELD:
            raise Refused("too_many_attempts", "too many API keys were refused; try again later")
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1

    def _count(self, name: str, now: float) -> int:
        count, last = self._counts.pop(name, (0, now))
        count = count + 1 if now - last < MEMORY_SECONDS else 1
        self._counts[name] = (count, now)
        if len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        return count

    def _tell(
        self, now: float, *, address: str, key_id: str | None, reason: str, count: int
    ) -> None:
        if now - self._told.get(address, float("-inf")) < TOLD_EVERY_SECONDS:
            return
        self._told.pop(address, None)
        self._told[address] = now
        if len(self._told) > COUNTED:
            self._told.popitem(last=False)
        fields = {} if key_id is None else {"key_id": key_id}
        emit("auth.failed", address=address, reason=reason, count=count, **fields)


@lru_cache(256)
def network_of(address: str) -> str:
    """The addresses that are counted together: one of IPv4, or a network of IPv6, of which a client
    usually has all addresses."""
    try:
        return str(IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def delay_of(count: int) -> float:
    """How long the answer to this failure is held back, in seconds."""
    if count <= FREE:
        return 0.0
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(count - FREE - 1, 16))


__all__ = ["FREE", "HELD", "LONGEST_SECONDS", "FailedAttempts", "delay_of"]
