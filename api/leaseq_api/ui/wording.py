"""Times, ages and numbers, as the pages write them.

A time is written by the clock of Postgres, in UTC and with its zone. An age is a number of seconds
between two times of that clock; `live.js` lets it grow by the monotonic clock of the browser, whose
own time of day is never looked at. Numbers have thin spaces and their unit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

THIN = "\N{NARROW NO-BREAK SPACE}"
UNKNOWN = "\N{EM DASH}"
# The sign and the class of each state. Colour alone never tells a state.
SIGNS = {
    "PENDING": "○",
    "SCHEDULED": "◷",
    "PROCESSING": "◐",
    "SUCCESS": "✓",
    "FAILED": "✕",
    "CANCELLED": "⊘",
}


def clock(when: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(when: datetime) -> str:
    """A time for programs."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def age(seconds: float) -> str:
    """A length of time, short. `live.js` has the same function."""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds:.1f}{THIN}s"
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            whole = f"{int(seconds // size)}{THIN}{unit}"
            return f"{whole} {rest}{THIN}{name}" if rest and size > 60 else whole
    return f"{int(seconds)}{THIN}s"


def number(value: float | None) -> str:
    """A number with thin spaces. None is not 0: it was not counted."""
    if value is None:
        return UNKNOWN
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return text.replace(",", THIN)


def brief(seconds: float) -> str:
    """A duration that was measured, to two or three digits."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}{THIN}µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g}{THIN}ms"
    return f"{seconds:.3g}{THIN}s" if seconds < 60 else age(seconds)


def rate(value: float) -> str:
    """So many in a second; if they are few, in a minute."""
    if value == 0:
        return f"0{THIN}/s"
    if value < 0.1:
        return f"{value * 60:.2g}{THIN}/min"
    return f"{number(round(value)) if value >= 100 else f'{value:.3g}'}{THIN}/s"


def share(value: float | None) -> str:
    """A part of a whole."""
    if value is None:
        return UNKNOWN
    return f"{value * 100:.3g}{THIN}%"


def compact(text: str) -> str:
    """JSON in one line, if it is JSON."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except msgspec.DecodeError:
        return text


def cut(text: Any, most: int = 120) -> str:
    """JSON or text for a cell of a table, without its end if it is long."""
    shown = bytes(text).decode(errors="replace") if not isinstance(text, str) else text
    return shown if len(shown) <= most else f"{shown[:most]}…"


def segment(text: Any) -> str:
    """A name as one segment of an address."""
    return quote(str(text), safe="")


__all__ = [
    "SIGNS",
    "UNKNOWN",
    "age",
    "brief",
    "clock",
    "compact",
    "cut",
    "iso",
    "number",
    "rate",
    "segment",
    "share",
]
