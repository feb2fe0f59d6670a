"""API keys and tenants: create, list, rotate and revoke.

The text of a key leaves the ledger's side once, in the answer to its creation. A creation whose
answer was lost leaves a key that no program knows; the list shows it, and it can be revoked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import ceil

from leaseq.api_keys import (
    SCOPES,
    UNBOUND_SCOPES,
    ApiKey,
    IssuedKey,
    RequestLimit,
    ScopeName,
    StoredKey,
    digest_of,
    new_key,
)
from leaseq.errors import AccessInvalid, ApiKeyNotFound, TenantNotFound
from leaseq.ledger.api_keys import ApiKeyLedger
from leaseq.ledger.secrets import SESSIONS, SecretLedger, SharedSecret
from leaseq.ledger.tenants import TenantLedger
from leaseq.model import NAME, YEAR_SECONDS, Tenant, TenantQuotas
from leaseq.observability.telemetry import emit

NAME_LENGTH = 128
LISTED = 1000
LEAST_RATE, MOST_RATE = 0.001, 100_000.0
MOST_BURST = 1_000_000
LONGEST_OVERLAP_SECONDS = 30 * 86_400.0
# Every API process counts the unfinished tasks of a tenant with such a quota every second.
MOST_OF_QUOTA = {
    "unfinished": 10_000_000,
    "unfinished_per_queue": 10_000_000,
    "payload_bytes_per_day": 10**15,
}


class Access:
    """The API keys and the tenants of one ledger."""

    def __init__(self, keys: ApiKeyLedger, tenants: TenantLedger, secrets: SecretLedger) -> None:
        self._keys = keys
        self._tenants = tenants
        self._secrets = secrets

    async def read_session_secret(self) -> SharedSecret:
        """The secret that signs the sessions of browsers, in all API processes."""
        return await self._secrets.read(SESSIONS)

    async def create_key(
        self,
        name: str,
        *,
        scopes: Collection[str],
        tenant: str | None,
        expires_seconds: float | None,
        limit: RequestLimit | None = None,
    ) -> IssuedKey:
        """Create an API key. Raises `AccessInvalid`."""
        if not (0 < len(name) <= NAME_LENGTH and name.isprintable()):
            raise AccessInvalid(f"the name of a key is 1 to {NAME_LENGTH} printable characters")
        wanted = check_scopes(scopes, tenant=tenant)
        if tenant is not None and not NAME.fullmatch(tenant):
            raise AccessInvalid(f"there is no tenant {tenant!r}: it is not the name of one")
        if expires_seconds is not None and not 0 < expires_seconds <= 100 * YEAR_SECONDS:
            raise AccessInvalid("a key expires after a positive number of seconds")
        key_id, text = new_key()
        stored = StoredKey(
            id=key_id,
            name=name,
            digest=digest_of(text),
            scopes=frozenset(wanted),
            tenant=tenant,
            is_revoked=False,
            limit=check_limit(limit),
            seconds_left=expires_seconds,
        )
        key = await self._keys.create(stored)
        if key is None:
            raise AccessInvalid(
                f"there is no tenant {tenant!r}: create it with `leaseq tenants create`"
            )
        emit("key.created", key_id=key.id, name=key.name, scopes=key.scopes, tenant=key.tenant)
        return IssuedKey(text=text, key=key)

    async def rotate_key(self, key_id: str, *, overlap_seconds: float) -> IssuedKey:
        """Create a key in place of another one, which goes on for `overlap_seconds`.

        Raises `ApiKeyNotFound` where that one does not exist or cannot be used any more, and
        `AccessInvalid`.
        """
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            raise AccessInvalid("the overlap of a rotation is between 0 seconds and 30 days")
        new_id, text = new_key()
        key = await self._keys.rotate(
            key_id, key_id=new_id, digest=digest_of(text), overlap=overlap_seconds
        )
        if key is None:
            raise ApiKeyNotFound(
                f"key {key_id} does not exist, was revoked, has expired or was rotated before; "
                "`leaseq keys --ended` shows which, and `leaseq keys create` makes a new one"
            )
        emit("key.rotated", key_id=key_id, replaced_by=key.id, name=key.name)
        return IssuedKey(text=text, key=key)

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Revoke a key. API processes refuse it within 5 s. Raises `ApiKeyNotFound`."""
        key = await self._keys.revoke(key_id)
        if key is None:
            raise ApiKeyNotFound(f"there is no key {key_id}")
        emit("key.revoked", key_id=key.id, name=key.name)
        return key

    async def limit_key(self, key_id: str, limit: RequestLimit | None) -> ApiKey:
        """Set or remove the limit on the requests of a key. API processes apply it within 5 s.
        Raises `ApiKeyNotFound`, `AccessInvalid`."""
        key = await self._keys.limit(key_id, check_limit(limit))
        if key is None:
            raise ApiKeyNotFound(f"there is no key {key_id}")
        emit("key.limited", key_id=key.id, name=key.name, rate=key.rate, burst=key.burst)
        return key

    async def list_keys(self, *, ended: bool) -> list[ApiKey]:
        """Keys, newest first; with `ended`, those that are revoked or have expired, too."""
        return await self._keys.list_keys(ended=ended, limit=LISTED)

    async def find_keys(self, key_ids: Sequence[str]) -> list[StoredKey]:
        """The keys among these ids that exist, to judge requests by."""
        return await self._keys.find(key_ids)

    async def touch_keys(self, key_ids: Sequence[str]) -> None:
        """Note that keys were used."""
        await self._keys.touch(key_ids)

    async def has_usable_key(self) -> bool:
        """Whether any key can be used."""
        return await self._keys.has_usable()

    async def create_tenant(self, name: str) -> bool:
        """Make a tenant known. False: it was known. Raises `AccessInvalid`."""
        if not NAME.fullmatch(name):
            raise AccessInvalid(
                f"{name!r} is not a tenant name: use 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
        created = await self._tenants.create(name) is not None
        if created:
            emit("tenant.created", tenant=name)
        return created

    async def limit_tenant(
        self, name: str, changes: Mapping[str, int | None]
    ) -> tuple[TenantQuotas, Tenant]:
        """Set or remove (None) quotas of a tenant, by the names of `TenantQuotas`. Returns its
        quotas before, and the tenant. API processes apply them within 5 s. Raises `AccessInvalid`
        and `TenantNotFound`."""
        for quota, limit in changes.items():
            check_quota(quota, limit)
        found = await self._tenants.limit(name, changes) if NAME.fullmatch(name) else None
        if found is None:
            raise TenantNotFound(f"there is no tenant {name!r}: `leaseq tenants` lists them")
        emit(
            "tenant.limited",
            tenant=name,
            **{quota: getattr(found[1], quota) for quota in MOST_OF_QUOTA},
        )
        return found

    async def list_tenants(self) -> list[Tenant]:
        """Every known tenant."""
        return await self._tenants.list_tenants()


def to_limit(rate: float | None, burst: int | None) -> RequestLimit | None:
    """The limit of so many requests in a second. Without a burst, those of one second may come
    together. Raises `AccessInvalid`."""
    if rate is None:
        if burst is not None:
            raise AccessInvalid("a burst needs a rate")
        return None
    return check_limit(RequestLimit(rate, max(1, ceil(rate)) if burst is None else burst))


def check_limit(limit: RequestLimit | None) -> RequestLimit | None:
    """The same limit. Raises `AccessInvalid`.

    A bucket that is too small for its rate would be full between two looks, and lose tokens.
    """
    if limit is None:
        return None
    if not LEAST_RATE <= limit.rate <= MOST_RATE:
        raise AccessInvalid(
            f"a rate is between {LEAST_RATE} and {MOST_RATE:,.0f} requests a second"
        )
    if not max(1, limit.rate / 10) <= limit.burst <= MOST_BURST:
        raise AccessInvalid(
            f"a burst is a tenth of the rate at least, and between 1 and {MOST_BURST:,}"
        )
    return limit


def check_quota(quota: str, limit: int | None) -> None:
    """Raises `AccessInvalid` for a limit that a quota cannot have."""
    most = MOST_OF_QUOTA[quota]
    if limit is not None and not 0 <= limit <= most:
        raise AccessInvalid(f"{quota} is between 0, which accepts nothing, and {most:,}")


def check_scopes(scopes: Collection[str], *, tenant: str | None) -> list[ScopeName]:
    """The scopes in their order. Raises `AccessInvalid`."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        wrong = f"there is no scope {unknown[0]!r}" if unknown else "a key needs a scope"
        raise AccessInvalid(f"{wrong}: the scopes are {', '.join(SCOPES)}")
    if tenant is not None and UNBOUND_SCOPES & set(scopes):
        (first, *_) = sorted(UNBOUND_SCOPES & set(scopes))
        raise AccessInvalid(
            f"the scope {first} concerns all tenants: create a key that is bound to none"
        )
    return [scope for scope in SCOPES if scope in scopes]


__all__ = [
    "LEAST_RATE",
    "LONGEST_OVERLAP_SECONDS",
    "MOST_BURST",
    "MOST_OF_QUOTA",
    "MOST_RATE",
    "NAME_LENGTH",
    "Access",
    "check_scopes",
    "to_limit",
]
