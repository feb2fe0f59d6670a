"""Quotas, for the HTTP service, which applies them (docs/quotas.md)."""

from __future__ import annotations

from collections.abc import Mapping

from leaseq.api_keys import RequestLimit
from leaseq.ledger.quotas import QuotaLedger, Taken


class Quotas:
    """The quotas of one ledger."""

    def __init__(self, ledger: QuotaLedger) -> None:
        self._ledger = ledger

    async def take_tokens(self, wanted: Mapping[str, tuple[RequestLimit, int]]) -> dict[str, Taken]:
        """Take tokens from the buckets of these API keys: the limit of each, and how many."""
        return await self._ledger.take_tokens(wanted)


__all__ = ["Quotas", "Taken"]
