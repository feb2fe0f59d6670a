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

from leaseq.api_keys import SCOPES, RequestLimit, ScopeName
from leaseq.model import DEFAULT_TENANT
from leaseq_api.refused import Refused

# The name of a route's scope in `opt`. None: the route is open to requests without a key.
SCOPE = "scope"


class Principal(Struct, frozen=True):
    """The sender of a request. `key_id` is None where the API runs open."""

    key_id: str | None
    name: str
    tenant: str | None
    scopes: frozenset[ScopeName]
    limit: RequestLimit | None = None

    @property
    def submits_to(self) -> str:
        """The tenant of new tasks and of idempotency keys."""
        return DEFAULT_TENANT if self.tenant is None else self.tenant

    def may(self, scope: ScopeName) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes


# An API that asks for no key trusts each request with everything.
OPEN = Principal(None, "open API", None, frozenset(SCOPES))
# A request without a key, to an API that asks for one.
ANONYMOUS = Principal(None, "no key", None, frozenset())


def principal_of(scope: Scope) -> Principal:
    """The principal of a request that has passed the gate."""
    found: Principal = scope["principal"]  # type: ignore[typeddict-item]
    return found


def check_scope(scope: Scope, wanted: ScopeName | None) -> None:
    """Raise `Refused` unless the key of this request has the scope."""
    if wanted is not None and wanted not in (principal := principal_of(scope)).scopes:
        if principal is ANONYMOUS:
            raise key_missing()
        raise Refused("scope_missing", f"the API key does not have the scope {wanted}")


def key_missing() -> Refused:
    """The refusal of a request without an API key, where one is required."""
    return Refused("key_missing", "send an API key as `Authorization: Bearer lq_...`")


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
    "ANONYMOUS",
    "OPEN",
    "SCOPE",
    "Principal",
    "check_scope",
    "guard",
    "key_missing",
    "may_read_contents",
    "principal_of",
    "require_unbound",
]
