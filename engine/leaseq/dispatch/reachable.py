"""Convert the errors of Redis to `ServerUnreachable`.

Every error of Redis (gone, loading, read-only, full, busy) means: retry later, never fatal
(docs/pitfalls.md#p6).
"""

from __future__ import annotations

from redis.exceptions import RedisError

from leaseq.connections.redis_connection import Refused
from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.safe_text.unreachable import redis_reason

# The text of uvloop's RuntimeError for a connection that was reset.
CLOSED_HANDLER = "the handler is closed"


class reachable:  # noqa: N801
    """Convert Redis and connection errors to ServerUnreachable, in a `with` block."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        match error:
            case None:
                return
            case Refused():
                raise DispatchForeign(str(error)) from error
            case RedisError() | OSError() | UnicodeError():  # UnicodeError: of a host name
                # its text quotes the URL
                raise ServerUnreachable(f"Redis does not answer: {redis_reason(error)}") from None
            case RuntimeError() if CLOSED_HANDLER in str(error):
                # uvloop raises this in place of an OSError if the connection was reset just before
                # the write.
                raise ServerUnreachable("Redis does not answer: the connection was reset") from None


__all__ = ["reachable"]
