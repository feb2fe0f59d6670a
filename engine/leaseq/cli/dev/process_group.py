"""Run API, worker and reaper together, and stop them in order.

They start together. They stop in this order: the API, so that no more tasks come in; the worker,
which finishes or hands back its running tasks; the reaper; and finally, when no process holds them
any more, the embedded servers. If one part cannot start, all of them stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from leaseq.cli.dev.kill_tests import KillTests
from leaseq.cli.dev.managed_process import ManagedProcess, ProcessSpec
from leaseq.cli.dev.printer import Printer
from leaseq.cli.exit_codes import FAILED, OK
from leaseq.config import Config
from leaseq.loop import pause

STOP_SECONDS = 10.0
PROBE_SECONDS = 0.1
ANSWER_SECONDS = 2.0

Changes = Callable[[asyncio.Event], AsyncIterator[str]]


class ProcessGroup:
    """The parts, in the order in which they stop. `changes` reports changed code until its event is
    set; None: no reload. `kill_tests`: the socket by which the API asks for them; None: none."""

    def __init__(
        self,
        config: Config,
        app: str,
        *,
        changes: Changes | None,
        printer: Printer,
        kill_tests: Path | None = None,
    ) -> None:
        self._config = config
        self._printer = printer
        self._changes = changes
        self._stopping = asyncio.Event()
        env = os.environ | {"LEASEQ_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        # Worker and reaper cannot share it. The API serves its metrics on its own port.
        env.pop("LEASEQ_METRICS_PORT", None)
        env.setdefault("LEASEQ_UI_LABEL", "dev, this machine")
        offered = [] if kill_tests is None else ["--kill-tests", str(kill_tests)]
        api = ProcessSpec(
            name="api",
            arguments=["api", "--port", str(config.api_port), *offered],
            up=None,
            stop_seconds=STOP_SECONDS,
        )
        worker = ProcessSpec(
            name="worker",
            arguments=["worker", app],
            up="worker.opened",
            stop_seconds=config.grace_seconds + STOP_SECONDS,
            reloads=changes is not None,
        )
        reaper = ProcessSpec(
            name="reaper", arguments=["reaper"], up="reaper.started", stop_seconds=STOP_SECONDS
        )
        self._api, self._worker, self._reaper = (
            ManagedProcess(e, env=env, printer=printer) for e in (api, worker, reaper)
        )
        self._kill_tests: KillTests | None = None
        if kill_tests is not None:
            self._kill_tests = KillTests(config, kill_tests, worker=self._worker, printer=printer)

    async def run(self) -> int:
        """Run until a signal, or until a part is given up. Returns the exit code."""
        if self._kill_tests is not None:
            await self._kill_tests.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        parts = (self._api, self._worker, self._reaper)
        running = [asyncio.create_task(part.run()) for part in parts]
        around = [asyncio.create_task(self._announce())]
        if self._changes is not None:
            around.append(asyncio.create_task(self._reload(self._changes)))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
        code = self._judge(parts)
        self._stopping.set()
        for part in parts:
            part.stop_restarting()
        for task in around:
            task.cancel()
        await asyncio.gather(*around, stopping, return_exceptions=True)
        if self._kill_tests is not None:
            await self._kill_tests.aclose()
        for part in parts:
            await part.stop()
        await asyncio.gather(*running)
        return code

    def _stop(self) -> None:
        if self._stopping.is_set():
            for part in (self._api, self._worker, self._reaper):
                part.hurry()
        else:
            self._printer.say("stopping; press Ctrl-C again to hurry")
        self._stopping.set()

    def _judge(self, parts: Sequence[ManagedProcess]) -> int:
        for part in parts:
            if part.given_up is not None:
                self._printer.say(
                    f"{part.name} cannot start (see above): stopping everything", colour="red"
                )
                return part.given_up if part.given_up > 0 else FAILED
        return OK

    async def _announce(self) -> None:
        """Print the address of the API once it answers."""
        host, port = self._config.api_host, self._config.api_port
        while not await asyncio.to_thread(_answers, self._config):
            await pause(PROBE_SECONDS, stop=self._stopping)
        self._api.came_up()
        where = f"[{host}]" if ":" in host else host
        scheme = "http" if self._config.api_tls_cert is None else "https"
        self._printer.say(
            f"ready: {scheme}://{where}:{port} (asks for no API key; dashboard: /ui, the API: /docs); Ctrl-C stops it",
            colour="green",
        )

    async def _reload(self, changes: Changes) -> None:
        async for path in changes(self._stopping):
            self._printer.say(f"{path} changed: restarting the worker", colour="yellow")
            await self._worker.reload()


def _answers(config: Config) -> bool:
    host, port = config.api_host, config.api_port
    connection = HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    if config.api_tls_cert is not None:
        # The certificate names the host that clients use.
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=unverified)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


__all__ = ["ProcessGroup"]
