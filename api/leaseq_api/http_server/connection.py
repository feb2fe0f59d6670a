"""One client connection: parse requests, send answers in order, within bounds.

llhttp (httptools) cuts the bytes into requests. A connection is idle, receives a head, receives a
body, or waits for the application. Each of the first three has a deadline, and so has the sending
of an answer. While an answer is owed, at most one more packet is read; the kernel holds the rest.
Only a streamed body is received while its application works, and none while a request is judged by
its head. A refused request is answered by a problem, and its connection is closed. The answer is
sent before the rest of the request is read and discarded. An application that already runs learns
of the refusal, and answers itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import Any, cast

from httptools import HttpParserError

from leaseq_api.http_server.exchange import Exchange, addresses_of, refusal_of
from leaseq_api.http_server.head import Malformed, explain, read_head
from leaseq_api.http_server.incoming import FULL_BYTES, StreamedBody
from leaseq_api.http_server.judging import begin_judging
from leaseq_api.http_server.outgoing import Outgoing
from leaseq_api.http_server.reader import Enough, RequestReader
from leaseq_api.http_server.state import ServerState
from leaseq_api.refused import Refused

HEALTH = b"/health/"
CROWDED = "all connections of this service are in use; try again in a moment"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """The protocol of one connection, for the event loop and for llhttp."""

    def __init__(self, server: ServerState) -> None:
        self.surplus = False
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self, server.limits)
        self._transport: asyncio.Transport
        self._outgoing: Outgoing
        self._addresses: dict[str, Any] = {}
        # The request whose body is being received.
        self.receiving: Exchange | None = None
        # Of the request that is being answered.
        self._queue: deque[Exchange] = deque()
        self._running: Exchange | None = None
        self._refusal: bytes | None = None
        # Of the connection.
        self._input_ended = False
        self._discarded = 0
        self._lingering = False
        self._lost = False
        self._eof = False
        self._reading = True
        self._read_deadline = inf

    # The event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._outgoing = Outgoing(self._transport, self._server, self._limits)
        self._addresses = addresses_of(self._transport)
        if self._server.admit(self):
            self._wait_for_request()
        else:
            self._transport.write(self._refused("overloaded", CROWDED))
            self.close()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if self._input_ended:
            self._discarded += len(data)
            if self._discarded > self._limits.linger_bytes:
                self._transport.abort()
            return
        try:
            reader.feed(data)
        except Malformed as error:
            self._refuse(error.code, str(error))
        except Enough:
            self._end_input()
        except HttpParserError as error:
            self._refuse_bytes(error, data)
        receiving = self.receiving
        if receiving is not None and receiving.is_unjudged(self._limits.judged_bytes):
            begin_judging(receiving, self._server, self._addresses, self.on_judged)
        if (receiving is not None and receiving.judging is not None) or (
            self._running is not None
            and (
                receiving.size >= FULL_BYTES
                if receiving is not None and receiving is self._running
                else self._queue or reader.in_head or receiving is not None
            )
        ):
            self._pause_reading()

    def eof_received(self) -> bool:
        """Keep the connection for a moment while an answer is owed: most silent clients are gone, a
        few half-close. The event loop cannot half-close within TLS."""
        self._eof = True
        if self._lingering or self.idle or self._addresses["scheme"] == "https":
            return False
        if self.receiving is not None or self._reader.in_head:
            self._refuse("request_malformed", "the request ended before it was complete")
        else:
            self._end_input()
        self._read_deadline = self._loop.time() + self._limits.linger_seconds
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._input_ended = True
        self._read_deadline = self._outgoing.deadline = inf
        for exchange in (*self._queue, self.receiving):
            self._release(exchange)
        self._queue.clear()
        self.receiving = None
        self._outgoing.resume()
        running = self._running
        if running is not None:
            running.lose()
        if running is None or running.task is None:  # it waits in line
            self._release(running)
            self._server.forget(self)

    def pause_writing(self) -> None:
        self._outgoing.pause()

    def resume_writing(self) -> None:
        self._outgoing.resume()

    # Callbacks of llhttp. Exceptions that they raise arrive at `data_received`.

    def on_message_begin(self) -> None:
        if self._input_ended or len(self._queue) >= self._limits.pipelined:
            raise Enough
        reader = self._reader
        reader.in_head = True
        reader.head_size = reader.raw_size = 0
        reader.target = b""
        reader.headers = []
        self._read_deadline = self._loop.time() + self._limits.header_seconds

    def on_headers_complete(self) -> None:
        reader = self._reader
        method, version = reader.parser.get_method().decode(), reader.parser.get_http_version()
        if method == "CONNECT":
            raise Malformed("method_unknown", "this service is no proxy")
        head = read_head(reader.target, reader.headers, version=version, limits=self._limits)
        server = self._server
        if not head.path.startswith(HEALTH):
            if self.surplus:
                raise Malformed("overloaded", CROWDED)
            server.free_bytes(self)
        exchange = Exchange(self, method=method, version=version, headers=reader.headers, head=head)
        exchange.keep_alive = reader.parser.should_keep_alive() and not (
            server.stopping or self.surplus
        )
        reader.in_head = False
        self.receiving = exchange
        if head.length != 0:
            self._read_deadline = self._loop.time() + self._limits.body_seconds
            if head.streamed:
                exchange.stream = StreamedBody(told_to_wait=head.wants_continue)
                self._queue.append(exchange)
                self._advance()
            elif head.wants_continue and (head.length or 0) <= self._limits.judged_bytes:
                self._write_continue(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self.receiving
        if exchange is None:
            return
        exchange.body += body
        exchange.size += len(body)
        self._server.in_flight += len(body)
        stream, most = exchange.stream, exchange.head.body_bytes
        if (exchange.size if stream is None else stream.add(len(body))) > most:
            raise Malformed("body_too_large", f"the body may have {most} bytes at most")
        self._server.free_bytes(self)

    def on_message_complete(self) -> None:
        exchange = self.receiving
        if exchange is None or (exchange.head.upgrade and self._reader.skips_body(exchange)):
            return
        self.receiving = None
        self._read_deadline = inf
        self._input_ended = not exchange.keep_alive
        if exchange.stream is None:
            self._queue.append(exchange)
            self._advance()
        else:
            exchange.stream.end()
            if exchange is self._running:
                self._server.mark_working(self)

    def on_judged(self, exchange: Exchange, refusal: bytes | None) -> None:
        """Receive the rest of a large body, or refuse the request."""
        if exchange is self.receiving and refusal is not None:
            self._end_by(refusal)
        elif exchange is self.receiving and self._running is None:
            self._write_continue(exchange)
            if not self._reading:
                self._read_for(self._limits.body_seconds)

    def _write_continue(self, exchange: Exchange) -> None:
        if exchange.head.wants_continue and not exchange.size and self._running is None:
            self._transport.write(CONTINUE)

    # The exchange.

    def begin(self, exchange: Exchange) -> None:
        exchange.task = self._loop.create_task(
            exchange.run(self._server.application, self._addresses)
        )

    def write(self, data: bytes) -> None:
        if not (self._lost or self._transport.is_closing()):
            self._transport.write(data)

    async def drained(self) -> None:
        await self._outgoing.drained()

    def common_lines(self) -> bytes:
        return self._server.common_lines

    def read_on(self, exchange: Exchange) -> None:
        if exchange.body:
            return
        self._release(exchange)
        if exchange is self.receiving:
            if exchange.stream is not None and exchange.stream.awaits_continue():
                self._transport.write(CONTINUE)
            if not self._reading:
                self._read_for(self._limits.body_seconds)

    def ended(self, exchange: Exchange, *, whole: bool) -> None:
        stream = exchange.stream
        self._running = None
        self._release(exchange)
        exchange.step_aside()
        if exchange is self.receiving:
            self.receiving = None
        if self._lost:
            self._server.forget(self)
        elif not whole:
            self._transport.abort()
        elif stream is not None and not stream.complete:
            self._linger()
        elif not exchange.keep_alive or self._server.stopping:
            self.close()
        else:
            self._advance()

    # The server.

    def check(self, now: float) -> None:
        """End the connection or request whose deadline has passed."""
        if now >= self._outgoing.deadline:
            self._outgoing.check()
        elif now < self._read_deadline:
            return
        elif self._lingering or self._running not in (None, self.receiving):
            self._transport.abort()
        elif self.receiving is not None and self.receiving.grows(self._limits):
            self._read_for(self._limits.body_seconds)
        elif self.receiving is not None:
            seconds = self._limits.body_seconds
            self._refuse("body_timeout", f"the body did not arrive within {seconds:g} s")
        elif self._reader.in_head:
            seconds = self._limits.header_seconds
            self._refuse("head_timeout", f"the head did not arrive within {seconds:g} s")
        else:
            self.close()

    def stop(self) -> None:
        """Accept no more requests, and close when those that have begun are answered."""
        for exchange in (*self._queue, self._running, self.receiving):
            if exchange is not None:
                exchange.keep_alive = False
        if self.idle and not self._lingering:
            self.close()

    def close(self) -> None:
        """Close when all written bytes are sent, within the time for that."""
        self._input_ended = True
        self._read_deadline = inf
        self._transport.close()
        self._outgoing.watch()

    def give_way(self) -> None:
        """Release the bytes that are held for a slow client."""
        if self.receiving is not None:
            self._refuse("overloaded", "other requests arrived sooner; try again in a moment")
        else:
            self.drop()

    def drop(self) -> None:
        """Close without an answer. An application that changes something goes on."""
        self._input_ended = True
        self._transport.abort()
        self._outgoing.resume()

    def abort(self) -> None:
        """Close immediately."""
        self.drop()
        if self._running is not None:
            self._running.stop()

    @property
    def idle(self) -> bool:
        """Whether no request has begun that is not answered."""
        return self._running is None and self.receiving is None and not self._reader.in_head

    @property
    def stuck(self) -> bool:
        """Whether the client has not yet read all written bytes."""
        return self._outgoing.stuck

    @property
    def held_until(self) -> float | None:
        """The end of the time that a client has to send or take what it holds here. None: it holds
        nothing."""
        if self.stuck:
            return self._outgoing.deadline
        return self._read_deadline if self.receiving is not None and self.receiving.size else None

    def _end_input(self) -> None:
        """Answer the received requests, then close."""
        self._input_ended = True
        last = self._queue[-1] if self._queue else self._running
        if last is not None:
            last.keep_alive = False

    def _advance(self) -> None:
        """Begin the next answer, if the last one is given."""
        if self._running is not None:
            return
        if self._queue:
            self._running = exchange = self._queue.popleft()
            if exchange is not self.receiving:
                self._server.mark_working(self)
            self._server.line_up(exchange)
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
        else:
            self._wait_for_request()

    def _wait_for_request(self) -> None:
        limits = self._limits
        self._server.mark_waiting(self)
        if self.receiving is not None:
            seconds = limits.body_seconds
        else:
            seconds = limits.header_seconds if self._reader.in_head else limits.idle_seconds
        self._read_for(seconds)

    def _read_for(self, seconds: float) -> None:
        """Read on. The client has so much time for the next step."""
        self._read_deadline = self._loop.time() + seconds
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        self._read_deadline = inf
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _refuse(self, code: str, detail: str) -> None:
        """Answer by a problem, after the answers that are owed, and read no more."""
        self._end_by(self._refused(code, detail), Refused(code, detail))

    def _end_by(self, refusal: bytes, failure: Refused | None = None) -> None:
        receiving, self.receiving = self.receiving, None
        self._reader.in_head = False
        self._input_ended = True
        if failure is not None and receiving is not None and receiving.stream is not None:
            receiving.stream.fail(failure)
            self._pause_reading()
        else:
            self._release(receiving)
            self._refusal = refusal
            self._advance()

    def _refuse_bytes(self, error: HttpParserError, data: bytes) -> None:
        if self._input_ended:
            self._end_input()
        else:
            malformed = explain(error, data, first=self._running is None)
            self._refuse(malformed.code, str(malformed))

    def _refused(self, code: str, detail: str) -> bytes:
        head = self.receiving is not None and self.receiving.method == "HEAD"
        path, lines = self._reader.target.partition(b"?")[0], self._server.common_lines
        return refusal_of(code, detail, path=path, lines=lines, head=head)

    def _write_refusal(self, refusal: bytes) -> None:
        self._refusal = None
        self._transport.write(refusal)
        self._linger()

    def _linger(self) -> None:
        """Give the client a moment to see its answer, while the rest of its request is
        discarded."""
        self._input_ended = self._lingering = True
        self._discarded = 0
        if self._eof:
            self.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._read_for(self._limits.linger_seconds)

    def _release(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            self._server.in_flight -= exchange.size
            exchange.size = 0
            exchange.body = bytearray()


__all__ = ["Connection"]
