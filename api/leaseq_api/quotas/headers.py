"""The header fields of quotas (draft-ietf-httpapi-ratelimit-headers-11).

`RateLimit-Policy` lists the quotas: `q` units within `w` seconds, in units of `qu`. `RateLimit`
lists the rest of each: `r` units now, and the whole quota again in `t` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from leaseq.api_keys import RequestLimit

POLICY, STANDING = b"ratelimit-policy", b"ratelimit"
Header = tuple[bytes, bytes]


def request_policy(limit: RequestLimit) -> Header:
    """The policy of a limit on requests. The window is long enough that a full bucket with the
    tokens of the window is not less than the quota."""
    window = max(1, ceil(limit.burst / limit.rate))
    return POLICY, b'"requests";q=%d;w=%d' % (max(1, limit.rate * window), window)


def requests_left(limit: RequestLimit, tokens: float) -> Header:
    """The rest of a bucket that has so many tokens."""
    seconds = ceil(max(0.0, limit.burst - tokens) / limit.rate)
    return STANDING, b'"requests";r=%d;t=%d' % (max(0, tokens), seconds)


def with_limit(given: Iterable[Header], limit: Sequence[Header]) -> list[Header]:
    """The headers of an answer with the fields of a limit on requests. An answer has each field once,
    because some clients read only one of two: those of other quotas follow in the same list."""
    fields, others = dict(limit), []
    for name, value in given:
        if name in fields:
            fields[name] += b", " + value
        else:
            others.append((name, value))
    return [*others, *fields.items()]


__all__ = ["POLICY", "STANDING", "Header", "request_policy", "requests_left", "with_limit"]
