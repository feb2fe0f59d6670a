"""The bounds of the HTTP server.

No client holds memory, a connection or a place in a queue for longer than these limits. Only the
answer itself has no deadline: an application may hold it for any time.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

MIB = 1_048_576


class LargeBody(Struct, frozen=True):
    """The body of an address that takes more than others. One of the media type `streamed` is
    handed to the application in pieces."""

    max_bytes: int
    streamed: bytes


class Limits(Struct, frozen=True, kw_only=True):
    """Seconds, bytes and counts. Tests shrink them."""

    # From the first byte of a request to the empty line after its headers.
    header_seconds: float = 10.0
    # From there to the last byte of the body.
    body_seconds: float = 30.0
    # Between two requests, and before the first. Proxies keep their connections for 60 to 90 s: a
    # server that closes earlier loses the request that was on its way.
    idle_seconds: float = 120.0
    # In which a client has to take `write_bytes` of an answer that fills the buffers.
    write_seconds: float = 30.0
    write_bytes: int = 16_384
    # For the rest of a refused body: a connection that is closed on a client that still sends is
    # reset, and the client may never see the answer.
    linger_seconds: float = 2.0
    linger_bytes: int = 16 * MIB

    target_bytes: int = 8_192
    head_bytes: int = 65_536
    header_count: int = 100
    body_bytes: int = MIB
    # Of a body, before the request is judged by its head, with its API key.
    judged_bytes: int = 16_384
    # By path. A client has `body_seconds` for each `step_bytes` of such a body.
    large_bodies: Mapping[bytes, LargeBody] = {}
    step_bytes: int = MIB // 4
    # Requests that are sent ahead on one connection; those beyond are left unread.
    pipelined: int = 16

    # Of each kind, reads and changes, that are worked on at the same time (admission.py).
    working: int = 100

    connections: int = 1_000
    # Beyond those: for probes, and to say 503 to others.
    spare_connections: int = 64
    # Of bodies that are being received or worked on, and of answers that clients have not taken
    # yet.
    in_flight_bytes: int = 64 * MIB

    @property
    def tick_seconds(self) -> float:
        """How often deadlines are looked at. None is missed by more than this."""
        return min(
            1.0,
            self.header_seconds / 4,
            self.body_seconds / 4,
            self.idle_seconds / 4,
            self.write_seconds / 4,
        )


__all__ = ["MIB", "LargeBody", "Limits"]
