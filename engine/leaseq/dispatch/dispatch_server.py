"""Ask the server of dispatch for its epoch, its owner, its run and its settings."""

from __future__ import annotations

import re

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from leaseq.dispatch.keys import Keys
from leaseq.dispatch.ownership import NO_LEDGER, Owner, ask_owner
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import Scripts, is_odd

# In the reply to INFO: the memory of the data, and the run id of the server process.
USED_MEMORY = re.compile(rb"^used_memory:(\d+)", re.MULTILINE)
RUN_ID = re.compile(rb"^run_id:(\S+)", re.MULTILINE)


class DispatchServer:
    """The Redis or Valkey behind dispatch. With `repairs` false a key of another type stays."""

    def __init__(self, client: Redis, keys: Keys, *, repairs: bool = True) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client, repairs=repairs)

    async def epoch(self) -> str | None:
        """The epoch of dispatch; None if Redis has none."""
        with reachable():
            return await self._epoch("") or None

    async def begin_epoch(self, token: str) -> str:
        """Set the epoch unless there is one. Returns the current epoch."""
        with reachable():
            return await self._epoch(token)

    async def _epoch(self, token: str) -> str:
        value: bytes = await self._scripts.run("epoch", [self._keys.data()], [token])
        return value.decode(errors="replace")

    async def owner(self) -> Owner:
        """The ledger that owns the prefix, and the newest timeline of its Postgres."""
        with reachable():
            try:
                return await ask_owner(self._scripts, self._keys)
            except ResponseError as error:
                if not is_odd(error):
                    raise
                return Owner(NO_LEDGER, None)

    async def run_id(self) -> str | None:
        """The run id of the server process, which changes with every restart; None if INFO is not
        allowed."""
        return await self._info("server", RUN_ID)

    async def memory_bytes(self) -> int | None:
        """The memory that the data takes; None if INFO is not allowed."""
        found = await self._info("memory", USED_MEMORY)
        return None if found is None else int(found)

    async def _info(self, section: str, field: re.Pattern[bytes]) -> str | None:
        with reachable():
            try:
                # As one word: for a command that redis-py knows, it parses all forty lines of the
                # reply.
                reply = await self._client.execute_command(f"INFO {section}")  # type: ignore[no-untyped-call]
            except NoPermissionError:
                return None
        found = field.search(reply)
        return found and found[1].decode("ascii", "replace")

    async def probe(self) -> None:
        """Raise `ServerUnreachable` unless Redis answers and would accept a write. A full server or
        a replica would not."""
        with reachable():
            await self._client.set(self._keys.probe(), "", xx=True)

    async def settings(self) -> dict[str, str]:
        """Settings that could break a guarantee, as far as the server reports them (some may be
        hidden: then empty)."""
        with reachable():
            pipe = self._client.pipeline(transaction=False)
            _ = [
                pipe.info(section) for section in ("memory", "persistence", "replication", "server")
            ]
            try:
                memory, persistence, replication, server = await pipe.execute()
            except NoPermissionError:
                memory = persistence = replication = server = {}
        return {
            "maxmemory_policy": str(memory.get("maxmemory_policy", "")),
            "aof_enabled": str(persistence.get("aof_enabled", "")),
            "role": str(replication.get("role", "")),
            "mode": str(server.get("redis_mode") or server.get("server_mode", "")),
            "product": "Valkey"
            if server.get("valkey_version") or server.get("server_name") == "valkey"
            else "Redis",
            "version": str(server.get("valkey_version") or server.get("redis_version", "")),
        }


__all__ = ["DispatchServer"]
