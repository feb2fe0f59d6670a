"""Start, find and stop the embedded Valkey (or a system's Redis).

Invariants: the append-only file is on and nothing is evicted, as leaseq requires of every server.
The unix socket lies where only its account may enter. The TCP port, if requested, listens on
127.0.0.1 and requires a password.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from pathlib import Path
from urllib.parse import quote

from leaseq.embedded.binaries import valkey_binary
from leaseq.embedded.directories import (
    ServerDirectories,
    our_account,
    prepare_directories,
    private_directory,
    socket_directory,
)
from leaseq.embedded.processes import kill_tree, pid_in, run_as, wait_until_gone
from leaseq.errors import ServerUnreachable

__all__ = ["ValkeyServer"]

SOCKET_NAME = "valkey.sock"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
GONE_SECONDS = 2.0
POLL_SECONDS = 0.01

SETTINGS = {
    "appendfsync": "everysec",
    "appendonly": "yes",
    "bind": "127.0.0.1",
    "daemonize": "yes",
    "maxmemory-policy": "noeviction",
    "save": '""',
    "unixsocketperm": "700",
}


class ValkeyServer:
    """One Valkey in `directory`. Without `port` it listens only on its unix socket.

    `binary` selects another program, such as a `redis-server` from 6.2 on. One object is used by
    one thread.
    """

    def __init__(
        self, directory: Path, port: int | None = None, *, binary: Path | None = None
    ) -> None:
        self.directory = directory
        self.port = port
        self._binary = binary
        self._directories: ServerDirectories | None = None

    @property
    def directories(self) -> ServerDirectories:
        if self._directories is None:
            self._directories = prepare_directories(self.directory, account=our_account())
        return self._directories

    @property
    def pid(self) -> int | None:
        """The server's pid; None if it does not run."""
        text = self._pid_file.read_text(encoding="utf-8") if self._pid_file.exists() else None
        return pid_in(text, directory=self.directories.files, account=self.directories.account)

    @property
    def url(self) -> str:
        """The URL by the TCP port if there is one, else by the socket."""
        if self.port is None:
            return self.socket_url
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{quote(str(self._socket))}?password={self._password()}"

    def start(self) -> None:
        """Start it and wait until its data is loaded. Does nothing while it runs. Raises
        ServerUnreachable."""
        if self.pid is None:
            binary = self._binary or valkey_binary()
            private_directory(self._socket.parent, account=self.directories.account)
            self._socket.unlink(missing_ok=True)
            self._pid_file.unlink(missing_ok=True)
            settings = self.directories.files / "valkey.conf"
            settings.touch(mode=0o600)
            settings.write_text(self._configuration(), encoding="utf-8")
            started = run_as(self.directories.account, [binary, settings])
            if started.returncode != 0:
                raise ServerUnreachable(
                    f"the embedded Valkey did not start: {self._said(started.stdout)}"
                )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop it after it has written everything, and wait for its end."""
        if (pid := self.pid) is None:
            return
        os.kill(pid, signal.SIGTERM)
        try:
            wait_until_gone(pid, seconds=STOP_SECONDS)
        except ServerUnreachable:
            kill_tree(pid)

    def flush(self) -> None:
        """Delete all that it holds, for a test. Raises ServerUnreachable."""
        if (reply := self._reply_to("FLUSHALL")) != "+OK":
            raise ServerUnreachable(f"the embedded Valkey did not flush: {reply or 'no answer'}")

    def kill(self) -> None:
        """Send SIGKILL."""
        if (pid := self.pid) is not None:
            kill_tree(pid)

    def destroy(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        self.directories.remove()
        self._directories = None

    @property
    def _pid_file(self) -> Path:
        return self.directories.files / "valkey.pid"

    @property
    def _socket(self) -> Path:
        return socket_directory(self.directories, name=SOCKET_NAME) / SOCKET_NAME

    @property
    def _log(self) -> Path:
        return self.directories.files / "log"

    def _password(self) -> str:
        file = self.directories.files / "password"
        if not file.exists() or not file.stat().st_size:
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(16), encoding="utf-8")
        return file.read_text(encoding="utf-8")

    def _configuration(self) -> str:
        settings = SETTINGS | {
            "dir": _quoted(self.directories.files),
            "logfile": _quoted(self._log),
            "pidfile": _quoted(self._pid_file),
            "port": str(self.port or 0),
            "requirepass": self._password(),
            "unixsocket": _quoted(self._socket),
        }
        return "".join(f"{name} {value}\n" for name, value in sorted(settings.items()))

    def _wait_until_ready(self) -> None:
        """Wait until it answers PING. Before that it may still be loading its file."""
        last_alive = began = time.monotonic()
        while not self._answers():
            now = time.monotonic()
            # Its pid file exists a moment before it contains the number.
            last_alive = last_alive if self.pid is None else now
            if now - last_alive > GONE_SECONDS or now - began > START_SECONDS:
                raise ServerUnreachable(f"the embedded Valkey did not start: {self._said()}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        return self._reply_to("PING") == "+PONG"

    def _reply_to(self, command: str) -> str | None:
        """The reply in one line. None: it does not answer."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self._socket))
                probe.sendall(f"AUTH {self._password()}\r\n{command}\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := probe.recv(256)):
                    answer += part
            except OSError:
                return None
        return answer.decode(errors="replace").strip().rpartition("\r\n")[2]

    def _said(self, text: str = "") -> str:
        log = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        lines = (text.strip() or log.strip() or "it wrote no message").splitlines()
        return f"{lines[-1].strip()} (see {self._log})"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
