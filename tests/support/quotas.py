"""A tenant with quotas, for tests of the HTTP service."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from support.api import Api
from support.keys import headers_of


class Tenant:
    """A client of one tenant with quotas."""

    def __init__(self, api: Api, headers: dict[str, str], name: str) -> None:
        self.api, self.headers, self.name = api, headers, name

    async def limit(self, **limits: int | None) -> None:
        """Set quotas, which this process applies immediately."""
        await self.api.service.engine.access.limit_tenant(self.name, limits)
        await self.api.service.quotas.look()

    async def submit(self, key: str | None = None, **body: Any) -> httpx.Response:
        """Submit a small task."""
        named = {} if key is None else {"Idempotency-Key": key}
        return await self.api.client.post(
            "/api/tasks",
            json={"type": "add", "payload": 1} | body,
            headers=self.headers | named,
        )

    async def accepted(self, key: str | None = None, **body: Any) -> str:
        """The id of a task that is accepted."""
        answer = await self.submit(key, **body)
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    async def cancel(self, task_id: str) -> None:
        """End a task that waits."""
        answer = await self.api.client.post(f"/api/tasks/{task_id}/cancel", headers=self.headers)
        assert answer.status_code == 200, answer.text

    def used(self) -> int:
        """The unfinished tasks, as this process knows them."""
        standing = self.api.service.quotas.of(self.name)
        assert standing is not None
        return standing.unfinished()

    def bytes_used(self) -> int:
        """The bytes of today, as this process knows them."""
        standing = self.api.service.quotas.of(self.name)
        assert standing is not None
        return standing.payload_bytes(asyncio.get_running_loop().time())


@pytest.fixture
async def acme(guarded: Api) -> Tenant:
    """A tenant with a key."""
    headers = await headers_of(guarded, ["submit", "read", "operate"], tenant="acme")
    return Tenant(guarded, headers, "acme")


__all__ = ["Tenant", "acme"]
