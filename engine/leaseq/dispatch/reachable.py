"""Convert the errors of Redis to `ServerUnreachable`.

Every error of Redis (gone, loading, read-only, full, busy) means: retry later, never fatal
(docs/pitfalls.md#p6).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from leaseq.connections.redis_connection import Refused
from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.safe_text.unreachable import redis_reason

# The text of uvloop's RuntimeError for a connection that was reset.
CLOSED_HANDLER = "the handler is closed"


@contextmanager
def reachable() -> Iterator[None]:
    """Convert Redis and connection errors to ServerUnreachable."""
    try:
        yield
    except Refused as error:
        raise DispatchForeign(str(error)) from error
    except (RedisError, OSError, UnicodeError) as error:  # UnicodeError: of a host name
        # its text quotes the URL
        raise ServerUnreachable(f"Redis does not answer: {redis_reason(error)}") from None
    except RuntimeError as error:
        # uvloop raises this in place of an OSError if the connection was reset just before the
        # write.
        if CLOSED_HANDLER not in str(error):
            raise
        raise ServerUnreachable("Redis does not answer: the connection was reset") from None


__all__ = ["reachable"]
