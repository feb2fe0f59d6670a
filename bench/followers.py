"""Open thousands of connections that wait for tasks or follow them.

They read as little as possible, because they run beside the service that is measured.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from bench.http_load import authorization
from bench.processes import BenchFailed

HOST = "127.0.0.1"
ENDED = b'"state":"CANCELLED"'
# Connections that are opened together, and the pause after them: a service refuses requests that
# would stand in a long line, and waits do not show when they are out of it.
TOGETHER = 16
PAUSE_SECONDS = 0.03


class _Client(asyncio.Protocol):
    """One connection. A wait that was answered too early is sent again."""

    def __init__(self, followers: Followers, task_id: str, path: str, key: str | None) -> None:
        self._followers = followers
        self._task_id = task_id
        self._again = "?wait" in path
        line = f"GET /api/tasks/{task_id}{path} HTTP/1.1\r\nHost: localhost".encode()
        self._request = line + authorization(key) + b"\r\n\r\n"
        self._transport: asyncio.Transport
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.answered.set()
        if ENDED in data:
            self._followers.known[self._task_id] = monotonic()
        elif not data.startswith(b"HTTP/1.1 200") and data.startswith(b"HTTP/1.1"):
            self._followers.refused += 1
        elif self._again:
            self._transport.write(self._request)

    def close(self) -> None:
        self._transport.abort()


class Followers:
    """The clients of one API. `known`: when the client of a task learnt of its end."""

    def __init__(self, port: int, *, key: str | None) -> None:
        self.known: dict[str, float] = {}
        self.kinds: dict[str, str] = {}
        self.refused = 0
        self._port = port
        self._key = key
        self._clients: list[_Client] = []

    async def open(self, paths: list[tuple[str, str]], *, kind: str) -> None:
        """Open a connection for each task and path. Raises `BenchFailed` where one is refused."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(paths), TOGETHER):
            part = [
                _Client(self, task_id, path, self._key)
                for task_id, path in paths[start:][:TOGETHER]
            ]
            for client in part:
                await loop.create_connection(lambda client=client: client, HOST, self._port)  # type: ignore[misc]
            if kind == "stream":
                await asyncio.gather(*(client.answered.wait() for client in part))
            await asyncio.sleep(PAUSE_SECONDS)
            self._clients += part
        self.kinds |= {task_id: kind for task_id, _ in paths}
        if self.refused:
            raise BenchFailed(f"{self.refused} requests of a {kind} were refused")

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()
        await asyncio.sleep(0)
