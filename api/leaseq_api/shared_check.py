"""The check of the servers, made at most every ten seconds for all who ask."""

from __future__ import annotations

import asyncio
from typing import Any

from leaseq.config import Config
from leaseq.server_checks.startup import inspect_servers
from leaseq_api.operate_schemas import Check, Setting

FRESH_SECONDS = 10.0


class SharedCheck:
    """The last check of one process. A check connects to both servers, so it is made at most every
    ten seconds, for all who ask."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = asyncio.Lock()
        self._last: Check | None = None
        self._read_at = float("-inf")

    async def read(self) -> Check:
        """A check that is at most ten seconds old."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._last is None or now - self._read_at >= FRESH_SECONDS:
                self._last = await make_check(self._config)
                self._read_at = now
            return self._last


async def make_check(config: Config) -> Check:
    """Ask both servers, and compare the configuration with its defaults."""
    report = await inspect_servers(config)
    shown = {f"LEASEQ_{name.upper()}": _plain(v) for name, v in config.redacted().items()}
    defaults = {f"LEASEQ_{name.upper()}": _plain(v) for name, v in Config().redacted().items()}
    return Check(
        ok=not any(finding.fatal for finding in report.findings),
        servers=report.servers,
        findings=sorted(report.findings, key=lambda finding: not finding.fatal),
        config=shown,
        changed=[name for name, value in shown.items() if value != defaults[name]],
    )


def _plain(value: Any) -> Setting:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


__all__ = ["SharedCheck"]
