"""Prepare the servers of a command or a service, and stop embedded ones after it.

A service (api, reaper, worker, dev) runs on `checked_servers`: they are found or started, and
checked before the service begins. A command uses an engine of its own (`reading`, `with_engine`)
and not the API, so it works wherever the servers can be reached, even while the API is down.

Without a URL the embedded servers are used. They run as long as the command or the service. Only a
service and the submission of a first task may create them. A schema is migrated without a command
only in the embedded Postgres, which belongs to leaseq.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from leaseq.cli.signals import signal_gate
from leaseq.cli.streams import note
from leaseq.config import Config
from leaseq.embedded import embedded_servers
from leaseq.errors import ConfigInvalid
from leaseq.ledger.roles import prepare_embedded
from leaseq.ledger.schema import require_schema
from leaseq.observability.telemetry import WARNING, Event, subscribe
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.server_checks.startup import require_usable_servers

T = TypeVar("T")
POOL_SIZE = 2

# Events that a person should see although the command continues.
NOTES = {
    "push.failed": "Redis does not answer; recorded tasks are delivered once it is back",
}


@contextmanager
def checked_servers(config: Config) -> Iterator[Config]:
    """Yield the configuration with both URLs once the service may start.

    Call `set_up_logs` before. Raises `ServerUnreachable`, `ServerUnfit`, `SchemaMismatch`. A signal
    before the service begins ends the process.
    """
    ours = config.postgres_url is None
    with held_servers(config, unfinished=False) as ready:
        if ours:
            ready = asyncio.run(prepare_embedded(ready))
        asyncio.run(require_usable_servers(ready))
        yield ready


@contextmanager
def held_servers(config: Config, *, unfinished: bool = True) -> Iterator[Config]:
    """Like `embedded_servers`, but a signal ends the process only between its start and its stop,
    never within one of them.

    `unfinished`: a process that a signal ends has not completed its work (see `SignalGate`).
    """
    with signal_gate(unfinished=unfinished) as signals, embedded_servers(config) as ready:
        try:
            signals.open()
            yield ready
        finally:
            signals.close()


def reading(work: Callable[[Engine], Awaitable[T]]) -> T:
    """Run `work`, which only reads, and make sure that nothing else is written, either.

    A look at a standby that was promoted for a drill must not tell the processes of the real
    primary, over a shared Redis, that their primary is an old one.
    """
    return with_engine(work, announces=False)


def with_engine(
    work: Callable[[Engine], Awaitable[T]], *, may_create: bool = False, announces: bool = True
) -> T:
    """Run `work` with an engine, and return its result. Raises `ConfigInvalid`, `SchemaMismatch`,
    `ServerUnreachable`."""
    config = Config.from_env()
    if config.postgres_url is None and not may_create and not _holds_servers(config.data_dir):
        raise ConfigInvalid(
            f"LEASEQ_POSTGRES_URL is not set, and there is no embedded server in {config.data_dir}: "
            "set it, or go where `leaseq dev` runs"
        )
    with held_servers(config) as ready:
        return asyncio.run(
            _work(ready, work, embedded=config.postgres_url is None, announces=announces)
        )


def _holds_servers(data_dir: Path) -> bool:
    try:
        return (data_dir / "postgres").is_dir()
    except OSError:  # an impossible name, or no right to read it: reported when it is used
        return True


async def _work(
    config: Config, work: Callable[[Engine], Awaitable[T]], *, embedded: bool, announces: bool
) -> T:
    if embedded:
        config = await prepare_embedded(config)
    else:
        await require_schema(config.postgres_url or "")
    unsubscribe = subscribe(_note, level=WARNING)
    try:
        async with open_engine(
            config, name="leaseq command", pool_size=POOL_SIZE, announces=announces
        ) as engine:
            return await work(engine)
    finally:
        unsubscribe()


def _note(event: Event) -> None:
    if event.name in NOTES:
        note(NOTES[event.name])


__all__ = ["checked_servers", "held_servers", "reading", "with_engine"]
