"""Does a payload fit what the handler of its type takes?

Workers write the JSON Schema of every task type to the ledger, with its queue and its limits; this is the API's copy. It is
refreshed in the background, not on the way of a submission, and stays in use while Postgres is away. Only an unknown name
causes a look into the ledger, since a worker may have registered it a moment ago, and that at most four times a second, whoever
asks: until then it has no queue and no limits of its own, and nobody looks at its payload.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from leaseq.errors import PayloadInvalid
from leaseq.ledger.fleet import Fleet, TaskType
from leaseq.loop import run_forever
from leaseq.model import TypeDefaults
from leaseq.telemetry import emit

REFRESH_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.25


class KnownType:
    """One registered task type: what its submissions may leave unsaid, and what their payloads look like."""

    def __init__(self, source: TaskType) -> None:
        self.source = source
        self._validator = _compile(source)

    @property
    def defaults(self) -> TypeDefaults:
        return self.source.defaults

    def check(self, payload: bytes) -> None:
        """Raise `PayloadInvalid`, with a JSON pointer into the payload, if it does not fit."""
        if self._validator is None:
            return
        error = next(self._validator.iter_errors(msgspec.json.decode(payload)), None)
        if error is not None:
            raise PayloadInvalid(error.message, pointer=_pointer(error.instance_path))


class PayloadSchemas:
    """Every registered task type, as of a few seconds ago."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._types: dict[str, KnownType] = {}
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")

    def known(self, name: str) -> KnownType | None:
        """A type, from memory."""
        return self._types.get(name)

    async def look_again(self, name: str) -> KnownType | None:
        """A type, after one more look into the ledger, unless somebody has looked a moment ago."""
        async with self._lock:
            if name not in self._types and self._now() - self._looked_at >= LOOK_AGAIN_SECONDS:
                await self._look()
        return self._types.get(name)

    async def refresh(self) -> None:
        """Read every type from the ledger. What has not changed keeps its compiled schema."""
        async with self._lock:
            await self._look()

    async def _look(self) -> None:
        try:
            found = await self._fleet.list_types()
        finally:
            # Its end counts: those who waited for a look that failed slowly do not try the same one after another.
            self._looked_at = self._now()
        kept = self._types
        self._types = {
            source.type: known if (known := kept.get(source.type)) and known.source == source else KnownType(source)
            for source in found
        }

    async def keep_fresh(self, *, stop: asyncio.Event) -> None:
        """Refresh every few seconds until `stop` is set."""
        await run_forever(self.refresh, name="payload schemas", interval_seconds=REFRESH_SECONDS, stop=stop)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _compile(source: TaskType) -> Any:
    """A validator; None for a schema that cannot be used, since a wrong schema must not stop the submissions."""
    try:
        schema = msgspec.json.decode(source.payload_schema)
        # Messages say "the value" and do not quote it: it may be long, or secret.
        return jsonschema_rs.validator_for(schema, mask="the value", retriever=_retrieve_nothing)
    except ValueError as error:
        emit("schema.refused", type=source.type, error=type(error).__name__)
        return None


def _retrieve_nothing(uri: str) -> NoReturn:
    """A reference to somewhere else must not make this service open files or connections."""
    raise ValueError(f"a payload schema may not refer to {uri}")


def _pointer(path: list[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


__all__ = ["KnownType", "PayloadSchemas"]
