"""Rates of limits: how they are written, and the bucket of tokens that keeps one.

Each start takes a token. A bucket has `most` tokens when it is full, and gets one in `every` seconds. In
less than one period it gets fewer than `period / every`, so in any window of one period at most
`most + period / every`, rounded down below, are taken: `most` is chosen so that this is n + burst. A
bucket must hold the tokens of one pass of a reaper, or a rate just under one a pass would lose what comes
between two passes. Where the burst is too small for that, `every` is a little longer than `period / n`.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from leaseq.errors import LimitInvalid

# Seconds between two passes of a reaper that admits (leaseq_reaper/duties/admit.py).
PASS_SECONDS = Decimal("0.1")
MOST_STARTS, MOST_BURST = 1_000_000, 1_000_000
LEAST_PERIOD, MOST_PERIOD = Decimal("0.1"), Decimal(31 * 86_400)
MOST_PER_SECOND = 100_000
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
RATE = re.compile(r"([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,3})?)?([smhd])")
MICROSECOND, NANO = Decimal("0.000001"), Decimal("0.000000001")


class Bucket(NamedTuple):
    """The bucket of a rate: seconds for one token, and the tokens that it has when it is full."""

    every: Decimal
    most: Decimal


def bucket(rate: object, burst: object, *, where: str, what: str = "rate") -> Bucket:
    """The bucket of a rate such as "100/1s", "90/10s" or "1000/h". Raises `LimitInvalid`, whose message
    begins with `where`."""
    found = RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is None:
        raise LimitInvalid(
            f'{where}: {what} must be starts and a period, such as "100/1s", "90/10s" or "1000/h", '
            f"not {str(rate)[:80]!r}"
        )
    starts = int(found[1])
    period = Decimal(found[2] or 1) * SECONDS[found[3]]
    if not 1 <= starts <= MOST_STARTS:
        raise LimitInvalid(f"{where}: {what} must allow 1 to {MOST_STARTS} starts, not {starts}")
    if not LEAST_PERIOD <= period <= MOST_PERIOD:
        raise LimitInvalid(
            f"{where}: the period of {what} must be {LEAST_PERIOD} seconds to 31 days, not {rate!r}"
        )
    if starts > MOST_PER_SECOND * period:
        raise LimitInvalid(f"{where}: {what} may be at most {MOST_PER_SECOND}/1s, not {rate!r}")
    allowed = starts + _burst(burst, where=where, what=what)
    every = max(period / starts, (period + PASS_SECONDS) / allowed)
    every = every.quantize(MICROSECOND, rounding=ROUND_CEILING)
    return Bucket(every, (1 + allowed - period / every).quantize(NANO, rounding=ROUND_FLOOR))


def _burst(burst: object, *, where: str, what: str) -> int:
    if burst is None:
        return 0
    if not isinstance(burst, int) or isinstance(burst, bool) or not 0 <= burst <= MOST_BURST:
        name = what.replace("rate", "burst")
        raise LimitInvalid(
            f"{where}: {name} must be a whole number between 0 and {MOST_BURST}, not {burst!r}"
        )
    return burst


__all__ = ["MOST_BURST", "RATE", "Bucket", "bucket"]
