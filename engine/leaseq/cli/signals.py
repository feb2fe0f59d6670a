"""Delay signals while embedded servers start or stop.

SIGTERM and SIGINT end the process at any other moment. An interruption during a start or a stop
would leave a server behind that no process holds. SIGHUP, which is sent when a terminal is closed,
counts as SIGTERM, unless the process was started to ignore it (`nohup`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep
from types import FrameType
from typing import NoReturn

NUMBERS = (signal.SIGTERM, signal.SIGINT)
HURRY_SECONDS = 3.0
LAST_SECONDS = 30.0


class SignalGate:
    """While open, a signal ends the process. While closed, a signal is remembered until the gate
    opens.

    A service that a signal ends has done its work, and ends with code 0. With `unfinished` it is
    128 plus the signal.
    """

    def __init__(self, *, unfinished: bool) -> None:
        self._unfinished = unfinished
        self._open = False
        self._received = 0

    def open(self) -> None:
        """From now on a signal takes effect, including one that came before."""
        self._open = True
        if self._received:
            self._end()

    def close(self) -> None:
        """From now on a signal waits. Takes the signals back from an event loop that has had
        them."""
        self._open = False
        for number in NUMBERS:
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, _on_hangup)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if self._open:
            self._end()

    def _end(self) -> NoReturn:
        raise SystemExit(128 + self._received if self._unfinished else 0)


@contextmanager
def signal_gate(*, unfinished: bool = False) -> Iterator[SignalGate]:
    """Keep the gate closed within the block; afterwards the signals are as before."""
    before = {number: signal.getsignal(number) for number in (*NUMBERS, signal.SIGHUP)}
    made = SignalGate(unfinished=unfinished)
    made.close()
    try:
        yield made
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_hangup(number: int, frame: FrameType | None) -> None:
    # The gate, or the event loop of a service, knows the current effect of SIGTERM.
    os.kill(os.getpid(), signal.SIGTERM)


def stop_at_eof() -> None:
    """End this process, as SIGTERM would, when its standard input ends: its parent has then ended,
    in any way."""
    threading.Thread(target=_wait_for_eof, name="stdin", daemon=True).start()


def _wait_for_eof() -> None:
    with suppress(ConnectionError):  # a socket whose other end closed before it had read everything
        while os.read(sys.stdin.fileno(), 4096):
            pass
    for number, patience in ((signal.SIGTERM, HURRY_SECONDS), (signal.SIGTERM, LAST_SECONDS)):
        os.kill(os.getpid(), number)
        sleep(patience)
    os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["SignalGate", "signal_gate", "stop_at_eof"]
