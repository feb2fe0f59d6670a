"""Explain why a server cannot be reached, in words without any part of its URL.

The text of a driver quotes hosts, users, databases and misread pieces of a URL, and a misread piece
may be the password. So that text is never passed on. Each known reason has a sentence here. An
unknown one is left to the log of the server.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator

UNKNOWN = "it refuses the connection; see the log of the server"

# The text of a driver, the operating system, a server or a pooler, and our sentence for it. The
# first match decides.
REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (
            r"password authentication failed|SASL authentication failed|authentication failed",
            "the user or the password is wrong",
        ),
        (
            r"no password supplied|Authentication required|NOAUTH",
            "it requires a password, and none was given",
        ),
        (
            r"WRONGPASS|invalid (username|password)|AUTH failed|without any password",
            "the user or the password is wrong",
        ),
        (
            r"no pg_hba\.conf entry|pg_hba\.conf rejects",
            "pg_hba.conf does not admit this user, database, host or encryption",
        ),
        (r"is not permitted to log in", "the role is not permitted to log in"),
        (r"permission denied for database", "the role may not connect to the database"),
        (r"role .* does not exist|no such user", "there is no such role"),
        (r"database .* does not exist|no such database", "there is no such database"),
        (
            r"too many (clients|connections)|connection slots|no more connections|max number of clients",
            "too many connections",
        ),
        (r"loading the dataset|\bLOADING\b", "it is loading its data"),
        (r"is starting up", "the database system is starting up"),
        (r"is shutting down", "the database system is shutting down"),
        (
            r"in recovery mode|not (yet )?accepting connections",
            "the database system is in recovery",
        ),
        (
            r"terminating connection|server_login_retry|server login",
            "the server ended the connection",
        ),
        (
            r"session is (not )?read-only|in hot standby mode|is not in hot standby",
            "target_session_attrs rules this server out",
        ),
        (
            r"certificate|\bSSL\b|\bTLS\b|sslmode|sslrootcert",
            "TLS failed: compare sslmode and the certificates with the server",
        ),
        (r"Connection refused", "Connection refused"),
        (
            r"not known|not translate|failed to resolve|nodename nor|name resolution|getaddrinfo",
            "its host name is not known",
        ),
        (r"No such file or directory", "there is no such socket"),
        (r"Permission denied", "Permission denied"),
        (r"No route to host|Network is unreachable|Host is down", "there is no route to its host"),
        (r"timeout|timed out", "no answer in time"),
        (
            r"reset by peer|closed the connection|closed by server|EOF|Broken pipe",
            "the server closed the connection",
        ),
        (r"handler is closed|[Cc]onnection lost|not connected", "the connection was lost"),
        (
            r"a value of more than",
            "it sent a value that was too large, and the connection was dropped",
        ),
        (
            r"unsupported startup parameter",
            "a pooler refuses a parameter: add it to ignore_startup_parameters",
        ),
        (r"codec|invalid|cannot match|out of range", "a part of the URL is not valid"),
    )
)
# Names from the URL, in which no pattern must be found.
QUOTED = re.compile(r"""\"[^"]*\"|'[^']*'""")
PLACE = re.compile(r"\b(?:from|to|socket:) \S+")
# Redis names the user whose command it refuses.
USER = re.compile(r"\b[Uu]ser \S+")


def postgres_reason(text: str) -> str:
    """The reason why no connection was made, from the text of psycopg. Several hosts may have
    several reasons."""
    reasons = dict.fromkeys(_reason(line) for line in text.splitlines() if _is_telling(line))
    known = [reason for reason in reasons if reason != UNKNOWN]
    return "; ".join(known) or UNKNOWN


def redis_reason(error: BaseException) -> str:
    """The reason why Redis cannot be used. Its answer to our command is passed on, because that
    contains no part of a URL."""
    if isinstance(error, UnicodeError):
        return "its host name is not valid"
    if any(
        kind.__name__ == "ResponseError" for kind in type(error).__mro__
    ) or not _is_of_connection(error):
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return USER.sub("its user", text)
    for part in _causes(error):
        if isinstance(part, socket.gaierror):
            return "its host name is not known"
        if isinstance(part, ssl.SSLError):
            return "TLS failed: compare the scheme (rediss://) and the certificates with the server"
        if isinstance(part, OSError) and part.errno is not None and part.errno > 0:
            return _reason(os.strerror(part.errno), default=os.strerror(part.errno))
    return _reason(PLACE.sub("", str(error)).replace("'", ""), default="the connection failed")


def _is_of_connection(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ConnectionError", "TimeoutError", "OSError"})


def _causes(error: BaseException) -> Iterator[BaseException]:
    part: BaseException | None = error
    for _ in range(8):
        if part is None:
            return
        yield part
        part = part.__cause__ or part.__context__


def _is_telling(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(
        ("Multiple connection attempts", "Is the server running")
    )


def _reason(text: str, *, default: str = UNKNOWN) -> str:
    bare = QUOTED.sub('""', text)
    return next((reason for pattern, reason in REASONS if pattern.search(bare)), default)


__all__ = ["postgres_reason", "redis_reason"]
