"""Exchange a statement and its answer through a reader that stays registered.

psycopg adds and removes a reader of the event loop for each statement, which costs more than
sending the statement. This reader is registered by the first statement and stays.

Invariants. While it is registered, no other code waits for the socket or closes it: the connection
suspends it before psycopg waits (`FastCancelConnection.wait`), before a statement is cancelled, and
before the socket is closed. libpq closes the socket itself when it has lost the server, and then
raises an error, at which the reader is suspended in the same step of the event loop. So the number
of the file descriptor is never that of another file. While no answer is expected, nothing is read:
the reader suspends itself, and leaves the bytes to the next check of the pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

Answer = asyncio.Future[list[PGresult]]


class Exchange:
    """The reader of one connection, and the answer that it waits for."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._loop: asyncio.AbstractEventLoop | None = None  # where the reader is registered
        self._fd = -1
        self._is_writing = False
        self._answer: Answer | None = None
        self._results: list[PGresult] = []

    def begin(self, send: Callable[..., None], *args: Any) -> Answer:
        """Send a statement by a method of libpq, and expect all its results. Raises
        `psycopg.Error`, as the answer does."""
        loop = asyncio.get_running_loop()
        try:
            send(*args)
            if self._loop is not loop:
                self._register(loop)
            self._flush(loop)
        except psycopg.Error:
            self.suspend()
            raise
        self._results = []
        self._answer = loop.create_future()
        return self._answer

    def suspend(self) -> None:
        """Remove the reader. The next statement registers it again."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        loop.remove_reader(self._fd)
        if self._is_writing:
            self._is_writing = False
            loop.remove_writer(self._fd)

    def fail(self, error: Exception) -> None:
        """End the wait for the answer, if there is one. The rest of the answer is not read."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _register(self, loop: asyncio.AbstractEventLoop) -> None:
        self.suspend()
        self._fd = self._pgconn.socket
        loop.add_reader(self._fd, self._on_readable)
        self._loop = loop

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        unsent = bool(self._pgconn.flush())
        if unsent != self._is_writing:
            self._is_writing = unsent
            if unsent:
                loop.add_writer(self._fd, self._on_writable)
            else:
                loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self.suspend()
            return
        try:
            self._pgconn.consume_input()
            if self._is_writing:  # libpq may have had to read before it could send the rest
                self._flush(asyncio.get_running_loop())
            self._collect(answer)
        except psycopg.Error as error:
            self._lose(answer, error)

    def _on_writable(self) -> None:
        answer = self._answer
        try:
            self._flush(asyncio.get_running_loop())
            if answer is not None and not answer.done():
                self._collect(answer)
        except psycopg.Error as error:
            self._lose(answer, error)

    def _collect(self, answer: Answer) -> None:
        pgconn, results = self._pgconn, self._results
        while not (self._is_writing or pgconn.is_busy()):
            result = pgconn.get_result()
            if result is None:
                if pgconn.status != ConnStatus.OK:
                    self.suspend()
                answer.set_result(results)
                return
            results.append(result)

    def _lose(self, answer: Answer | None, error: psycopg.Error) -> None:
        """The connection is lost. A server that ends a session sends why before it closes it."""
        self.suspend()
        if answer is None or answer.done():
            return
        if any(result.status == ExecStatus.FATAL_ERROR for result in self._results):
            answer.set_result(self._results)
        else:
            answer.set_exception(error)


__all__ = ["Answer", "Exchange"]
