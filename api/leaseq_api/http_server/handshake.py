"""The TLS handshake of a connection, before its HTTP.

A connection counts from its first packet on. So connections that never complete the handshake are
bounded in number and time as those that never send a request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar, cast

from leaseq_api.http_server.connection import Connection
from leaseq_api.http_server.state import ServerState

T = TypeVar("T")


class Handshake(asyncio.Protocol):
    """A connection until its handshake is complete. Then `Connection` takes its place."""

    def __init__(self, server: ServerState, context: ssl.SSLContext) -> None:
        self.surplus = False
        self._server = server
        self._context = context
        self._early: list[bytes] = []
        self._transport: asyncio.Transport
        self._shaking: asyncio.Task[None] | None = None

    # The event loop: first for the bare connection, then for what arrives within TLS before
    # `Connection` takes over.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._server.admit(self):
            self._server.mark_waiting(self)
            limits, loop = self._server.limits, asyncio.get_running_loop()
            starting = loop.start_tls(
                self._transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=limits.header_seconds,
                ssl_shutdown_timeout=limits.linger_seconds,
            )
            self._shaking = loop.create_task(self._finish(_Begun(starting)))
        else:
            # There is no answer without a handshake, which is too expensive here.
            self.drop()
            self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)

    # The server.

    @property
    def idle(self) -> bool:
        """It has no request."""
        return True

    @property
    def stuck(self) -> bool:
        """It has no answer."""
        return False

    @property
    def held_until(self) -> float | None:
        """It holds no bytes that count."""
        return None

    def check(self, now: float) -> None:
        """The event loop has the deadline of the handshake."""

    def give_way(self) -> None:
        """Close."""
        self.drop()

    def stop(self) -> None:
        """Close: no request has begun."""
        self.drop()

    def abort(self) -> None:
        """Close immediately."""
        self.drop()

    def drop(self) -> None:
        """Close without an answer."""
        if self._shaking is not None:
            self._shaking.cancel()
        self._transport.abort()

    async def _finish(self, starting: _Begun[asyncio.Transport | None]) -> None:
        secure: asyncio.Transport | None = None
        try:
            secure = await starting
        except (OSError, TimeoutError):
            pass  # the reason is the client's: no TLS, another version, silence
        finally:
            self._server.forget(self)
        if secure is None:
            self._transport.abort()
            return
        connection = Connection(self._server)
        secure.set_protocol(connection)
        connection.connection_made(secure)
        for data in self._early:
            connection.data_received(data)


class _Begun(Generator[Any, Any, T]):
    """A coroutine that has run to its first wait, to be awaited from there on.

    `start_tls` takes the connection over before that wait. A task would begin a moment later, and
    uvloop could hand over the first packet in between, where it would be lost.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._first: list[Any] = [coroutine.send(None)]

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    def send(self, value: Any, /) -> Any:
        return self._first.pop() if self._first else self._coroutine.send(value)

    def throw(self, kind: Any, error: Any = None, traceback: Any = None, /) -> Any:
        return self._coroutine.throw(kind if error is None else error)


__all__ = ["Handshake"]
