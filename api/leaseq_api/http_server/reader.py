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
                    # No protocol upgrade is offered: the request is answered as if none had been
                    # requested (RFC 9110, 7.8).
                    self.parser = HttpRequestParser(self)
                    data = data[upgrade.args[0] :]
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


__all__ = ["Enough", "RequestReader"]
