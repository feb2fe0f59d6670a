"""Decide whether a call is repeated, and after which pause.

Nothing is sent or received here. A call is repeated while that can have no other effect than
sending it once, and while the time for it lasts. Pauses grow, and are random, so that clients of a
service that comes back do not arrive together
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A `Retry-After` of the
service is the least pause.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx

from leaseq_http.calls import Call
from leaseq_http.errors import LeaseqHTTPError, Unreachable

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
# Statuses of an answer that another request may not get. 500 is a bug of the service, after which a
# submission is known to exist only when the same is submitted again.
PASSING = frozenset({408, 429, 500, 502, 503, 504})
PASSING_CODES = frozenset({"idempotency_in_flight"})
# Problems with which the service refuses a request before it acts on it.
BEFORE_ACTING = frozenset({"overloaded"})


def pause_before_next(
    call: Call[Any],
    error: LeaseqHTTPError,
    *,
    tried: int,
    left: float,
    random: Callable[[], float],
) -> float | None:
    """The pause in seconds before the call is sent again; None if the error is to be raised.

    `tried` counts the requests so far, `left` is the time in seconds that remains for the call, and
    `random` returns a number from 0 to 1.
    """
    if not may_repeat(call, error):
        return None
    grown = min(FIRST_PAUSE * 2.0 ** min(tried - 1, 16), LONGEST_PAUSE)
    pause = (error.retry_after or 0.0) + grown * random()
    return pause if pause <= left else None


def may_repeat(call: Call[Any], error: LeaseqHTTPError) -> bool:
    """Whether the call may be sent again after this error, and may then succeed."""
    if isinstance(error, Unreachable):
        return not error.final and (call.repeatable or not error.sent)
    if error.status not in PASSING and error.code not in PASSING_CODES:
        return False
    return call.repeatable or error.status == 429 or error.code in BEFORE_ACTING


def unreachable(error: httpx.RequestError, *, url: str) -> Unreachable:
    """The error for a request that got no answer."""
    sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    final = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    text = str(error) or type(error).__name__
    return Unreachable(
        f"{url} did not answer: {text}", sent=sent, final=final or _distrusted(error)
    )


def _distrusted(error: BaseException | None) -> bool:
    """Whether a certificate was not accepted, which no repetition changes."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


__all__ = ["may_repeat", "pause_before_next", "unreachable"]
