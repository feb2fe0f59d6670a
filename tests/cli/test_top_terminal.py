"""`leaseq top` in a real terminal, over a Redis that is killed and comes back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import ValkeyServer
from leaseq_chaos.pace import Pace
from support.cli import Stage

_CONTROL = re.compile(r"\x1b(\[[0-9;?<>=]*[A-Za-z$]*|[()][A-Z0-9]|[=>78])|\r")
ROWS, COLUMNS = 24, 80


class Terminal:
    """The command in a pseudo terminal of 80 columns and 24 rows."""

    def __init__(self, config: Config, seconds: float) -> None:
        self._seconds = seconds
        self._screen = ""
        command = [sys.executable, "-m", "leaseq", "top", "--interval", "0.3"]
        # Nothing of ours has to survive in the child: it becomes another program immediately.
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            env = {**os.environ, **config.to_env(), "TERM": "xterm-256color", "NO_COLOR": "1"}
            os.execvpe(command[0], command, env)
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, size)

    def expect(self, text: str) -> None:
        """Read until the text was drawn since the last call."""
        until = time.monotonic() + self._seconds
        while text not in _CONTROL.sub("", self._screen):
            assert time.monotonic() < until, f"no {text!r} in {_CONTROL.sub('', self._screen)!r}"
            self._read()
        self._screen = ""

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._file, keys.encode())

    def wait(self) -> int:
        """The exit code, after the rest was read."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End the command, if it is still there."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._file)

    @property
    def rest(self) -> str:
        """The output since the last text that was expected."""
        return self._screen

    def _read(self) -> bool:
        ready, _, _ = select.select([self._file], [], [], self._seconds)
        try:
            found = os.read(self._file, 65_536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self._screen += found.decode(errors="replace")
        return bool(found)


@pytest.fixture
def terminal(config: Config, own_valkey: ValkeyServer, pace: Pace) -> Iterator[Terminal]:
    pytest.importorskip("textual")
    at_own = replace(config, redis_url=own_valkey.url)
    Stage(at_own).submit(queue="mail")  # without a queue nothing asks Redis
    opened = Terminal(at_own, 20 * pace.slowness)
    yield opened
    opened.close()


def test_a_killed_redis_is_told_and_seen_again(
    terminal: Terminal, own_valkey: ValkeyServer
) -> None:
    terminal.expect("Redis up")
    own_valkey.kill()
    terminal.expect("Redis does not answer")
    own_valkey.start()
    terminal.expect("Redis up")
    terminal.press("2")
    terminal.expect("WORKER@HOST")
    terminal.press("q")
    assert terminal.wait() == 0


def test_a_signal_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.expect("Redis up")
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.wait()
    assert "\x1b[?1049l" in terminal.rest, "the other screen was left"
