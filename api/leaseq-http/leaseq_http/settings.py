"""The address, the headers and the time limits of the requests of a client."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx

from leaseq_http.calls import Call

# For how long the service is asked to hold an answer back. Many proxies end a request after a
# minute.
HELD_SECONDS = 25.0
# Between two requests, where the first was answered earlier than was asked for.
SHORT_PAUSE = 0.2
# A wait and a stream each hold a connection. With a limit, a program that waits for that many tasks
# could not submit another one. The service closes a connection that is idle for 75 seconds.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0)


class Settings:
    """The settings of one client. Raises `ValueError` for an address that is none of HTTP, and for a
    key or a tenant that no header can carry."""

    def __init__(
        self, base_url: str, *, api_key: str | None, tenant: str | None, timeout: float
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must be an address such as https://leaseq.example")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("base_url must have no user, query or fragment")
        self.base_url = base_url.rstrip("/")
        self.headers = {
            "Accept": "application/json, application/problem+json",
            "User-Agent": f"leaseq-http/{version('leaseq-http')}",
        }
        if api_key is not None:
            self.headers["Authorization"] = f"Bearer {_visible('api_key', api_key)}"
        if tenant is not None:
            self.headers["Leaseq-Tenant"] = _visible("tenant", tenant)
        self._timeout = timeout

    def request_of(self, call: Call[Any]) -> dict[str, Any]:
        """The arguments of httpx for one request, whose answer may be held back."""
        return {
            "url": self.base_url + call.path,
            "headers": self.headers | call.headers,
            "content": call.body,
            "timeout": httpx.Timeout(self._timeout, read=self._timeout + call.held_seconds),
        }


def _visible(name: str, value: str) -> str:
    """A value for a header. The message does not show it, because it may be a secret."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{name} must be printable ASCII characters without a space")
    return value


__all__ = ["HELD_SECONDS", "LIMITS", "SHORT_PAUSE", "Settings"]
