"""The routes by which an administrator manages API keys and tenants.

A key gives no scope that the key of the request does not have itself.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from msgspec import UNSET

from leaseq.api_keys import ApiKey, IssuedKey, ScopeName
from leaseq.errors import ServerUnreachable
from leaseq.model import Tenant
from leaseq.operations.access import to_limit
from leaseq_api import parameters as given
from leaseq_api.access_schemas import (
    ApiKeyList,
    KeyBody,
    KeyLimitBody,
    RotateBody,
    TenantBody,
    TenantList,
    TenantQuotasBody,
    TenantView,
)
from leaseq_api.body import decode_json
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected, Service

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")

_key_body = msgspec.json.Decoder(KeyBody)
_limit_body = msgspec.json.Decoder(KeyLimitBody)
_rotate_body = msgspec.json.Decoder(RotateBody)
_tenant_body = msgspec.json.Decoder(TenantBody)
_quotas_body = msgspec.json.Decoder(TenantQuotasBody)
BODY_CODES = ("json_invalid", "media_type_unsupported", "access_invalid")


@get("/keys", scope="admin", query=("ended",), codes=api_codes())
async def list_keys(
    request: AnyRequest, service: Injected, ended: given.Ended = False
) -> Response[ApiKeyList]:
    """List the API keys, newest first; with `ended`, revoked and expired ones, too."""
    require_unbound(request.scope)
    return Response(ApiKeyList(keys=await service.engine.access.list_keys(ended=ended)))


@post("/keys", scope="admin", status_code=201, body=KeyBody, codes=change_codes(*BODY_CODES))
async def create_key(request: AnyRequest, service: Injected) -> Response[IssuedKey]:
    """Create an API key. This answer is the only one that has its text."""
    require_unbound(request.scope)
    body = await _read(request, _key_body)
    _check_grant(request, body.scopes)
    issued = await service.operator_of(request.scope).create_key(
        body.name,
        scopes=body.scopes,
        tenant=body.tenant,
        expires_seconds=body.expires_seconds,
        limit=to_limit(body.rate, body.burst),
    )
    return Response(issued, status_code=201)


@post(
    "/keys/{key_id:str}/rotate",
    scope="admin",
    status_code=201,
    body=RotateBody,
    codes=change_codes("api_key_not_found", *BODY_CODES),
)
async def rotate_key(
    request: AnyRequest, service: Injected, key_id: given.KeyId
) -> Response[IssuedKey]:
    """Create a key in place of another one, which goes on for `overlap_seconds`."""
    require_unbound(request.scope)
    body = await _read(request, _rotate_body)
    await _check_may_change(request, service, key_id)
    issued = await service.operator_of(request.scope).rotate_key(
        key_id, overlap_seconds=body.overlap_seconds
    )
    return Response(issued, status_code=201)


@patch(
    "/keys/{key_id:str}",
    scope="admin",
    body=KeyLimitBody,
    codes=change_codes("api_key_not_found", *BODY_CODES),
)
async def limit_key(
    request: AnyRequest, service: Injected, key_id: given.KeyId
) -> Response[ApiKey]:
    """Limit the requests of an API key, or remove its limit. Each API process applies it within
    5 seconds."""
    require_unbound(request.scope)
    body = await _read(request, _limit_body)
    key_id = given.check_key_id(key_id)
    limit = to_limit(body.rate, body.burst)
    return Response(await service.operator_of(request.scope).limit_key(key_id, limit))


@delete(
    "/keys/{key_id:str}", scope="admin", status_code=200, codes=change_codes("api_key_not_found")
)
async def revoke_key(
    request: AnyRequest, service: Injected, key_id: given.KeyId
) -> Response[ApiKey]:
    """Revoke an API key. Each API process refuses it within 5 seconds."""
    require_unbound(request.scope)
    return Response(await service.operator_of(request.scope).revoke_key(given.check_key_id(key_id)))


@get("/tenants", scope="admin", codes=api_codes())
async def list_tenants(request: AnyRequest, service: Injected) -> Response[TenantList]:
    """List the tenants that API keys may be bound to."""
    require_unbound(request.scope)
    return Response(TenantList(tenants=await service.engine.access.list_tenants()))


@post("/tenants", scope="admin", status_code=200, body=TenantBody, codes=change_codes(*BODY_CODES))
async def create_tenant(request: AnyRequest, service: Injected) -> Response[TenantView]:
    """Make a tenant known. `created` is false if it was known already."""
    require_unbound(request.scope)
    body = await _read(request, _tenant_body)
    created = await service.operator_of(request.scope).create_tenant(body.name)
    return Response(TenantView(name=body.name, created=created))


@patch(
    "/tenants/{name:str}",
    scope="admin",
    body=TenantQuotasBody,
    codes=change_codes("tenant_not_found", *BODY_CODES),
)
async def limit_tenant(
    request: AnyRequest, service: Injected, name: given.TenantName
) -> Response[Tenant]:
    """Set or remove quotas of a tenant. Each API process applies them within 5 seconds."""
    require_unbound(request.scope)
    body = await _read(request, _quotas_body)
    changes = {
        quota: limit
        for quota in body.__struct_fields__
        if (limit := getattr(body, quota)) is not UNSET
    }
    tenant = await service.operator_of(request.scope).limit_tenant(name, changes)
    with suppress(ServerUnreachable):
        await service.quotas.look()
    return Response(tenant)


async def _read(request: AnyRequest, decoder: msgspec.json.Decoder[T]) -> T:
    headers = dict(request.scope["headers"])
    return decode_json(await request.body(), headers, decoder, misfit="access_invalid")


async def _check_may_change(request: AnyRequest, service: Service, key_id: str) -> None:
    for stored in await service.engine.access.find_keys([given.check_key_id(key_id)]):
        _check_grant(request, stored.scopes)


def _check_grant(request: AnyRequest, scopes: Collection[str]) -> None:
    """Raise `Refused` for a scope that the key of this request does not have."""
    own: frozenset[ScopeName] = principal_of(request.scope).scopes
    lacking = sorted(set(scopes) - own)
    if lacking:
        raise Refused(
            "scope_missing",
            f"the API key cannot give the scope {lacking[0][:50]!r}, which it lacks",
        )


router = Router(
    "/api",
    route_handlers=[
        list_keys,
        create_key,
        rotate_key,
        limit_key,
        revoke_key,
        list_tenants,
        create_tenant,
        limit_tenant,
    ],
    before_request=given.check_query,
    tags=["access"],
)

__all__ = ["router"]
