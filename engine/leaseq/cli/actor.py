"""The person at the command line, as operations record them."""

from __future__ import annotations

import os
import pwd
import socket

from leaseq.ledger.operation_log import Actor


def command_line(tenant: str | None) -> Actor:
    """The user of the operating system that runs this command, on this host. The environment,
    which a user can set, does not count."""
    return Actor(
        name=f"command line ({_user()}@{socket.gethostname()})", key_id=None, tenant=tenant
    )


def _user() -> str:
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run under a number without a name
        return str(number)


__all__ = ["command_line"]
