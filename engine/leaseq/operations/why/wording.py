"""The words for times, spans, names and errors in explanations."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import msgspec

SHORT = 12
MOST_NAMED = 5
TEXT_LENGTH = 300


def moment(when: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_after(start: datetime, seconds: float) -> datetime | None:
    """The moment so many seconds after another one; None where no calendar has it."""
    try:
        return start + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None


def span(seconds: float) -> str:
    """A span of time in two units at most."""
    if not isfinite(seconds):
        return "an unknown time"
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def listed(names: Iterable[str], *, most: int = MOST_NAMED) -> str:
    """Names with commas, and the number of those that are left out."""
    given = sorted(set(names))
    shown = given[:most]
    if len(given) > most:
        return f"{', '.join(shown)} and {len(given) - most} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def count(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of these names, if one is similar."""
    found = difflib.get_close_matches(name, sorted(set(names)), n=1)
    return found[0] if found else None


def fields_of(error: bytes | None) -> dict[str, Any]:
    """The fields of a stored error; none where it is no JSON object."""
    try:
        found = msgspec.json.decode(error) if error else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def code_of(error: bytes | None) -> str:
    """The code of a stored error, or an empty string."""
    return str(fields_of(error).get("code") or "")


def error_line(error: bytes | None) -> str:
    """A stored error in one line: class and message, or the code."""
    fields = fields_of(error)
    text = ": ".join(str(fields[name]) for name in ("type", "message") if fields.get(name))
    return " ".join((text or code_of(error)).split())


def cut(text: str) -> str:
    """A text that is not longer than a line of evidence."""
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"


def because(error: bytes | None) -> str:
    """`: REASON` for the end of a sentence, or nothing."""
    text = error_line(error)
    return f": {cut(text)}" if text else ""


def worker_name(worker_id: str, host: str = "", pid: int = 0) -> str:
    """A worker as people recognize it. Without a host, its id alone."""
    at = f" ({host}, supervisor {pid})" if host else ""
    return f"worker {worker_id[:SHORT]}{at}"


def queues_of(names: Iterable[Sequence[str]]) -> str:
    """The queues of several workers."""
    return listed(queue for queues in names for queue in queues)


__all__ = [
    "SHORT",
    "because",
    "code_of",
    "count",
    "cut",
    "error_line",
    "fields_of",
    "listed",
    "moment",
    "moment_after",
    "nearest",
    "queues_of",
    "span",
    "worker_name",
]
