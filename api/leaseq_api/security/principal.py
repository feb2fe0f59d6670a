"""The identity behind a request, and what it may do.

The gate puts a `Principal` into the scope of each request. Routes never look at a key: they ask for
the scope that their decorator names, and for the tenant. A principal without a tenant is unbound:
it acts on the tasks of every tenant, and submits to `default`.
"""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope
from msgspec import Struct
from msgspec.structs import replace

from leaseq.api_keys import SCOPES, ScopeName
from leaseq.model import DEFAULT_TENANT, NAME
from leaseq_api.refused import Refused

# The name of a route's scope in `opt`. None: the route is open to requests without a key.
SCOPE = "scope"
# With it an unbound request is bound to one tenant.
TENANT_HEADER = b"leaseq-tenant"


class Principal(Struct, frozen=True):
    """The sender of a request. `key_id` is None where the API runs open."""

    key_id: str | None
    name: str
    tenant: str | None
    scopes: frozenset[ScopeName]

    @property
    def submits_to(self) -> str:
        """The tenant of new tasks and of idempotency keys."""
        return DEFAULT_TENANT if self.tenant is None else self.tenant

    def may(self, scope: ScopeName) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes


# An API that asks for no key trusts each request with everything.
OPEN = Principal(None, "open API", None, frozenset(SCOPES))


def for_tenant(principal: Principal, header: bytes | None) -> Principal:
    """The principal of one request, with its header Leaseq-Tenant. Raises `Refused`."""
    if header is None:
        return principal
    tenant = header.decode("latin-1")
    if not NAME.fullmatch(tenant):
        raise Refused(
            "tenant_unknown", "Leaseq-Tenant must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
    if principal.tenant not in (None, tenant):
        raise Refused("tenant_forbidden", "the API key is bound to another tenant")
    return replace(principal, tenant=tenant)


def principal_of(scope: Scope) -> Principal:
    """The principal of a request that has passed the gate."""
    found: Principal = scope["principal"]  # type: ignore[typeddict-item]
    return found


def check_scope(scope: Scope, wanted: ScopeName | None) -> None:
    """Raise `Refused` unless the key of this request has the scope."""
    if wanted is not None and not principal_of(scope).may(wanted):
        raise Refused("scope_missing", f"the API key does not have the scope {wanted}")


def require_unbound(scope: Scope) -> None:
    """Raise `Refused` where the request is bound to a tenant, for what concerns all tenants."""
    if principal_of(scope).tenant is not None:
        raise Refused(
            "tenant_forbidden", "this concerns all tenants and needs a key that is bound to none"
        )


def may_read_contents(scope: Scope) -> bool:
    """Whether answers to this request show payloads, results, progress and errors."""
    return principal_of(scope).may("payloads")


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route of the framework."""
    check_scope(connection.scope, handler.opt[SCOPE])


__all__ = [
    "OPEN",
    "SCOPE",
    "TENANT_HEADER",
    "Principal",
    "check_scope",
    "for_tenant",
    "guard",
    "may_read_contents",
    "principal_of",
    "require_unbound",
]
