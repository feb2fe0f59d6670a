"""Have the kernel end this process when its event loop stands still.

This is for a process that no supervisor sees any more. A supervisor kills a worker process whose
loop has stopped turning. A process that is blocked in C code when its supervisor dies ignores
SIGTERM and would run forever, since neither a signal handler nor a thread of Python gets its turn.
So the loop winds up a timer of the kernel again and again, and the kernel sends SIGKILL when that
runs down (timer_create(2)).

A forked process does not inherit the timer. Where the system has no such timer, there is no
watchdog.
"""

from __future__ import annotations

import ctypes
import signal
import time

SIGEV_SIGNAL = 0


class Event(ctypes.Structure):
    """struct sigevent, which is 64 bytes long."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class Times(ctypes.Structure):
    """struct itimerspec: an interval and the time until it runs down, in seconds and nanoseconds
    each."""

    _fields_ = (("every", ctypes.c_long * 2), ("left", ctypes.c_long * 2))


class Watchdog:
    """A timer that ends this process unless it is wound up in time."""

    def __init__(self, limit_seconds: float) -> None:
        self._times = Times((0, 0), (max(1, round(limit_seconds)), 0))
        self._timer = ctypes.c_void_p()
        self._set = None
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            event = Event(None, signal.SIGKILL, SIGEV_SIGNAL, b"")
            if (
                libc.timer_create(
                    time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)
                )
                == 0
            ):
                self._set = libc.timer_settime
        except (AttributeError, OSError):  # another system
            return

    @property
    def works(self) -> bool:
        return self._set is not None

    def wind(self) -> None:
        """The loop turns: start the time again."""
        if self._set is not None:
            self._set(self._timer, 0, ctypes.byref(self._times), None)


__all__ = ["Watchdog"]
