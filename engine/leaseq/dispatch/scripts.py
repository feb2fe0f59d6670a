"""Where do the Lua scripts come from, and how are they run?

Each is one file in `lua/` whose header lists KEYS, ARGV with units, and what it returns. They are called by their SHA and
sent whole only when the server does not know them (after a restart or SCRIPT FLUSH). Each is short and bounded in
what it moves: a long script would starve the heartbeats of everybody (faults.md P11).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis


def load_scripts() -> dict[str, str]:
    """Every script by its file name without the ending."""
    folder = files("leaseq.dispatch") / "lua"
    return {
        entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }


SCRIPTS = load_scripts()


class Scripts:
    """The scripts, bound to one client."""

    def __init__(self, client: Redis) -> None:
        self._scripts = {name: client.register_script(text) for name, text in SCRIPTS.items()}

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script; its reply as redis-py gives it (bytes for strings)."""
        return await self._scripts[name](keys=list(keys), args=list(args))


__all__ = ["SCRIPTS", "Scripts", "load_scripts"]
