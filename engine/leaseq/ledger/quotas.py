"""Quotas in the ledger: the rest of each, and its use."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from leaseq.api_keys import RequestLimit
from leaseq.ledger.arrays import numbers, words
from leaseq.ledger.session import Session


class Taken(Struct, frozen=True):
    """The answer of one bucket."""

    granted: int
    tokens: float  # left


class QuotaLedger:
    """The quotas in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take_tokens(self, wanted: Mapping[str, tuple[RequestLimit, int]]) -> dict[str, Taken]:
        """Take tokens from the buckets of these keys: the limit of each, and how many.

        The tokens of an answer that was lost are gone.
        """
        params = {
            "key_ids": words(wanted),
            "rates": numbers(limit.rate for limit, _ in wanted.values()),
            "bursts": numbers(limit.burst for limit, _ in wanted.values()),
            "wanted": numbers(count for _, count in wanted.values()),
        }
        found = await self._session.fetch("take_tokens", params)
        return {key_id: Taken(granted, tokens) for key_id, granted, tokens in found}


__all__ = ["QuotaLedger", "Taken"]
