"""In which order did the ledger commit what?

A logical-decoding slot of the run's own Postgres tells, independently of anything the engine says of itself. The slot is read by
looking first and moving on afterwards: when Postgres dies in between, the same changes come again, and are known by the position
of their commit. Invariant: `commits.jsonl` has each row change once, in commit order.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from leaseq_chaos.cluster.stores import Postgres
from leaseq_chaos.evidence import Commit

__all__ = ["COLUMNS", "CommitReader", "parse"]

POLL_SECONDS = 0.5
AT_MOST = 5000  # changes in one look
NANOSECONDS = 1_000_000_000

# What is kept of a row; "id" of a task becomes task_id.
COLUMNS: dict[str, frozenset[str]] = {
    "tasks": frozenset({
        "id", "type", "state", "attempt", "retry_count", "crash_count", "loss_count", "worker_id", "idempotency_key",
        "run_at", "started_at", "finished_at", "cancel_requested_at",
    }),
    "attempts": frozenset({"task_id", "attempt", "outcome", "worker_id", "next_state"}),
    "idempotency_keys": frozenset({"key", "task_id"}),
    "queues": frozenset({"name", "paused"}),
    "workers": frozenset({"id", "pid", "closed_at", "close_reason"}),
    "effects": frozenset({"task_id", "attempt", "type"}),
    "accounts": frozenset({"id", "cents"}),
}  # fmt: skip
INTEGERS = frozenset({"attempt", "retry_count", "crash_count", "loss_count", "pid", "cents"})

_CHANGE = re.compile(r"table (?:leaseq|chaos)\.(\w+): (INSERT|UPDATE|DELETE): ")
_COLUMN = re.compile(r"(\w+)\[[^\]]*\]:('(?:[^']|'')*'|[^ ]+)")
_COMMIT = re.compile(r"COMMIT \d+ \(at (.+)\)")


def parse(lines: Iterable[tuple[int, int, str]], *, wall_offset: int) -> Iterator[tuple[int, list[Commit]]]:
    """Turn what test_decoding says (position, transaction, text) into one list of row changes for each transaction, with the
    position of its commit. `wall_offset` is the wall clock less the clock of the history, in nanoseconds."""
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for lsn, xid, text in lines:
        if text.startswith("BEGIN"):
            rows = []
        elif ended := _COMMIT.match(text):
            at = round(datetime.fromisoformat(ended[1]).timestamp() * 1e6) * 1000 - wall_offset
            yield lsn, [Commit(lsn, xid, at, table, verb, row) for table, verb, row in rows]
        elif (change := _CHANGE.match(text)) and change[1] in COLUMNS:
            rows.append((change[1], change[2].lower(), _row(change[1], text[change.end() :])))


def _row(table: str, text: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in _COLUMN.findall(text.partition("new-tuple: ")[2] or text):
        if name in COLUMNS[table] and value != "unchanged-toast-datum":
            row["task_id" if (table, name) == ("tasks", "id") else name] = _value(name, value)
    return row


def _value(name: str, text: str) -> Any:
    if text == "null":
        return None
    plain = text[1:-1].replace("''", "'") if text.startswith("'") else text
    return int(plain) if name in INTEGERS else plain


class CommitReader:
    """Follows the slot from `open` to `finish`, and writes what it finds."""

    def __init__(self, postgres: Postgres, file: Path, *, wall_offset: int, watch: Callable[[Commit], None]) -> None:
        self._postgres = postgres
        self._file = file.open("wb")
        self._wall_offset = wall_offset
        self._watch = watch
        self._last = 0
        self._encoder = msgspec.json.Encoder()

    async def open(self) -> None:
        """Create the slot. What was committed before is not told."""
        await self._postgres.fetch("create_slot")

    async def follow(self, stop: asyncio.Event) -> None:
        """Read until told to stop; waits for a Postgres that is away."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(20):
                    more = await self._read()
            except (psycopg.Error, OSError, TimeoutError):
                more = False
            if not more:
                await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=POLL_SECONDS)

    async def finish(self) -> None:
        """Read what is left, then close. Raises psycopg.Error."""
        while await self._read():
            pass
        await self._postgres.fetch("drop_slot")
        self._file.close()

    async def _read(self) -> bool:
        found = await self._postgres.fetch("peek_changes", {"at_most": AT_MOST})
        last = 0
        for lsn, commits in parse(found, wall_offset=self._wall_offset):
            last = lsn
            if lsn <= self._last:
                continue  # told before a crash made the slot forget how far we were
            self._last = lsn
            for commit in commits:
                self._file.write(self._encoder.encode(commit) + b"\n")
                self._watch(commit)
        self._file.flush()
        if last:
            await self._postgres.fetch("advance_slot", {"lsn": str(last)})
        return len(found) >= AT_MOST
