"""The part of the server that its connections use."""

from __future__ import annotations

from typing import Protocol

from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import Limits


class Counted(Protocol):
    """A connection, as the server counts it."""

    surplus: bool

    @property
    def idle(self) -> bool:
        """Whether no request has begun that is not answered."""

    def check(self, now: float) -> None:
        """End what is overdue."""

    def stop(self) -> None:
        """Take no more requests; close when what has begun is answered."""

    def abort(self) -> None:
        """Close, whatever is under way."""


class ServerState(Protocol):
    """What a connection needs of its server."""

    application: Application
    limits: Limits
    date: bytes
    stopping: bool
    in_flight: int

    def admit(self, connection: Counted) -> bool:
        """A connection was made. False: there is no room for it."""

    def mark_waiting(self, connection: Counted) -> None:
        """The connection owes us a request from now on."""

    def mark_working(self, connection: Counted) -> None:
        """The connection is owed an answer from now on."""

    def forget(self, connection: Counted) -> None:
        """The connection is gone, and its application done."""


__all__ = ["Counted", "ServerState"]
