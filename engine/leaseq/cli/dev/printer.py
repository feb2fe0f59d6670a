"""Merge the logs of several processes into one stream.

Each part logs JSON lines on standard error. Here they become short coloured lines with the name of
their part. Other output (a print in a handler, a traceback) is shown as text, so nothing is lost.
Invariant: the output of a part cannot forge a second line, or a line of another part.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import click

from leaseq.observability.telemetry import Event
from leaseq.safe_text.printable import printable, printable_json, printable_lines

COLOURS = {"dev": "white", "api": "blue", "worker": "green", "reaper": "magenta"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
# Shown elsewhere in the line, or not useful to a person.
HIDDEN = {"event", "exception", "level", "logger", "pid", "timestamp", "traceback"}
BLOCKS = ("exception", "traceback")
NAME_WIDTH = 6
EVENT_WIDTH = 18


class Printer:
    """Prints on stdout; with `raw`, the lines as they came."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw

    def line(self, part: str, text: str) -> dict[str, Any] | None:
        """Print a line that a part has logged. Returns its event, if it is an event."""
        event = _parse(text)
        if event is None:
            self.text(part, text)
        else:
            _echo(printable_json(text).replace("\n", "") if self._raw else _pretty(part, event))
        return event

    def text(self, part: str, text: str) -> None:
        """Print a line of a part that is not a log line, whether or not it looks like one."""
        _echo(printable(text) if self._raw else f"{_clock(_now())} {_name(part)} {printable(text)}")

    def event(self, event: Event) -> None:
        """Print an event of this process."""
        fields = {
            "level": logging.getLevelName(event.level).lower(),
            "event": event.name,
            **event.fields,
        }
        self.line("dev", json.dumps({"timestamp": _now().isoformat(), **fields}, default=str))

    def say(self, text: str, *, colour: str | None = None) -> None:
        """Print a message of our own."""
        if self._raw:
            _echo(
                json.dumps(
                    {"timestamp": _now().isoformat(), "level": "info", "event": text, "part": "dev"}
                )
            )
            return
        _echo(
            f"{_clock(_now())} {_name('dev')} {click.style(printable(text), fg=colour, bold=colour is not None)}"
        )


def _parse(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None


def _pretty(part: str, event: dict[str, Any]) -> str:
    level = str(event.get("level", "info"))
    event_name = click.style(
        printable(event["event"]).ljust(EVENT_WIDTH), fg=LEVELS.get(level), bold=level in LEVELS
    )
    fields = " ".join(
        f"{name}={_value(value)}" for name, value in event.items() if name not in HIDDEN
    )
    lines = [f"{_time(event)} {_name(part)} {event_name} {printable(fields)}".rstrip()]
    blocks = [str(event[name]).rstrip() for name in BLOCKS if event.get(name)]
    lines += [f"    {line}" for block in blocks for line in printable_lines(block)]
    return "\n".join(lines)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _time(event: dict[str, Any]) -> str:
    try:
        return _clock(datetime.fromisoformat(str(event["timestamp"])))
    except (KeyError, ValueError):
        return _clock(_now())


def _clock(when: datetime) -> str:
    return click.style(when.astimezone().strftime("%H:%M:%S"), dim=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _name(part: str) -> str:
    return click.style(part.ljust(NAME_WIDTH), fg=COLOURS.get(part))


def _echo(text: str) -> None:
    try:
        click.echo(text)
        sys.stdout.flush()
    except (OSError, ValueError):
        return  # there is no reader any more; the parts go on


__all__ = ["Printer"]
