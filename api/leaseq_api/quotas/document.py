"""The fields of limits in the OpenAPI document.

A request of a key with a limit is answered with them, unless it was refused before its key was
known.
"""

from __future__ import annotations

from leaseq_api.problem_kinds import KINDS
from leaseq_api.problem_responses import Tree, header_of

# A list of strings with parameters (RFC 9651).
_LIST = r"^{item}(?:, {item})*$".format(item=r'"[a-z_-]+"(?:;[a-z]+=(?:[0-9]+|"[a-z-]+"))+')
LIMIT_FIELDS: Tree = {
    "RateLimit-Policy": header_of(
        "The limits that hold for the request: `q` units each, in `w` seconds if there are such "
        "(draft-ietf-httpapi-ratelimit-headers-11). Only for keys with a limit, and for submissions "
        "of tenants with a quota",
        pattern=_LIST,
    ),
    "RateLimit": header_of(
        "The rest of each limit: `r` units now, and all of them in `t` seconds", pattern=_LIST
    ),
}
# The problems of requests whose limit is not looked at: they come before, or from the HTTP server.
WITHOUT_LIMIT = frozenset(
    {
        "body_timeout",
        "cross_site",
        "forwarded_conflict",
        "head_timeout",
        "head_too_large",
        "header_repeated",
        "host_invalid",
        "host_unknown",
        "key_expired",
        "key_invalid",
        "key_missing",
        "key_revoked",
        "method_unknown",
        "request_malformed",
        "target_too_long",
        "tenant_forbidden",
        "tenant_unknown",
        "too_many_attempts",
    }
)


def add_limit_fields(responses: Tree, codes: tuple[str, ...]) -> None:
    """Add the fields to the responses of an operation that may have them."""
    if "rate_limited" not in codes:
        return
    limited = {str(KINDS[code].status) for code in codes if code not in WITHOUT_LIMIT}
    for status, response in responses.items():
        if int(status) < 400 or status in limited:
            fields = {name: {"$ref": f"#/components/headers/{name}"} for name in LIMIT_FIELDS}
            response["headers"] = response.get("headers", {}) | fields


__all__ = ["LIMIT_FIELDS", "add_limit_fields"]
