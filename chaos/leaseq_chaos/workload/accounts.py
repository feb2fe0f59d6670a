"""The initial database of the workload's handlers."""

from __future__ import annotations

from leaseq_chaos.cluster.stores import Postgres

__all__ = ["prepare"]


async def prepare(postgres: Postgres, *, accounts: int, cents: int) -> None:
    """Make the tables, and open `accounts` accounts with `cents` in each: a sum that no transfer
    may change."""
    await postgres.fetch("create_chaos")
    await postgres.fetch("fill_accounts", {"accounts": accounts, "cents": cents})
