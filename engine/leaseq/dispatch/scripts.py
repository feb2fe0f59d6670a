"""Load the Lua scripts, and run them.

Each script is one file in `lua/` whose header lists KEYS, ARGV with units, and the reply. Scripts
are called by their SHA. They are sent whole only when the server does not know one of them (after a
restart, a failover or SCRIPT FLUSH), and on the same connection, because another connection may
lead to another server. Then all scripts are sent. A Redis user who may load scripts may run any
Lua, even an endless script, so only reapers need that right (docs/operations.md), and reapers call
a few of the scripts themselves. Each script is short and bounded in what it moves, because a long
one would starve the heartbeats of all workers (docs/pitfalls.md#p11).

Values in Redis are hostile. A script checks the type of every key before it moves anything, and
stops at a wrong one. Such a key is removed here, because the ledger can restore everything in
dispatch, and the script runs again. If deliveries may have been lost with the key, the epoch is
removed, too, so that every reaper scans the whole ledger (data_loss.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

from leaseq.connections.single_commands import SingleCommands
from leaseq.dispatch.keys import epoch_beside, type_of
from leaseq.observability.telemetry import emit


def load_scripts() -> dict[str, str]:
    """Every script by its file name without the ending."""
    folder = files("leaseq.dispatch") / "lua"
    return {
        entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }


SCRIPTS = load_scripts()
# The names of the scripts in Redis. They are no secrets.
SHAS = {
    name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()
}

# Commands of one pipeline: the server answers other clients between two pipelines, and a reply is
# bounded.
PIPELINE = 500

# Values of one script: Lua's unpack and the time for which a script may block the server both
# require small batches.
SCRIPT_BATCH = 500

# The keys and the arguments of a script.
Call = tuple[Sequence[str], Sequence[Any]]

# The errors for a key of another type (Redis), and for a key that holds more than leaseq ever
# stores there (scripts).
ODD = ("WRONGTYPE", "CROWDED")
SHOWN = 5


class NotLoaded(NoPermissionError):
    """The server does not know the scripts, and this user of Redis may not load them."""

    def __init__(self) -> None:
        super().__init__(
            "the scripts are not loaded, and this user of Redis may not load them: a reaper does that, so start one"
        )


def is_odd(error: object) -> bool:
    """Whether this is the error about a key that leaseq has not made like this."""
    return isinstance(error, RedisError) and any(word in str(error) for word in ODD)


def raise_first(replies: Sequence[object]) -> None:
    """Raise the first error among the replies."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


class Scripts:
    """The scripts, bound to one client. With `repairs` false no key is removed."""

    def __init__(self, client: Redis, *, repairs: bool = True) -> None:
        self._client = client
        self._commands = SingleCommands(client)
        self._repairs = repairs
        self._loaded = False  # whether they were sent once

    async def load(self) -> None:
        """Send all scripts. Raises `NotLoaded` if this Redis user may not."""
        pipe = self._client.pipeline(transaction=False)
        _ = [pipe.script_load(text) for text in SCRIPTS.values()]
        try:
            await pipe.execute()
        except NoPermissionError as error:
            raise NotLoaded from error

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Returns its reply as redis-py gives it (bytes for strings)."""
        try:
            return await self._commands.send("EVALSHA", SHAS[name], len(keys), *keys, *args)
        except ResponseError as error:
            reply: Any = error
        if isinstance(reply, NoScriptError):
            (reply,) = await self._run_each(name, [(keys, args)], load=True)
            if isinstance(reply, NoScriptError):
                raise NotLoaded from None
        if is_odd(reply) and await self.repair(keys):
            (reply,) = await self._run_each(name, [(keys, args)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def tell(self, command: str, key: str, *args: Any) -> Any:
        """Run one plain command on one key, and handle a key of another type in the same way."""
        try:
            return await self._client.execute_command(command, key, *args)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if not (is_odd(error) and await self.repair([key])):
                raise
            return await self._client.execute_command(command, key, *args)  # type: ignore[no-untyped-call]

    async def repair(self, keys: Sequence[str]) -> bool:
        """Remove the odd ones of these keys, unless another process has done it. False if we or our
        user may not."""
        if not self._repairs:
            return False
        try:
            flat = await self.run("repair", keys, [type_of(key) for key in keys])
        except NoPermissionError:
            return False
        removed = {
            keys[number - 1]: kind.decode()
            for number, kind in zip(flat[::2], flat[1::2], strict=True)
        }
        if removed:
            shown = [f"{key} ({kind})" for key, kind in [*removed.items()][:SHOWN]]
            emit("dispatch.repaired", count=len(removed), keys=shown)
        epochs = sorted({epoch for key in removed if (epoch := epoch_beside(key))})
        if epochs:
            await self._client.delete(*epochs)
        return True

    async def repair_answered(self, keys: Sequence[str], replies: Sequence[object]) -> None:
        """Remove the keys for which a script has answered -1; they then count as empty. Raises if
        we may not remove them."""
        wrong = [key for key, reply in zip(keys, replies, strict=True) if reply == -1]
        if wrong and not await self.repair(wrong):
            raise ResponseError(
                f"WRONGTYPE: {wrong[0]} is of another type, and this user of Redis may not remove it"
            )

    async def run_each(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Run one script for each call, in one round trip. Returns a reply or an error for each."""
        if len(calls) == 1:
            ((keys, args),) = calls
            try:
                return [await self.run(name, keys, args)]
            except ResponseError as error:
                return [error]
        # Sent together with the first calls: otherwise each call would fail as unknown.
        replies = await self._run_each(name, calls, load=not self._loaded)
        unknown = [
            number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)
        ]
        await self._run_again(name, calls, replies, unknown, load=True)
        odd = [number for number, reply in enumerate(replies) if is_odd(reply)]
        if odd and await self.repair([key for number in odd for key in calls[number][0]]):
            await self._run_again(name, calls, replies, odd)
        return replies

    async def _run_again(
        self,
        name: str,
        calls: Sequence[Call],
        replies: list[Any],
        numbers: Sequence[int],
        *,
        load: bool = False,
    ) -> None:
        """Run some of the calls again, and put their replies in place."""
        if numbers:
            again = await self._run_each(name, [calls[number] for number in numbers], load=load)
            for number, reply in zip(numbers, again, strict=True):
                replies[number] = reply

    async def _run_each(self, name: str, calls: Sequence[Call], *, load: bool = False) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        if load:
            _ = [pipe.script_load(text) for text in SCRIPTS.values()]
            self._loaded = True
        _ = [pipe.evalsha(SHAS[name], len(keys), *keys, *args) for keys, args in calls]
        replies = await pipe.execute(raise_on_error=False)
        return list(replies[len(SCRIPTS) :] if load else replies)


__all__ = [
    "PIPELINE",
    "SCRIPTS",
    "SCRIPT_BATCH",
    "SHAS",
    "Call",
    "NotLoaded",
    "Scripts",
    "is_odd",
    "load_scripts",
    "raise_first",
]
