"""API keys for tests of the HTTP service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from leaseq.api_keys import SCOPES, UNBOUND_SCOPES, IssuedKey
from leaseq.config import Config
from support.api import Api, open_api

BOUND_SCOPES = [scope for scope in SCOPES if scope not in UNBOUND_SCOPES]


@asynccontextmanager
async def open_guarded_api(config: Config) -> AsyncIterator[Api]:
    """An application that asks for keys, and whose client sends none."""
    async with open_api(replace(config, api_auth="keys")) as opened:
        yield opened


@pytest.fixture
async def guarded(config: Config) -> AsyncIterator[Api]:
    """An application that asks for keys."""
    async with open_guarded_api(config) as opened:
        yield opened


async def issue(
    api: Api, *scopes: str, tenant: str | None = None, expires_seconds: float | None = None
) -> IssuedKey:
    """A new key; its tenant is made known."""
    access = api.service.engine.access
    if tenant is not None:
        await access.create_tenant(tenant)
    return await access.create_key(
        "test", scopes=scopes, tenant=tenant, expires_seconds=expires_seconds
    )


async def headers_of(
    api: Api, scopes: Collection[str], *, tenant: str | None = None
) -> dict[str, str]:
    """The header of a new key."""
    return bearer((await issue(api, *scopes, tenant=tenant)).text)


def bearer(text: str) -> dict[str, str]:
    """The header of a key."""
    return {"Authorization": f"Bearer {text}"}


__all__ = ["BOUND_SCOPES", "bearer", "guarded", "headers_of", "issue", "open_guarded_api"]
