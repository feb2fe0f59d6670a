"""Format and write log lines.

A line is a JSON object on stderr, or words and colours if stderr is a terminal. Events of leaseq,
records of the standard library's logging (the user's handlers, APScheduler), exceptions of threads
and warnings have the same format. Payloads and results are never logged, nor the row data that
Postgres puts into its errors (`safe_text/exceptions.py`).

Invariant: each value is written in printable characters, so it cannot control a terminal or forge a
line. The lines of a traceback are indented on a terminal.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from leaseq.config import Config
from leaseq.observability.outlet import Outlet, text_stream
from leaseq.observability.telemetry import (
    DEBUG,
    ERROR,
    INFO,
    WARNING,
    Event,
    after_burst,
    subscribe,
)
from leaseq.safe_text.exceptions import trace_of
from leaseq.safe_text.printable import printable, printable_json, printable_lines

Line = dict[str, Any]
LINE_LIMIT = 65_536  # bytes; the capacity of a pipe
VALUE_LIMIT = 8_192  # characters of one value, if the line is too long
# Exceptions that a handler's code may raise here (`__str__` of a logged value): all but a
# cancellation.
RAISED = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)
DEL = 0x7F
LEVELS = {level: logging.getLevelName(level).lower() for level in (DEBUG, INFO, WARNING, ERROR)}

# Fields with several lines.
BLOCKS = ("exception", "traceback")

_json = msgspec.json.Encoder(enc_hook=str)


def set_up_logs(config: Config) -> None:
    """Write events and log records of at least the configured level to stderr. Call this once, in a
    dedicated process."""
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    wanted = config.log_format
    if wanted == "auto":
        wanted = "console" if sys.stderr.isatty() else "json"
    render = _render_json if wanted == "json" else _render_console
    _outlets[:] = [_open_outlet(render)]
    subscribe(EventLines(render).add, level=level)
    handler = RecordHandler(render)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    _catch_the_rest()
    for name in ("apscheduler", "psycopg", "psycopg.pool", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.ERROR))


class RecordHandler(logging.Handler):
    """Formats records of the standard library's logging like events."""

    def __init__(self, render: Callable[[Line], bytes]) -> None:
        super().__init__()
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Never raises: a record that cannot be formatted is written
        unformatted."""
        _write(self.line(record) + b"\n")

    def line(self, record: logging.LogRecord) -> bytes:
        """The line for one record, without its line end."""
        fields: Line = {"logger": _plain(record.name)}
        try:
            message = record.getMessage()
        except RAISED as error:
            message = _plain(record.msg)
            fields |= {"args": _plain(record.args), "unformatted": type(error).__name__}
        if record.exc_info:
            try:
                fields["exception"] = _exception(record.exc_info)
            except RAISED as error:
                fields["exception"] = f"an exception that cannot be shown: {type(error).__name__}"
        return _render_safely(self._render, _line(message, record.levelno, fields))


def _exception(info: object) -> str:
    raised = info[1] if isinstance(info, tuple) else None
    return trace_of(raised) if isinstance(raised, BaseException) else "no exception"


def _catch_the_rest() -> None:
    """Log the texts that Python itself would write to stderr: exceptions that end a thread or a
    destructor, and warnings."""
    logger = logging.getLogger("python")

    def on_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            logger.error("a thread ended with an exception", exc_info=args.exc_value)

    def on_unraisable(args: sys.UnraisableHookArgs) -> None:
        logger.error(
            "an exception was ignored: %s",
            args.err_msg or "in a destructor",
            exc_info=args.exc_value,
        )

    threading.excepthook = on_thread
    sys.unraisablehook = on_unraisable
    logging.captureWarnings(True)


def _render_safely(render: Callable[[Line], bytes], line: Line) -> bytes:
    """A line in its usual form, or in a plain form if one of its values cannot be written (its own
    code fails, an unpaired surrogate, a megabyte of text)."""
    try:
        rendered = render(line)
        if len(rendered) <= LINE_LIMIT:
            return rendered
    except RAISED:
        pass
    return render(
        {
            _plain(key): value if type(value) in (int, bool, type(None)) else _plain(value)
            for key, value in line.items()
        }
    )


def _plain(value: object) -> str:
    """A value as text that can always be written, cut to size."""
    try:
        text = value if type(value) is str else str(value)
        return text[:VALUE_LIMIT].encode("utf-8", "backslashreplace").decode()
    except RAISED as error:
        return f"a {type(value).__name__} that cannot be shown: {type(error).__name__}"


def _line(event: str, level: int, fields: Line) -> Line:
    return {
        "timestamp": _timestamp(time.time_ns() // 1_000_000),
        "level": LEVELS.get(level) or logging.getLevelName(level).lower(),
        "event": event,
        "pid": _pid(),
        **fields,
    }


# Thousands of lines may be written in a second, and these two steps cost as much as the rest of a
# line.
@lru_cache(maxsize=1)
def _timestamp(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


_pid = lru_cache(maxsize=1)(os.getpid)
os.register_at_fork(after_in_child=_pid.cache_clear)


def _render_json(line: Line) -> bytes:
    raw = _json.encode(line)
    # The encoder has escaped characters below U+0020. Nearly every line passes this test, which
    # costs no time.
    return raw if raw.isascii() and DEL not in raw else printable_json(raw.decode()).encode()


@lru_cache(maxsize=1)
def _console() -> Callable[..., str]:
    """The renderer for a terminal. It imports `rich` and `pygments`, which takes longer than
    importing all of leaseq."""
    from structlog.dev import ConsoleRenderer

    return ConsoleRenderer(colors=True)


def _render_console(line: Line) -> bytes:
    blocks = [
        part
        for name in BLOCKS
        if (text := line.get(name))
        for part in printable_lines(str(text).rstrip())
    ]
    fields = {
        printable(key): printable(str(value)) for key, value in line.items() if key not in BLOCKS
    }
    return "\n    ".join([_console()(None, "", fields), *blocks]).encode(
        "utf-8", "backslashreplace"
    )


class EventLines:
    """Writes the lines of events to stderr. Those of a burst are formatted and written at its end,
    since a system call for each would dominate the cost.

    Never writes more than a pipe accepts as one piece, since the processes of a worker share their
    pipe.
    """

    def __init__(self, render: Callable[[Line], bytes]) -> None:
        self._render = render
        self._waiting: list[Event] = []

    def add(self, event: Event) -> None:
        """Write the line of one event. It is written when this returns, or when the burst is
        over."""
        self._waiting.append(event)
        if not after_burst(self._flush):
            self._flush()

    def _flush(self) -> None:
        # Taken in one step, because another thread may add an event concurrently.
        waiting, self._waiting = self._waiting, []
        starts: dict[str, bytes] = {}
        piece: list[bytes] = []
        size = 0
        for event in waiting:
            line = self._line(event, starts)
            if size + len(line) > select.PIPE_BUF and piece:
                _write(b"".join(piece))
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            _write(b"".join(piece))

    def _line(self, event: Event, starts: dict[str, bytes]) -> bytes:
        """The line of one event. In JSON, the events of one name in a burst share the start of the
        line, and their fields are encoded after it."""
        if self._render is _render_json:
            start = starts.get(event.name)
            if start is None:
                start = starts[event.name] = _start_of(event)
            try:
                line = start + _json.encode(event.fields)[1:] + b"\n"
                if start and line.isascii() and DEL not in line and len(line) <= LINE_LIMIT:
                    return line
            except RAISED:
                pass
        whole = _line(event.name, event.level, event.fields)
        return _render_safely(self._render, whole) + b"\n"


def _start_of(event: Event) -> bytes:
    """The JSON line of an event up to its fields. Empty if there are none, or if one of them
    replaces a value before."""
    line = _line(event.name, event.level, {})
    shared = not event.fields or line.keys() & event.fields.keys()
    return b"" if shared else _json.encode(line)[:-1] + b","


# At most one: for standard error, in a process that has set up its logs.
_outlets: list[Outlet | None] = []


def _open_outlet(render: Callable[[Line], bytes]) -> Outlet | None:
    """Standard error, or None if it was replaced by an object that is not a file."""
    try:
        descriptor = sys.stderr.fileno()
        return Outlet(
            descriptor,
            note=lambda count: render(_line("log.dropped", WARNING, {"count": count})) + b"\n",
        )
    except (AttributeError, OSError, ValueError):
        return None


def spare_the_streams() -> None:
    """Make writes to standard output and standard error never wait for a reader that has stopped.
    Called once logs are set up, in a process that runs handlers: one waiting handler would stop all
    of them."""
    error = _outlets[0] if _outlets else None
    if error is not None:
        sys.stderr = _streams["stderr"] = text_stream(error, "<stderr>")
    with suppress(AttributeError, OSError, ValueError):
        outlet = Outlet(
            sys.stdout.fileno(), note=lambda count: f"({count} lines were dropped)\n".encode()
        )
        sys.stdout = _streams["stdout"] = text_stream(outlet, "<stdout>")


# The streams that `spare_the_streams` has made, by their name in `sys`.
_streams: dict[str, TextIO] = {}


def restore_streams() -> None:
    """Restore the streams if their replacement is closed or is not a stream.

    `contextlib.redirect_stdout` changes the whole process. If two handlers use it at the same time,
    the second one to end restores the closed stream of the first one, and `print` fails in every
    other handler.
    """
    try:
        if sys.stdout is _streams["stdout"] and sys.stderr is _streams["stderr"]:
            return  # as after nearly every handler
    except (AttributeError, KeyError):  # a handler has deleted one, or it was not replaced by us
        pass
    for name, stream in _streams.items():
        standing = sys.__dict__.get(name)
        if standing is not stream and _is_closed(standing):
            setattr(sys, name, stream)


def _is_closed(stream: object) -> bool:
    """Whether the stream is closed. A handler's stream that does not tell is assumed to be open."""
    try:
        return stream is None or bool(getattr(stream, "closed", False))
    except RAISED:
        return False


def _write(text: bytes) -> None:
    if _outlets and _outlets[0] is not None:
        _outlets[0].write(text)
        return
    try:
        sys.stderr.write(text.decode())
    except (OSError, ValueError):
        return  # there is no reader any more; work goes on


__all__ = ["RecordHandler", "restore_streams", "set_up_logs", "spare_the_streams"]
