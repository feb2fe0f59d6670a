"""Connect a command directly to the two stores.

Commands do not use the API, so they work wherever the servers can be reached, even while the API is
down. Without a URL the embedded servers are used, but only the submission of a first task may
create them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from leaseq.cli.serving import held_servers
from leaseq.cli.streams import note
from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.ledger.roles import prepare_embedded
from leaseq.ledger.schema import require_schema
from leaseq.observability.telemetry import WARNING, Event, subscribe
from leaseq.operations.engine import Engine, open_engine

T = TypeVar("T")
POOL_SIZE = 2

# Events that a person should see although the command continues.
NOTES = {
    "push.failed": "Redis does not answer; recorded tasks are delivered once it is back",
}


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


__all__ = ["reading", "with_engine"]
