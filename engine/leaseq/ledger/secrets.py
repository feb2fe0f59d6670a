"""Secrets that all API processes of a ledger share."""

from __future__ import annotations

from msgspec import Struct

from leaseq.errors import SchemaMismatch
from leaseq.ledger.session import Session

SESSIONS = "sessions"


class SharedSecret(Struct, frozen=True):
    """A secret. `now`: the time of the read by the clock of Postgres, in seconds since 1970."""

    secret: bytes
    now: float

    def __repr__(self) -> str:
        return "SharedSecret(***)"


class SecretLedger:
    """The secrets in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, name: str) -> SharedSecret:
        """A secret of this name."""
        found = await self._session.fetch("read_secret", {"name": name}, idempotent=True)
        if not found:
            raise SchemaMismatch(f"leaseq.secrets has no row {name}: run `leaseq migrate`")
        return SharedSecret(bytes(found[0].secret), found[0].now)


__all__ = ["SESSIONS", "SecretLedger", "SharedSecret"]
