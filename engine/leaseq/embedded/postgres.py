"""Create, start, find and stop the embedded Postgres.

Invariants: a cluster is complete or absent (it is made under another name and then renamed).
`postgresql.conf` is ours and written at each start (use ALTER SYSTEM for other values). `fsync` is
never off. Every client that can open the socket is trusted, and only the account can open it. The
TCP port, if requested, listens on 127.0.0.1 and requires a password.
"""

from __future__ import annotations

import secrets
import signal
import time
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from leaseq.embedded import segments
from leaseq.embedded.binaries import postgres_bin
from leaseq.embedded.directories import (
    ServerDirectories,
    prepare_directories,
    server_account,
    socket_directory,
)
from leaseq.embedded.files import Files
from leaseq.embedded.processes import kill_tree, pid_in, run_as, signal_tree
from leaseq.errors import ServerUnreachable

__all__ = ["PostgresServer"]

ROLE = "leaseq"
DEFAULT_PORT = 5432
START_SECONDS = 30.0
RETRY_SECONDS = 0.1
# The line of postmaster.pid with the server's status (PostgreSQL 10 and later).
STATUS_LINE = 7
SERVING = ("ready", "standby")

INITDB = ("--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256")
SETTINGS = {
    # in its directory, so that a killed and removed server leaves nothing behind
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "unix_socket_permissions": "0700",
}


