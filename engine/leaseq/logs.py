"""What does a log line look like?

JSON on stderr, one object a line, when that is not a terminal; words and colours when it is. Events of leaseq and records of
the standard library's logging (the user's handlers, APScheduler) come out alike. Payloads and results are never logged.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from leaseq.config import Config
from leaseq.telemetry import Event, subscribe

Line = dict[str, Any]
_console = structlog.dev.ConsoleRenderer(colors=True)
_json = msgspec.json.Encoder(enc_hook=str)


def set_up_logs(config: Config) -> None:
    """Send events and log records of at least the configured level to stderr. Call once, in a process of its own."""
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    wanted = config.log_format
    if wanted == "auto":
        wanted = "console" if sys.stderr.isatty() else "json"
    render = _render_json if wanted == "json" else _render_console

    def on_event(event: Event) -> None:
        _write(render(_line(event.name, event.level, event.fields)))

    subscribe(on_event, level=level)
    handler = RecordHandler(render)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("apscheduler", "psycopg", "psycopg.pool", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.ERROR))


class RecordHandler(logging.Handler):
    """Brings records of the standard library's logging into the same form."""

    def __init__(self, render: Callable[[Line], str]) -> None:
        super().__init__()
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        fields: Line = {"logger": record.name}
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        _write(self._render(_line(record.getMessage(), record.levelno, fields)))


def _line(event: str, level: int, fields: Line) -> Line:
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": logging.getLevelName(level).lower(),
        "event": event,
        "pid": os.getpid(),
        **fields,
    }


def _render_json(line: Line) -> str:
    return _json.encode(line).decode()


def _render_console(line: Line) -> str:
    text: str = _console(None, "", {key: str(v) if key != "event" else v for key, v in line.items()})
    return text


def _write(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
    except (OSError, ValueError):
        return  # nobody reads any more; work goes on


__all__ = ["RecordHandler", "set_up_logs"]
