"""Start one worker process, and know its state as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from time import monotonic

import msgspec

from leaseq.config import Config, hide_secrets, split_secrets
from leaseq.metrics.tally import TALLY, Series
from leaseq.supervisor.protocol import Channel, ChildSpec, FromChild, FromSupervisor

BOOT_SECONDS = 120.0
LAST_WORDS_SECONDS = 0.3

# Signals that people and service managers send. SIGKILL is not among them: the kernel sends it for
# want of memory.
SENT_BY_OTHERS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})


class ChildProcess:
    """A running child, as its supervisor sees it."""

    def __init__(
        self, spec: ChildSpec, process: asyncio.subprocess.Process, channel: Channel
    ) -> None:
        self.spec = spec
        self.process = process
        self.channel = channel
        self.started = monotonic()
        self.last_tick = monotonic()
        self.running = 0
        self.taken = 0
        self.ready = False
        self.leaving = False
        self.closed = False
        self.levels: tuple[Series, ...] = ()
        # the supervisor asked it to end, or it was killed while something else had stopped it
        self.excused = False
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, spec: ChildSpec, config: Config) -> ChildProcess:
        """Start `python -m leaseq.worker.child`. Exec, not fork: the process inherits none of the
        supervisor's connections.

        The process leads a session: a signal that a handler sends to its process group reaches no
        other worker process, and the processes that handlers start are known by that session. The
        URLs come through a pipe, since programs that handlers start inherit the environment. `-P`:
        a file of the working directory called `queue.py` does not replace the module of the
        standard library.
        """
        values, secrets = split_secrets(config)
        ours, theirs = socket.socketpair()
        given = _pipe_with(msgspec.json.encode(secrets))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "leaseq.worker.child",
                msgspec.json.encode(spec).decode(),
                str(theirs.fileno()),
                str(given),
                pass_fds=[theirs.fileno(), given],
                stdin=asyncio.subprocess.DEVNULL,
                env=hide_secrets(os.environ | values, secrets) | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(given)
        return cls(spec, process, await Channel.over(ours))

    def stalled(self, limit_seconds: float) -> bool:
        """Whether its loop has stopped turning. A child that is still importing its app has longer:
        it holds no task yet."""
        return self.silent_seconds > (
            limit_seconds if self.ready else max(limit_seconds, BOOT_SECONDS)
        )

    @property
    def silent_seconds(self) -> float:
        """For how long its loop was not seen to turn."""
        return monotonic() - self.last_tick

    def tell(self, message: FromSupervisor) -> None:
        self.excused = self.excused or message.drain is not None or message.lease_lost is not None
        self.channel.send(message)

    def kill(self) -> None:
        """End a child whose loop has stopped turning. One that another process has stopped
        (SIGSTOP) is excused."""
        self.excused = self.excused or is_stopped(self.process.pid)
        self.process.kill()

    def crashed(self, code: int) -> bool:
        """Whether the task that it ran ended it. Known of an isolation child only, which runs one
        task and nothing else (docs/decisions/0016-blame-needs-a-witness.md)."""
        if not self.spec.isolated or self.leaving or self.closed or self.excused:
            return False
        return -code not in SENT_BY_OTHERS

    async def wait(self) -> int:
        """Wait for its end; returns the exit code (negative: the signal that ended it)."""
        code = await self.process.wait()
        # Its last message is here already. The end of the stream may not come: a process that it
        # forked holds its end open, too.
        await asyncio.wait([self.reading], timeout=LAST_WORDS_SECONDS)
        self.reading.cancel()
        self.channel.close()
        return code

    async def _read(self) -> None:
        while (line := await self.channel.receive()) is not None:
            message = msgspec.json.decode(line, type=FromChild)
            self.last_tick = monotonic()
            self.running = message.running
            self.taken = max(self.taken, message.taken)
            self.leaving = self.leaving or message.leaving
            self.ready = self.ready or message.ready
            self.closed = self.closed or message.closed
            TALLY.add(message.counted)
            self.levels = message.levels or self.levels


def _pipe_with(data: bytes) -> int:
    """A pipe that holds this data, which is less than a pipe takes; returns the end to read
    from."""
    end, start = os.pipe()
    with os.fdopen(start, "wb") as pipe:
        pipe.write(data)
    return end


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped this process. False where the system does not
    tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] in ("T", "t")
    except OSError:
        return False


__all__ = ["ChildProcess"]
