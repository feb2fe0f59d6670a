"""The delay of a task before its next attempt.

Exponential with equal jitter and a cap (M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015): half of the delay is fixed, half is random. The jitter spreads tasks that
failed together. The fixed half gives the sum of all delays a lower bound, so `max_attempts` tells
which outage a task survives (docs/decisions/0021-an-hours-outage.md). The functions are pure:
randomness is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """Delays in seconds: the n-th retry waits between half and all of min(cap, base * 2**n)."""

    base_seconds: float = 1.0
    cap_seconds: float = 3600.0

    def delay(self, retry_count: int, *, rand: Callable[[], float] = random) -> float:
        """Seconds until the next attempt of a task that has used up `retry_count` retries. `rand`
        draws from [0, 1)."""
        # 2**n overflows a float near n = 1024; the cap is reached long before.
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(retry_count, 64))
        return ceiling * (1.0 + rand()) / 2


__all__ = ["Backoff"]
