"""The API keys that this process has seen, as the ledger had them a moment ago.

Invariant: no key is accepted on a record that was read more than `FRESH_SECONDS` ago, so a
revocation counts in every process within that time. Records are read when a key is first sent, and
again every two seconds as long as they are remembered, so that a request rarely waits for one.
Expiry is judged by the clock of Postgres: a record says how many seconds are left. Ids that do not
exist are kept apart from keys, because clients can invent any number of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from leaseq.api_keys import StoredKey, key_id_of
from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq.gather import Gatherer
from leaseq.loop import run_forever
from leaseq.operations.access import Access
from leaseq_api.refused import Refused
from leaseq_api.security.principal import Principal

REFRESH_SECONDS = 2.0
FRESH_SECONDS = 5.0
TOUCH_EVERY = 30  # refreshes
# Keys that are remembered, and ids that are known not to exist.
REMEMBERED = 10_000
# Look-ups of one statement, and those that wait for it.
LOOK_UP_SIZE = 200
LOOK_UP_CAPACITY = 2_000

_NO_DIGEST = bytes(32)


class RingEntry:
    """One remembered key."""

    __slots__ = ("digest", "ends", "is_revoked", "principal", "read_at", "stale_at", "used")

    def __init__(self, stored: StoredKey, now: float) -> None:
        self.principal = Principal(
            stored.id, stored.name, stored.tenant, stored.scopes, stored.limit
        )
        self.digest = stored.digest
        self.is_revoked = stored.is_revoked
        self.ends = None if stored.seconds_left is None else now + stored.seconds_left
        self.read_at = now
        self.stale_at = now + FRESH_SECONDS
        self.used = False


class KeyRing:
    """The keys of one process."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._entries: OrderedDict[str, RingEntry] = OrderedDict()
        # Ids that the ledger does not have. They are forgotten at each refresh, because a key may
        # exist by then.
        self._unknown: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._refreshes = 0
        self._looking: Gatherer[str, RingEntry | None] = Gatherer(
            self._look_up, batch_size=LOOK_UP_SIZE, capacity=LOOK_UP_CAPACITY
        )

    def recall(self, text: str) -> Principal | None:
        """The principal of a key that is remembered and valid; None: ask `check`."""
        entry = self._entries.get(text[3:15])
        if entry is None or entry.is_revoked or (now := self._loop.time()) > entry.stale_at:
            return None
        if not compare_digest(sha256(text.encode("latin-1")).digest(), entry.digest):
            return None
        if entry.ends is not None and entry.ends <= now:
            return None
        entry.used = True
        return entry.principal

    async def check(self, text: str) -> Principal:
        """The principal of a key. Raises `Refused` with the reason: `key_invalid` for every text
        that is not the text of a key, and `key_revoked` or `key_expired` for one that is.

        Raises `ServerUnreachable` where the ledger has to be asked and does not answer.
        """
        key_id = key_id_of(text)
        entry = None if key_id is None else await self._find(key_id)
        # As much work for an id that does not exist as for one that does.
        digest = sha256(text.encode("latin-1")).digest()
        if not compare_digest(digest, _NO_DIGEST if entry is None else entry.digest):
            raise Refused("key_invalid", "this is not a valid API key")
        assert entry is not None
        self._require_valid(entry)
        entry.used = True
        return entry.principal

    async def principal_of_id(self, key_id: str) -> Principal:
        """The principal of a key whose text was checked before. Raises as `check` does."""
        entry = await self._find(key_id)
        if entry is None:
            raise Refused("key_invalid", "the API key does not exist any more")
        self._require_valid(entry)
        entry.used = True
        return entry.principal

    async def check_again(self, principal: Principal) -> None:
        """Check the key of a request that has lasted for some time. Raises as `check` does."""
        if principal.key_id is not None:
            entry = await self._find(principal.key_id)
            if entry is None:
                raise Refused("key_invalid", "the API key does not exist any more")
            self._require_valid(entry)

    def is_withdrawn(self, principal: Principal) -> bool:
        """Whether the key of a request is known to be revoked or expired. Of an old record this
        tells as much as the ledger did."""
        if principal.key_id is None:
            return False
        entry = self._entries.get(principal.key_id)
        if entry is None or entry.is_revoked:
            return True
        return entry.ends is not None and entry.ends <= self._loop.time()

    async def keep_fresh(self, *, stop: asyncio.Event) -> None:
        """Read the remembered keys again and again until `stop`."""
        await run_forever(
            self._refresh, name="api keys", interval_seconds=REFRESH_SECONDS, stop=stop
        )

    async def aclose(self) -> None:
        """Answer the look-ups that wait."""
        await self._looking.aclose()

    async def _find(self, key_id: str) -> RingEntry | None:
        """The record of a key that is not too old. None: there is no such key."""
        if key_id in self._unknown:
            return None
        entry = self._entries.get(key_id)
        if entry is None or entry.stale_at < self._loop.time():
            entry = await self._looking.add(key_id)
            if entry is not None and entry.stale_at < self._loop.time():
                raise ServerUnreachable("Postgres took too long to answer for an API key")
        return entry

    def _require_valid(self, entry: RingEntry) -> None:
        if entry.is_revoked:
            raise Refused("key_revoked", "the API key was revoked")
        if entry.ends is not None and entry.ends <= self._loop.time():
            raise Refused("key_expired", "the API key has expired")

    async def _refresh(self) -> None:
        self._unknown.clear()
        key_ids = list(self._entries)
        if key_ids:
            await self._read(key_ids)
        self._refreshes += 1
        if self._refreshes % TOUCH_EVERY == 0:
            await self._touch()

    async def _read(self, key_ids: Sequence[str]) -> None:
        began = self._loop.time()
        found = {stored.id: stored for stored in await self._access.find_keys(key_ids)}
        for key_id in key_ids:
            stored, known = found.get(key_id), self._entries.get(key_id)
            if known is not None and known.read_at > began:
                continue  # by a read that began later than this one
            if stored is None:
                self._entries.pop(key_id, None)
                self._unknown.add(key_id)
                continue
            entry = self._entries[key_id] = RingEntry(stored, began)
            entry.used = known is not None and known.used
            self._entries.move_to_end(key_id)
        while len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        if len(self._unknown) > REMEMBERED:
            self._unknown.clear()

    async def _look_up(self, key_ids: Sequence[str]) -> list[RingEntry | BaseException | None]:
        await self._read(key_ids)
        return [self._entries.get(key_id) for key_id in key_ids]

    async def _touch(self) -> None:
        used = [(key_id, entry) for key_id, entry in self._entries.items() if entry.used]
        for _, entry in used:
            entry.used = False
        if used:
            try:
                await self._access.touch_keys([key_id for key_id, _ in used])
            except LeaseqError:
                for _, entry in used:
                    entry.used = True
                raise


__all__ = ["KeyRing"]
