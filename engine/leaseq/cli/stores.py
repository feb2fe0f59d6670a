"""The way of a command that asks or changes one thing to the two stores.

Directly, without the API: it works wherever the servers can be reached, and also while the API is down. Where no URL is
set, the embedded servers are used, but only the submission of a first task may bring them into being.
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
from leaseq.operations.engine import Engine, open_engine
from leaseq.telemetry import WARNING, Event, subscribe

T = TypeVar("T")
POOL_SIZE = 2

# What a person should hear of although the command goes on.
NOTES = {
    "push.failed": "Redis does not answer; what was recorded is delivered once it is back",
}


def reading(work: Callable[[Engine], Awaitable[T]]) -> T:
    """Do `work`, which changes nothing, and change nothing on the way either.

    A look at a standby that was promoted for a drill must not tell the processes of the real primary, over a Redis that they use,
    that theirs is an old one.
    """
    return with_engine(work, announces=False)


def with_engine(work: Callable[[Engine], Awaitable[T]], *, may_create: bool = False, announces: bool = True) -> T:
    """Do `work` with an engine, and return what it returns. Raises `ConfigInvalid`, `SchemaMismatch`, `ServerUnreachable`."""
    config = Config.from_env()
    if config.postgres_url is None and not may_create and not _holds_servers(config.data_dir):
        raise ConfigInvalid(
            f"LEASEQ_POSTGRES_URL is not set, and there is no embedded server in {config.data_dir}: "
            "set it, or go where `leaseq dev` runs"
        )
    with held_servers(config) as ready:
        return asyncio.run(_work(ready, work, embedded=config.postgres_url is None, announces=announces))


def _holds_servers(data_dir: Path) -> bool:
    try:
        return (data_dir / "postgres").is_dir()
    except OSError:  # no directory can have this name, or it may not be looked at: said where it is to be used
        return True


async def _work(config: Config, work: Callable[[Engine], Awaitable[T]], *, embedded: bool, announces: bool) -> T:
    if embedded:
        config = await prepare_embedded(config)
    else:
        await require_schema(config.postgres_url or "")
    unsubscribe = subscribe(_note, level=WARNING)
    try:
        async with open_engine(config, name="leaseq command", pool_size=POOL_SIZE, announces=announces) as engine:
            return await work(engine)
    finally:
        unsubscribe()


def _note(event: Event) -> None:
    if event.name in NOTES:
        note(NOTES[event.name])


__all__ = ["reading", "with_engine"]