class PostgresServer:
    """One Postgres in `directory`. Without `port` it listens only on its unix socket.

    `bin_dir` selects the programs of another installation, from PostgreSQL 15 on. One object is
    used by one thread.
    """

    def __init__(
        self, directory: Path, port: int | None = None, *, bin_dir: Path | None = None
    ) -> None:
        self.directory = directory
        self.port = port
        self._bin_dir = bin_dir
        self._directories: ServerDirectories | None = None

    @property
    def directories(self) -> ServerDirectories:
        if self._directories is None:
            self._directories = prepare_directories(self.directory, account=server_account())
        return self._directories

    @property
    def pid(self) -> int | None:
        """The postmaster's pid; None if it does not run."""
        return pid_in(self._pid_file, directory=self._data, account=self.directories.account)

    @property
    def url(self) -> str:
        """The URL by the TCP port if there is one, else by the socket."""
        if self.port is None:
            return self.socket_url
        password = self._files.read(self._password_file) or ""
        return f"postgresql://{ROLE}:{password.strip()}@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        host = quote(str(self._socket_directory), safe="/")
        return f"postgresql://{ROLE}@/postgres?host={host}&port={self.port or DEFAULT_PORT}"

    def start(self) -> None:
        """Start the server or find it running, and return when it serves. Creates a missing
        cluster. Raises ServerUnreachable."""
        if self.pid is not None:
            self._wait_until_ready()
            return
        bin_dir = self._bin_dir or postgres_bin(self.directories.account)
        if not self._files.has_directory(self._data):
            self._make_cluster(bin_dir)
        self._files.make_directory(self._socket_directory)
        self._files.write(self._data / "postgresql.conf", self._configuration())
        # A killed postmaster leaves its pid in files. The number may now belong to another process,
        # and Postgres would assume a running server. `pid` has already reported that no server
        # works in this directory.
        self._files.remove(self._data / "postmaster.pid")
        self._files.remove_sockets(self._socket_directory)
        self._launch(bin_dir)

    def start_standby(self, primary: PostgresServer) -> None:
        """Copy the running `primary` into this empty directory and serve as its streaming standby.
        Raises ServerUnreachable.

        Its WAL receiver is called `walreceiver`, and `synchronous_standby_names = '*'` on the
        primary waits for it.
        """
        bin_dir = self._bin_dir or postgres_bin(self.directories.account)
        unfinished = self._private_copy()
        source = f"host={primary._socket_directory} port={primary.port or DEFAULT_PORT} user={ROLE}"
        command: list[str | Path] = [
            bin_dir / "pg_basebackup",
            "-D",
            unfinished,
            "-d",
            source,
            "-R",
            "-c",
            "fast",
        ]
        made = run_as(self.directories.account, command)
        if made.returncode != 0:
            raise ServerUnreachable(f"the standby could not be made: {_last_line(made.stderr)}")
        self._files.write(self._password_file, primary._files.read(primary._password_file) or "")
        self._files.rename(unfinished, self._data)
        self.start()

    def promote(self) -> None:
        """Make a standby a primary on a new timeline. Returns when it takes writes. Raises
        ServerUnreachable."""
        bin_dir = self._bin_dir or postgres_bin(self.directories.account)
        made = run_as(
            self.directories.account,
            [bin_dir / "pg_ctl", "-D", self._data, "-w", "-t", "30", "-s", "promote"],
        )
        if made.returncode != 0:
            raise ServerUnreachable(f"the standby was not promoted: {_last_line(made.stderr)}")

    def freeze(self) -> None:
        """SIGSTOP to the postmaster first and then to its children, so that it starts no process in
        between."""
        if (pid := self.pid) is not None:
            signal_tree(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to the postmaster and its children."""
        if (pid := self.pid) is not None:
            signal_tree(pid, signal.SIGCONT)

    def stop(self, mode: Literal["fast", "immediate", "smart"] = "fast") -> None:
        """Stop it and wait for its end. With `immediate`, recovery is left to the next start."""
        if (pid := self.pid) is None:
            return
        bin_dir = self._bin_dir or postgres_bin(self.directories.account)
        command: list[str | Path] = [
            bin_dir / "pg_ctl",
            "-D",
            self._data,
            "-m",
            mode,
            "-w",
            "-t",
            "20",
            "-s",
            "stop",
        ]
        run_as(self.directories.account, command)
        if self.pid == pid:
            kill_tree(pid)

    def kill(self) -> None:
        """SIGKILL to the postmaster and its children."""
        if (pid := self.pid) is not None:
            kill_tree(pid)

    def destroy(self) -> None:
        """Kill it and delete its data."""
        segment = segments.segment_in(self._pid_file, uid=self.directories.account.uid)
        self.kill()
        if segment is not None:
            segments.remove(segment)
        self.directories.remove()
        self._directories = None

    @property
    def _data(self) -> Path:
        return self.directories.files / "data"

    @property
    def _files(self) -> Files:
        return Files(self.directories.account)

    @property
    def _pid_file(self) -> str | None:
        """The text of a file in the directory, if it exists."""
        return self._files.read(self._data / "postmaster.pid")

    @property
    def _password_file(self) -> Path:
        return self.directories.files / "password"

    @property
    def _socket_directory(self) -> Path:
        return socket_directory(self.directories, name=f".s.PGSQL.{self.port or DEFAULT_PORT}")

    def _make_cluster(self, bin_dir: Path) -> None:
        unfinished = self._private_copy()
        self._files.write(self._password_file, f"{secrets.token_hex(16)}\n")
        command: list[str | Path] = [bin_dir / "initdb", "-D", unfinished, "-U", ROLE, *INITDB]
        command.append(f"--pwfile={self._password_file}")
        made = run_as(self.directories.account, command)
        if made.returncode != 0:
            raise ServerUnreachable(
                f"the embedded Postgres could not be made: {_last_line(made.stderr)}"
            )
        self._files.rename(unfinished, self._data)

    def _private_copy(self) -> Path:
        """An empty directory beside the data, to be renamed when it is complete."""
        unfinished = self.directories.files / "data.new"
        self._files.remove(unfinished)
        self._files.make_directory(unfinished)
        return unfinished

    def _configuration(self) -> str:
        settings = SETTINGS | {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or DEFAULT_PORT),
            "unix_socket_directories": str(self._socket_directory),
        }
        lines = [
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'"
            for name, value in sorted(settings.items())
        ]
        return (
            "# Written by leaseq at each start. Use ALTER SYSTEM for what should differ.\n"
            + "\n".join(lines)
            + "\n"
        )

    def _launch(self, bin_dir: Path) -> None:
        log = self.directories.files / "log"
        command: list[str | Path] = [
            bin_dir / "pg_ctl",
            "-D",
            self._data,
            "-l",
            log,
            "-w",
            "-s",
            "start",
        ]
        give_up = time.monotonic() + START_SECONDS
        while run_as(self.directories.account, command).returncode != 0:
            last_line = _last_line(self._files.read(log) or "")
            # The children of a killed postmaster hold its shared memory for a moment longer.
            if "shared memory" not in last_line or time.monotonic() > give_up:
                raise ServerUnreachable(
                    f"the embedded Postgres did not start: {last_line} (see {log})"
                )
            time.sleep(RETRY_SECONDS)

    def _wait_until_ready(self) -> None:
        """Wait for a start by another process, or for crash recovery, to complete."""
        give_up = time.monotonic() + START_SECONDS
        while self.pid is not None and time.monotonic() < give_up:
            lines = (self._pid_file or "").splitlines()
            if lines[STATUS_LINE:] and lines[STATUS_LINE].strip() in SERVING:
                return
            time.sleep(RETRY_SECONDS)
        raise ServerUnreachable(
            f"the embedded Postgres in {self.directory} did not become ready in time"
        )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    fatal = [line for line in lines if "FATAL" in line or "error:" in line]
    return (fatal or lines or ["it wrote no message"])[-1]
