"""Prepare the servers for api, reaper, worker and dev, and stop them afterwards.

The servers are found or started and checked before the service begins. Embedded servers run as long
as the service. A schema is migrated without a command only in the embedded Postgres, which belongs
to leaseq.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from leaseq.cli.signals import gate
from leaseq.config import Config
from leaseq.embedded import embedded_servers
from leaseq.fitness import require_fit
from leaseq.ledger.roles import prepare_embedded


@contextmanager
def on_fit_servers(config: Config) -> Iterator[Config]:
    """Yield the configuration with both URLs once the service may start.

    Call `set_up_logs` before. Raises `ServerUnreachable`, `ServerUnfit`, `SchemaMismatch`. A signal
    before the service begins ends the process.
    """
    ours = config.postgres_url is None
    with held_servers(config, unfinished=False) as ready:
        if ours:
            ready = asyncio.run(prepare_embedded(ready))
        asyncio.run(require_fit(ready))
        yield ready


@contextmanager
def held_servers(config: Config, *, unfinished: bool = True) -> Iterator[Config]:
    """Like `embedded_servers`, but a signal ends the process only between its start and its stop,
    never within one of them.

    `unfinished`: a process that a signal ends has not completed its work (see `Gate`).
    """
    with gate(unfinished=unfinished) as signals, embedded_servers(config) as ready:
        try:
            signals.open()
            yield ready
        finally:
            signals.close()


__all__ = ["held_servers", "on_fit_servers"]
