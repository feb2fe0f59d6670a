"""Choose free TCP ports of the loopback for a run.

None of those that the system gives to outgoing connections: a server that is down for a moment has
to find its port free again.
"""

from __future__ import annotations

import errno
import random
import socket

__all__ = ["free_port"]

# Below the ranges from which Linux (32768) and other systems (49152) choose; above the well-known
# ports.
PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A free port. Drawn at random, so that two runs at the same time do not collide."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise OSError(errno.EADDRINUSE, "a hundred ports were tried, and none was free")
