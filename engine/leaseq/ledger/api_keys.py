"""API keys in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaseq.api_keys import SCOPES, ApiKey, RequestLimit, StoredKey
from leaseq.ledger.session import Session


class ApiKeyLedger:
    """The API keys in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, key: StoredKey) -> ApiKey | None:
        """Create a key. None: there is no such tenant."""
        params = {
            "id": key.id,
            "name": key.name,
            "digest": key.digest,
            "scopes": [scope for scope in SCOPES if scope in key.scopes],
            "tenant": key.tenant,
            "seconds": key.seconds_left,
            "rate": key.limit.rate if key.limit else None,
            "burst": key.limit.burst if key.limit else None,
        }
        return _only(await self._session.fetch("create_api_key", params))

    async def rotate(
        self, old_id: str, *, key_id: str, digest: bytes, overlap: float
    ) -> ApiKey | None:
        """Create a key in place of another one, which ends after `overlap` seconds. None: that one
        cannot be used any more, or does not exist."""
        params = {"old_id": old_id, "id": key_id, "digest": digest, "overlap": overlap}
        return _only(await self._session.fetch("rotate_api_key", params))

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Revoke a key. None: there is no such key."""
        return _only(await self._session.fetch("revoke_api_key", {"id": key_id}, idempotent=True))

    async def limit(self, key_id: str, limit: RequestLimit | None) -> ApiKey | None:
        """Set the limit on the requests of a key. None: there is no such key."""
        params = {
            "id": key_id,
            "rate": limit.rate if limit else None,
            "burst": limit.burst if limit else None,
        }
        return _only(await self._session.fetch("limit_api_key", params, idempotent=True))

    async def list_keys(self, *, ended: bool, limit: int) -> list[ApiKey]:
        """Keys, newest first; with `ended`, those that are revoked or have expired, too."""
        found = await self._session.fetch(
            "list_api_keys", {"ended": ended, "limit": limit}, idempotent=True
        )
        return [_to_key(row) for row in found]

    async def find(self, key_ids: Sequence[str]) -> list[StoredKey]:
        """The keys among these ids that exist, to judge requests by."""
        found = await self._session.fetch("find_api_keys", {"ids": list(key_ids)}, idempotent=True)
        return [
            StoredKey(
                id=row.id,
                name=row.name,
                digest=row.digest,
                scopes=frozenset(row.scopes),
                tenant=row.tenant,
                is_revoked=row.is_revoked,
                limit=None if row.rate is None else RequestLimit(row.rate, row.burst),
                seconds_left=row.seconds_left,
            )
            for row in found
        ]

    async def has_usable(self) -> bool:
        """Whether any key can be used."""
        ((usable,),) = await self._session.fetch("has_usable_key", idempotent=True)
        return bool(usable)

    async def touch(self, key_ids: Sequence[str]) -> None:
        """Note that keys were used."""
        await self._session.fetch("touch_api_keys", {"ids": list(key_ids)}, idempotent=True)


def _only(found: Sequence[Any]) -> ApiKey | None:
    return _to_key(found[0]) if found else None


def _to_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        tenant=row.tenant,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        last_used_at=row.last_used_at,
        rate=row.rate,
        burst=row.burst,
    )


__all__ = ["ApiKeyLedger"]
