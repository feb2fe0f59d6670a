"""Who may still use a connection that was lent to a handler?

A handler gets a real psycopg connection, and may leave a task behind that holds on to it. Whatever was started from within
an attempt carries its `Loan` in its context; once that has ended, connections refuse it, because they serve other attempts
by then, and a write of the one would be committed with the other.
"""

from __future__ import annotations

from contextvars import ContextVar

from psycopg.abc import RV, PQGen

from leaseq.connect import ImpatientConnection
from leaseq.errors import Fenced

_loan: ContextVar[Loan | None] = ContextVar("leaseq_loan", default=None)


class Loan:
    """The right of one attempt to use the connection of its transaction."""

    def __init__(self) -> None:
        self.over = False

    def begin(self) -> None:
        """From here on this task, and what it starts, is known as the borrower."""
        _loan.set(self)

    def end(self) -> None:
        """The borrower has had its time."""
        self.over = True

    def check(self) -> None:
        """Raises `Fenced` once it is over."""
        if self.over:
            raise Fenced("this attempt is over")


class LentConnection(ImpatientConnection):
    """A connection for handlers. Every round trip of psycopg goes through `wait`."""

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        loan = _loan.get()
        if loan is not None:
            loan.check()
        return await super().wait(gen, interval=interval, timeout=timeout)


__all__ = ["LentConnection", "Loan"]
