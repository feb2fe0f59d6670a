"""Check the URLs of the servers before any part of one can appear in a message.

libpq and psycopg quote the part that they cannot read. A part that they call a host or a port may
belong to the password.
"""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from leaseq.errors import ConfigInvalid

UNREADABLE = (
    "LEASEQ_POSTGRES_URL (or that of handlers) cannot be read: write postgresql://user:password@host:5432/database, and "
    "% @ / : ? # in user and password as %25 %40 %2F %3A %3F %23"
)


def check_postgres_url(url: str) -> None:
    """Raise `ConfigInvalid`, without any part of the URL, if libpq cannot read it."""
    try:
        params = conninfo_to_dict(url)
        ports = str(params.get("port") or "0").split(",")
        is_readable = "\0" not in url and all(
            (port.isdecimal() and port.isascii()) or not port for port in ports
        )
    except (psycopg.Error, ValueError):
        is_readable = False
    if not is_readable:
        raise ConfigInvalid(UNREADABLE)


def require_url(field: str, url: str | None) -> str:
    """The URL in this field of the configuration. Raises `ConfigInvalid` if there is none."""
    if url is None:
        raise ConfigInvalid(
            f"LEASEQ_{field.upper()} is not set, and no embedded server was started in its place"
        )
    return url


__all__ = ["check_postgres_url", "require_url"]
