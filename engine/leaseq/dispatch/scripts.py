"""Load the Lua scripts, and run them.

Each is one file in `lua/` whose header lists KEYS, ARGV with units, and what it returns. They are called by their SHA and sent
whole only when the server does not know them (after a restart, a failover or SCRIPT FLUSH), on the same connection: another one
may lead to another server. Each is short and bounded in what it moves: a long script would starve the heartbeats of all workers
(faults.md P11).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError


def load_scripts() -> dict[str, str]:
    """Every script by its file name without the ending."""
    folder = files("leaseq.dispatch") / "lua"
    return {
        entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }


SCRIPTS = load_scripts()
# What Redis calls a script by, which is no secret.
SHAS = {name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()}

# The keys and the arguments of a script.
Call = tuple[Sequence[str], Sequence[Any]]


class Scripts:
    """The scripts, bound to one client."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script; its reply as redis-py gives it (bytes for strings)."""
        try:
            return await self._client.evalsha(SHAS[name], len(keys), *keys, *args)
        except NoScriptError:
            pipe = self._client.pipeline(transaction=False)
            _ = [pipe.script_load(SCRIPTS[name]), pipe.evalsha(SHAS[name], len(keys), *keys, *args)]
            return (await pipe.execute())[-1]

    async def run_each(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Run one script for each call, in one round trip; for each its reply, or the error in its place."""
        if len(calls) == 1:
            ((keys, args),) = calls
            try:
                return [await self.run(name, keys, args)]
            except ResponseError as error:
                return [error]
        replies = await self._run_each(name, calls)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._run_each(name, [calls[number] for number in unknown], load=True)
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        return replies

    async def _run_each(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], *, load: bool = False
    ) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        if load:
            _ = pipe.script_load(SCRIPTS[name])
        _ = [pipe.evalsha(SHAS[name], len(keys), *keys, *args) for keys, args in calls]
        replies = await pipe.execute(raise_on_error=False)
        return list(replies[1:] if load else replies)


__all__ = ["SCRIPTS", "SHAS", "Call", "Scripts", "load_scripts"]
