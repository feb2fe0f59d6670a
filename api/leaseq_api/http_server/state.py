"""The part of the server that its connections use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from leaseq_api.http_server.exchange import Application, Exchange
from leaseq_api.http_server.limits import Limits
from leaseq_api.problems import RawAnswer

# Asks whether the body of a request is wanted, by its scope in ASGI. Returns the refusal, or None.
Judge = Callable[[Any], Awaitable[RawAnswer | None]]


class Counted(Protocol):
    """A connection, as the server counts it."""

    surplus: bool

    @property
    def idle(self) -> bool:
        """Whether no request has begun that is not answered."""

    @property
    def stuck(self) -> bool:
        """Whether the client has not yet read all written bytes."""

    @property
    def held_until(self) -> float | None:
        """The end of the time that a client has to send or take what it holds here. None: it holds
        nothing."""

    def give_way(self) -> None:
        """Release the bytes that are held for a slow client."""

    def drop(self) -> None:
        """Close without an answer. An application that changes something goes on."""

    def check(self, now: float) -> None:
        """End the connection or request whose deadline has passed."""

    def stop(self) -> None:
        """Accept no more requests, and close when those that have begun are answered."""

    def abort(self) -> None:
        """Close immediately."""


class ServerState(Protocol):
    """The part of the server that a connection uses."""

    application: Application
    limits: Limits
    common_lines: bytes  # of the head of every answer
    stopping: bool
    in_flight: int
    judge: Judge | None

    def line_up(self, exchange: Exchange) -> None:
        """Begin an exchange when its turn comes, or refuse it."""

    def admit(self, connection: Counted) -> bool:
        """A connection was made. False: there is no room for it."""

    def mark_waiting(self, connection: Counted) -> None:
        """The connection owes us a request from now on."""

    def mark_working(self, connection: Counted) -> None:
        """The connection is owed an answer from now on."""

    def forget(self, connection: Counted) -> None:
        """The connection is gone, and its application done."""

    def free_bytes(self, asking: Counted) -> None:
        """While there are too many bytes in flight, end the request that has held some for a slow
        client the longest. Raises `Malformed` where that is the one that asks, or none does."""


__all__ = ["Counted", "Judge", "ServerState"]
