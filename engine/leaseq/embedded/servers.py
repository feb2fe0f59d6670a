"""Start the servers for which a process has no URL.

A server without a URL is started in the data directory, and runs as long as any process needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from leaseq.config import Config
from leaseq.embedded.holders import hold
from leaseq.embedded.postgres import PostgresServer
from leaseq.embedded.valkey import ValkeyServer
from leaseq.errors import ConfigInvalid, ServerUnreachable

__all__ = ["embedded_servers", "remove_servers"]


@contextmanager
def embedded_servers(config: Config) -> Iterator[Config]:
    """Yield `config` with both URLs set. Embedded servers behind them run at least within the
    block.

    Raises ServerUnreachable, in one line with the reason, if a server cannot be provided.
    """
    with ExitStack() as held:
        try:
            if config.postgres_url is None:
                postgres = PostgresServer(config.data_dir / "postgres")
                held.enter_context(
                    hold(postgres.directory, start=postgres.start, stop=postgres.stop)
                )
                config = msgspec.structs.replace(config, postgres_url=postgres.url)
            if config.redis_url is None:
                valkey = ValkeyServer(config.data_dir / "valkey")
                held.enter_context(hold(valkey.directory, start=valkey.start, stop=valkey.stop))
                config = msgspec.structs.replace(config, redis_url=valkey.url)
        except PermissionError as error:
            raise ServerUnreachable(
                f"the data directory {config.data_dir} cannot be used by this user: {error}"
            ) from error
        except OSError as error:
            raise ConfigInvalid(
                f"LEASEQ_DATA_DIR={config.data_dir} cannot hold servers ({error.strerror}): name another directory"
            ) from error
        yield config


def remove_servers(data_dir: Path) -> None:
    """End the embedded servers of `data_dir`, even if processes hold them, and delete all their
    data.

    For a temporary data directory. Deleting only that directory would leave behind the data that
    had to lie elsewhere.
    """
    PostgresServer(data_dir / "postgres").destroy()
    ValkeyServer(data_dir / "valkey").destroy()
