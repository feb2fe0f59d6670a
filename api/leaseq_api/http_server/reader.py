"""Cut the bytes of a client into requests, and gather the head of each.

llhttp calls back while it parses. It keeps the part of a header, and skips the frames of chunks,
without a callback: both are bounded by the number of bytes that go in.
"""

from __future__ import annotations

from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from leaseq_api.http_server.exchange import Exchange
from leaseq_api.http_server.head import Malformed
from leaseq_api.http_server.limits import Limits


class Enough(Exception):
    """More requests were sent ahead than are kept."""


class Receiver(Protocol):
    """The connection, which llhttp calls for all but the lines of a head."""

    receiving: Exchange | None

    def on_message_begin(self) -> None:
        """A request begins."""

    def on_headers_complete(self) -> None:
        """Its head is complete."""

    def on_body(self, body: bytes) -> None:
        """A part of its body has arrived."""

    def on_message_complete(self) -> None:
        """It is complete."""


class RequestReader:
    """The request that a connection is receiving."""

    def __init__(self, receiver: Receiver, limits: Limits) -> None:
        self.in_head = False
        self.head_size = self.raw_size = 0
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._limits = limits
        self._receiver = receiver
        # Attributes, so that llhttp calls the connection without a step between.
        self.on_message_begin = receiver.on_message_begin
        self.on_headers_complete = receiver.on_headers_complete
        self.on_body = receiver.on_body
        self.on_message_complete = receiver.on_message_complete
        self.parser = HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Hand bytes to llhttp. Raises `HttpParserError`, and what a callback raises."""
        size = len(data)
        headers, receiving = self.headers if self.in_head else None, self._receiver.receiving
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    self._read_on(self._receiver.receiving)
        except HttpParserError as error:
            if isinstance(error.__context__, Malformed | Enough):
                raise error.__context__ from None
            raise
        if self.in_head and headers is self.headers:
            self.raw_size += size
            if self.raw_size > self._limits.head_bytes:
                raise self._head_too_large()
        elif receiving is not None and receiving is self._receiver.receiving:
            self.raw_size += size
            if self.raw_size > 2 * receiving.head.body_bytes + self._limits.head_bytes:
                raise Malformed("body_too_large", "the body has more frames of chunks than content")

    def skips_body(self, exchange: Exchange) -> bool:
        """Whether llhttp ends a request before its body, because it asks for an upgrade."""
        return self.parser.should_upgrade() and exchange.head.length != 0

    def _read_on(self, receiving: Exchange | None) -> None:
        """Answer a request as if no upgrade had been requested (RFC 9110, 7.8): this service offers
        none. Its body, which llhttp treats as the other protocol, is read by a parser that begins
        behind a head of the same framing."""
        if receiving is None:
            self.parser = HttpRequestParser(self)
            return
        self.parser = HttpRequestParser(_BodyReader(self))
        length = receiving.head.length
        framing = (
            b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        )
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")

    def on_url(self, url: bytes) -> None:
        """Called by llhttp with a part of the target."""
        self.target += url
        if len(self.target) > self._limits.target_bytes:
            raise Malformed(
                "target_too_long", f"the target may have {self._limits.target_bytes} bytes at most"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp with a header, or with a trailer, which this service does not read."""
        if self.in_head:
            self.head_size += len(name) + len(value) + 4
            self.headers.append((name.lower(), value))
            if (
                self.head_size > self._limits.head_bytes
                or len(self.headers) > self._limits.header_count
            ):
                raise self._head_too_large()

    def _head_too_large(self) -> Malformed:
        limits = self._limits
        return Malformed(
            "head_too_large",
            f"the head may have {limits.head_bytes} bytes and {limits.header_count} headers",
        )


class _BodyReader:
    """The same as a `RequestReader`, behind the first head, which it does not report."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete
        self._reader = reader
        self._reports = False

    def on_message_begin(self) -> None:
        """Called by llhttp."""
        if self._reports:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Called by llhttp."""
        if self._reports:
            self._reader.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp."""
        if self._reports:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by llhttp."""
        if self._reports:
            self._reader.on_headers_complete()
        self._reports = True


__all__ = ["Enough", "RequestReader"]
