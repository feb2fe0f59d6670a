"""Submit the tasks of a cell, even while the API fails.

Over HTTP, each under a key, and again under the same key until there is an answer, as a good client
does.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import aiohttp
import msgspec

from leaseq_chaos.history import Kind
from leaseq_chaos.sweep.grid import Cell, Effects, Provocation
from leaseq_chaos.workload.front import Front

__all__ = ["ACCOUNTS", "TASKS", "Submitter"]

TASKS = 20
ACCOUNTS = 20
CUSTOMERS = 4
DELAY_SECONDS = 0.4
PATIENCE_SECONDS = 30.0
AGAIN_SECONDS = 0.1


class Submitter:
    """Submits the tasks of one cell. `acknowledged` and `refused` hold the answers of the API."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str], cell: Cell) -> None:
        self._session = session
        self._urls = urls
        self._cell = cell
        self.prefix = f"{cell.name}:".replace(" ", ":")
        self.acknowledged: dict[str, str] = {}
        self.refused: list[str] = []

    async def submit_all(self) -> None:
        """All at once, each until it is answered or patience is at its end."""
        await asyncio.gather(*(self._submit(number) for number in range(TASKS)))

    async def _submit(self, number: int) -> None:
        front = Front(self._session, self._urls, first=number, keys={})
        key = f"{self.prefix}{number}"
        body = msgspec.json.encode(self._body(number))
        until = monotonic() + PATIENCE_SECONDS
        while monotonic() < until:
            reply = await front.submit(body, key=key, tenant=None)
            if reply.kind is Kind.OK and reply.seen is not None:
                self.acknowledged[key] = reply.seen.task_id
                return
            if reply.kind is Kind.FAIL and not reply.passing:
                self.refused.append(f"{key} was refused: {reply.said}")
                return
            front.move_on()
            await asyncio.sleep(AGAIN_SECONDS)

    def _body(self, number: int) -> dict[str, Any]:
        kind, payload = self._task(number)
        body: dict[str, Any] = {"type": kind, "payload": payload}
        match self._cell.place.provocation:
            case Provocation.DELAY:
                body["delay_seconds"] = DELAY_SECONDS
            case Provocation.UNIQUE:
                body["unique_key"] = f"{self.prefix}{number}"
        return body

    def _task(self, number: int) -> tuple[str, dict[str, int]]:
        if self._cell.place.provocation is Provocation.LIMIT:
            kind = "bounded_plain" if self._cell.effects is Effects.PLAIN else "bounded"
            return kind, {"n": number, "customer": number % CUSTOMERS}
        if self._cell.effects is Effects.PLAIN:
            return "plain", {"n": number}
        kind = ("note", "transfer", "thread")[number % 3]
        if kind == "note":
            return kind, {"n": number}
        return kind, {
            "source": 1 + number % ACCOUNTS,
            "target": 1 + (number + 7) % ACCOUNTS,
            "cents": 100 + number,
        }
