"""The task types that workers have registered, as of a few seconds ago.

A process without the code of the handlers checks payloads and completes submissions by this copy of
the ledger. A long-lived process refreshes it in the background, not on the way of a submission, and
goes on using it while Postgres is away. Only an unknown name causes a look into the ledger, since a
worker may have registered it a moment ago, and that at most four times a second for all callers. A
type that is not found has no registered queue and limits, and its payloads are not checked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.loop import run_forever
from leaseq.observability.telemetry import emit
from leaseq.payloads.collisions import guarded
from leaseq.payloads.known_type import Decode, KnownType
from leaseq.payloads.old_schemas import shape_from
from leaseq.payloads.shapes import decoder_of, stamp_of
from leaseq.safe_text.redaction import ANY, Pointer, parse_pointers

REFRESH_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.25
# Live versions of one type beyond these are not asked, so that a refusal stays cheap.
MOST_VERSIONS = 8


class KnownTypes:
    """Every registered task type."""

    def __init__(self, ledger: TypeLedger) -> None:
        self._ledger = ledger
        self._sources: dict[str, list[TaskType]] = {}
        self._types: dict[str, KnownType] = {}
        self._pointers: dict[str, tuple[Pointer, ...]] = {}
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")

    def known(self, name: str) -> KnownType | None:
        """A type, from memory."""
        return self._types.get(name)

    def redacted_in(self, name: str) -> tuple[Pointer, ...]:
        """The places of the values that are masked for readers, in the live versions of a type."""
        return self._pointers.get(name, ())

    async def look_again(self, name: str) -> KnownType | None:
        """A type, after one more look into the ledger, unless the last look was a moment ago."""
        async with self._lock:
            if name not in self._types and self._now() - self._looked_at >= LOOK_AGAIN_SECONDS:
                await self._look()
        return self._types.get(name)

    async def refresh(self) -> None:
        """Read every type from the ledger. A type that has not changed keeps its decoders."""
        async with self._lock:
            await self._look()

    async def _look(self) -> None:
        try:
            found = await self._ledger.list_types()
        finally:
            # Its end counts: callers that waited for a look that failed slowly do not try the same
            # one after another.
            self._looked_at = self._now()
        sources: dict[str, list[TaskType]] = defaultdict(list)
        for source in found:
            sources[source.type].append(source)
        self._types = {
            name: self._types[name] if self._sources.get(name) == versions else _compile(versions)
            for name, versions in sources.items()
        }
        self._sources = sources
        self._pointers = {
            name: pointers
            for name, versions in sources.items()
            if (pointers := _pointers(versions))
        }

    async def keep_fresh(self, *, stop: asyncio.Event) -> None:
        """Refresh every few seconds until `stop` is set."""
        await run_forever(
            self.refresh, name="known types", interval_seconds=REFRESH_SECONDS, stop=stop
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _compile(versions: Sequence[TaskType]) -> KnownType:
    """A type of these versions, the newest first. A shape that cannot be used stops no submission:
    nothing is checked then."""
    decoders: dict[str, Decode] = {}
    try:
        for version in versions[:MOST_VERSIONS]:
            shape = (
                shape_from(version.payload_schema or b"{}")
                if version.shape is None
                else version.shape
            )
            stamp = "" if version.shape is None else stamp_of(shape)
            if stamp not in decoders:
                decoders[stamp] = guarded(shape, decoder_of(shape).decode)
    except ValueError as error:
        emit("schema.refused", type=versions[0].type, error=str(error)[:200])
        decoders.clear()
    return KnownType(
        versions[0].defaults,
        list(decoders.items()),
        encoded=versions[0].encoded,
        takes_envelopes=any(version.encoded for version in versions),
    )


def _pointers(versions: Sequence[TaskType]) -> tuple[Pointer, ...]:
    """The places that any of these versions masks. A list that cannot be read masks everything."""
    found: dict[Pointer, None] = {}
    for redact in filter(None, (version.redact for version in versions)):
        try:
            found |= dict.fromkeys(parse_pointers(msgspec.json.decode(redact)))
        except (TypeError, ValueError):
            found[(ANY,)] = None
    return tuple(found)


__all__ = ["KnownTypes"]
