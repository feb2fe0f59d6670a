"""Take a census when it is asked for, at a bounded price.

No process takes one without a question. A census that is younger than `REST_SECONDS` is the answer
to each question, from any process. An older one is taken again, by one process at a time, while the
others answer with the last one. A census that takes longer than `SECONDS` is given up, and the next
one reads half as many pages, until one was quick enough again.
"""

from __future__ import annotations

import asyncio

from leaseq.errors import ServerUnreachable
from leaseq.ledger.census import MOST_PAGES, REST_SECONDS, Census, CensusLedger

SECONDS = 3.0
LEAST_PAGES = 125
# Those who read a census, and do not ask for one, take an older one for outdated.
OUTDATED_SECONDS = 600.0


class CensusTaker:
    """Answers with a census of this ledger."""

    def __init__(self, ledger: CensusLedger) -> None:
        self._ledger = ledger
        self._asking = asyncio.Lock()
        self.pages = MOST_PAGES

    async def ask(self) -> Census | None:
        """A census, taken now if the last one is older than `REST_SECONDS`. None: there is none
        yet. Raises `ServerUnreachable`."""
        async with self._asking:
            last = await self._ledger.find()
            if last is not None and last.age < REST_SECONDS:
                return last
            return await self._take() or last

    async def read(self) -> Census | None:
        """The last census, unless it is outdated. Takes none."""
        last = await self._ledger.find()
        return last if last is not None and last.age < OUTDATED_SECONDS else None

    async def _take(self) -> Census | None:
        try:
            async with asyncio.timeout(SECONDS):
                taken = await self._ledger.take(pages=self.pages)
        except (TimeoutError, ServerUnreachable):
            self.pages = max(self.pages // 2, LEAST_PAGES)
            return None
        if taken is not None:
            self.pages = min(self.pages * 2, MOST_PAGES)
        return taken


__all__ = ["OUTDATED_SECONDS", "CensusTaker"]
