"""The rules that the value of one setting keeps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from leaseq.addresses import check_host, check_hosts, check_proxies
from leaseq.app_version import check_app_version
from leaseq.errors import ConfigInvalid
from leaseq.safe_text.redaction import parse_names

__all__ = ["PREFIX", "SCHEMES", "SECRET_CHARACTERS", "check_value", "variable_of"]

PREFIX = "LEASEQ_"
# Names with colons between them. A brace would move the hash tag of a key, a glob character would
# widen a pattern, and CLIENT SETNAME refuses blanks and non-ASCII characters.
REDIS_PREFIX = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*")
SECRET_CHARACTERS = 16_384
SCHEMES = {
    "postgres_url": ("postgresql://", "postgres://"),
    "handler_postgres_url": ("postgresql://", "postgres://"),
    "redis_url": ("redis://", "rediss://", "unix://"),
}
_EXAMPLES = {
    "postgres_url": "postgresql://user:password@host:5432/database",
    "handler_postgres_url": "postgresql://user:password@host:5432/database",
    "redis_url": "redis://user:password@host:6379/0",
}


def variable_of(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def check_value(field: str, kind: Any, value: Any) -> None:
    """Check the value of one setting against its type and its own rule.

    Raises ConfigInvalid with one sentence that names the variable, the value and the rule.
    """
    if field in SCHEMES:
        _check_url(field, value)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigInvalid(
                f"{variable_of(field)}={value} is not one of {', '.join(get_args(kind))}"
            )
    elif field in _RULES:
        _RULES[field](value)
    elif field in ("api_host", "metrics_host"):
        check_host(variable_of(field), value)
    elif field in ("api_port", "metrics_port"):
        if value is not None and not 0 <= value <= 65_535:
            raise ConfigInvalid(
                f"{variable_of(field)}={value} is not a port: use a number between 0 and 65535"
            )
    elif kind in (int, float):
        lowest_allowed = value >= 0 if field == "grace_seconds" else value > 0
        if not (math.isfinite(value) and lowest_allowed):
            raise ConfigInvalid(f"{variable_of(field)}={value} must be a positive number")


def _check_url(field: str, url: str | None) -> None:
    if url is not None and len(url) > SECRET_CHARACTERS:
        raise ConfigInvalid(
            f"{variable_of(field)} is longer than {SECRET_CHARACTERS:,} characters: it is not a URL"
        )
    if url is not None and not url.startswith(SCHEMES[field]):
        raise ConfigInvalid(
            f"{variable_of(field)} must begin with {' or '.join(SCHEMES[field])}, for example {_EXAMPLES[field]}"
        )


def _check_prefix(prefix: str) -> None:
    if not REDIS_PREFIX.fullmatch(prefix):
        rule = "1 to 64 characters of A-Z a-z 0-9 _ . - (no blanks, no braces, no * ? [ ] \\), with a colon between names"
        raise ConfigInvalid(f"LEASEQ_REDIS_PREFIX={prefix!a} is not a valid key prefix: use {rule}")


def _check_redact(names: str) -> None:
    try:
        parse_names(names)
    except ValueError as error:
        raise ConfigInvalid(f"LEASEQ_REDACT={names[:200]!a} is not valid: {error}") from None


_RULES: dict[str, Callable[[Any], None]] = {
    "redis_prefix": _check_prefix,
    "app_version": check_app_version,
    "api_hosts": check_hosts,
    "api_proxies": check_proxies,
    "redact": _check_redact,
}
