"""How long does a task wait before its next attempt?

Exponential with full jitter and a cap (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
spread out, so that a thousand tasks which failed together do not come back together. Pure: randomness is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """Delays in seconds: the n-th retry waits between 0 and min(cap, base * 2**n)."""

    base_seconds: float = 1.0
    cap_seconds: float = 3600.0

    def delay(self, retry_count: int, *, rand: Callable[[], float] = random) -> float:
        # 2**n overflows a float near n = 1024; the cap is reached long before.
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(retry_count, 64))
        return ceiling * rand()


__all__ = ["Backoff"]
