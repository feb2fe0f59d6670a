"""Find the principal of a request, from its API key and its tenant.

A request without a key is anonymous: it gets only what the routes leave open. Where the API runs
open, each request is trusted with everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from litestar.types import Scope
from msgspec.structs import replace

from leaseq.api_keys import KEY_LENGTH, key_id_of
from leaseq.model import NAME
from leaseq.operations.access import Access
from leaseq_api.http_server.admission import step_aside
from leaseq_api.refused import Refused
from leaseq_api.security.failed_attempts import FailedAttempts
from leaseq_api.security.key_ring import KeyRing
from leaseq_api.security.known_tenants import KnownTenants
from leaseq_api.security.principal import ANONYMOUS, OPEN, Principal
from leaseq_api.security.sessions import Sessions
from leaseq_api.ui.answer import is_page

TENANT_HEADER = b"leaseq-tenant"
# RFC 6750, 2.1.
SCHEME = "bearer "
# At the ends of a header it is not part of the value (RFC 9110, 5.5).
WHITESPACE = b" \t"


class Authenticator:
    """Judges the keys of requests. `keys` is None where the API runs open."""

    def __init__(self, keys: KeyRing | None, access: Access, sessions: Sessions) -> None:
        self.keys = keys
        self.sessions = sessions
        self._failed = FailedAttempts()
        self._tenants = KnownTenants(access)

    async def principal(self, found: Mapping[bytes, bytes], scope: Scope) -> Principal:
        """The principal of a request. Raises `Refused`, and `ServerUnreachable` where the ledger
        has to be asked and does not answer."""
        principal = OPEN if self.keys is None else await self._of_key(self.keys, found, scope)
        header = found.get(TENANT_HEADER)
        if header is None:
            return principal
        tenant = header.strip(WHITESPACE).decode("latin-1")
        if principal.tenant is not None and principal.tenant != tenant:
            raise Refused("tenant_forbidden", "the API key is bound to another tenant")
        if principal is ANONYMOUS or principal.tenant is not None:
            return principal
        if not NAME.fullmatch(tenant):
            raise Refused(
                "tenant_unknown", "Leaseq-Tenant must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
        await self._tenants.require(tenant)
        return replace(principal, tenant=tenant)

    async def _of_key(self, keys: KeyRing, found: Mapping[bytes, bytes], scope: Scope) -> Principal:
        header = found.get(b"authorization")
        if header is None:
            if b"cookie" in found and is_page(scope["path"]):
                return await self.sessions.principal(found[b"cookie"], keys, scope)
            return ANONYMOUS
        given = header.strip(WHITESPACE).decode("latin-1")
        text = given[len(SCHEME) :].lstrip(" ")
        if given[: len(SCHEME)].lower() == SCHEME and len(text) == KEY_LENGTH:
            principal = keys.recall(text)
            if principal is not None:
                return principal
        else:
            text = ""
        return await self.check(text, keys, scope)

    async def check(self, text: str, keys: KeyRing, scope: Scope) -> Principal:
        """The principal of the text of a key. A refusal is given later after some of them. Raises as
        `KeyRing.check` does."""
        try:
            return await keys.check(text)
        except Refused as refused:
            client = scope["client"]
            address = client[0] if client else "unknown"
            # A refusal that is given late takes the place of no other request.
            step_aside(scope)
            await self._failed.slow_down(
                address=address, key_id=key_id_of(text), reason=refused.code
            )
            raise


__all__ = ["TENANT_HEADER", "Authenticator"]
