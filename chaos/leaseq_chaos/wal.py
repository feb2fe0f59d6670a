"""The order in which the ledger commits.

A logical-decoding slot of the run's own Postgres tells, independently of anything the engine says
of itself. The slot is read by looking first and moving on afterwards: when Postgres dies in
between, the same changes come again, and are known by the position of their commit.

After a failover there are two servers to read. The position at which the new primary left the log
of the old one divides the commits of the old one exactly: those up to it are in both and count;
those beyond it are lost, and are kept aside. Invariants: `commits.jsonl` has each surviving row
change once, in commit order; `lost.jsonl` has each one that a failover has lost.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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

# The columns of a row that are kept; "id" of a task becomes task_id.
COLUMNS: dict[str, frozenset[str]] = {
    "tasks": frozenset({
        "id", "type", "state", "attempt", "retry_count", "crash_count", "loss_count", "worker_id", "idempotency_key",
        "run_at", "started_at", "finished_at", "cancel_requested_at", "limit_name",
    }),
    "limits": frozenset({"id", "concurrency", "key_concurrency"}),
    "limited": frozenset({"task_id", "limit_id", "tenant", "key", "due", "admitted_at"}),
    "schedules": frozenset({"name", "every_seconds", "next_at", "missed"}),
    "attempts": frozenset({"task_id", "attempt", "outcome", "worker_id", "next_state", "hand_backs"}),
    "idempotency_keys": frozenset({"key", "task_id"}),
    "queues": frozenset({"name", "paused"}),
    "workers": frozenset({"id", "pid", "closed_at", "close_reason"}),
    "heartbeats": frozenset({"worker_id"}),
    "effects": frozenset({"task_id", "attempt", "type"}),
    "accounts": frozenset({"id", "cents"}),
}  # fmt: skip
INTEGERS = frozenset(
    {"attempt", "retry_count", "crash_count", "loss_count", "pid", "cents", "hand_backs"}
    | {"concurrency", "key_concurrency", "missed"}
)

_CHANGE = re.compile(r"table (?:leaseq|chaos)\.(\w+): (INSERT|UPDATE|DELETE): ")
_COLUMN = re.compile(r"(\w+)\[[^\]]*\]:('(?:[^']|'')*'|[^ ]+)")
_COMMIT = re.compile(r"COMMIT \d+ \(at (.+)\)")


def parse(
    lines: Iterable[tuple[int, int, str]], *, wall_offset: int
) -> Iterator[tuple[int, list[Commit]]]:
    """Turn what test_decoding says (position, transaction, text) into one list of row changes for
    each transaction, with the position of its commit. `wall_offset` is the wall clock less the
    clock of the history, in nanoseconds."""
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


class _Source:
    """The slot of one primary, and what has been read from it so far."""

    def __init__(self, postgres: Postgres, file: Path) -> None:
        self.postgres = postgres
        self.path = file
        self.file = file.open("wb")
        self.last = 0
        self.done = False

    @property
    def readable(self) -> bool:
        return not self.done and self.postgres.answers


class CommitReader:
    """Follows the slots of all primaries of a run from `open` to `finish`, and writes what it
    finds."""

    def __init__(
        self,
        timelines: Sequence[Postgres],
        directory: Path,
        *,
        wall_offset: int,
        watch: Callable[[Commit], None],
    ) -> None:
        self._timelines = timelines  # grows while we read
        self._directory = directory
        self._wall_offset = wall_offset
        self._watch = watch
        self._sources: list[_Source] = []
        self._encoder = msgspec.json.Encoder()

    async def open(self) -> None:
        """Create the slot. Earlier commits are not reported."""
        await self._timelines[0].fetch("create_slot")

    async def follow(self, stop: asyncio.Event) -> None:
        """Read until stopped. Waits for a Postgres that is away."""
        while not stop.is_set():
            more = False
            for source in self._all():
                if source.readable:
                    more |= await self._try(source)
            if not more:
                await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=POLL_SECONDS)

    async def finish(self) -> None:
        """Read the rest, then close and sort. Raises psycopg.Error."""
        for source in self._all():
            while not source.done and await self._read(source):
                pass
            if not source.done:
                await source.postgres.fetch("drop_slot")
            source.file.close()
        if len(self._sources) > 1:
            self._sort()

    def _all(self) -> list[_Source]:
        """One source for each primary that there has been, the former ones first."""
        for postgres in self._timelines[len(self._sources) :]:
            name = "commits.jsonl" if not self._sources else f"commits-{postgres.timeline}.jsonl"
            self._sources.append(_Source(postgres, self._directory / name))
        return self._sources

    async def _try(self, source: _Source) -> bool:
        sealed = source.postgres.sealed
        try:
            async with asyncio.timeout(20):
                more = await self._read(source)
        except (psycopg.Error, OSError, TimeoutError):
            return False
        if sealed and not more:
            source.done = True
            await source.postgres.destroy()  # a former primary, and we were the last to need it
        return more

    async def _read(self, source: _Source) -> bool:
        found = await source.postgres.fetch("peek_changes", {"at_most": AT_MOST})
        last = 0
        for lsn, commits in parse(found, wall_offset=self._wall_offset):
            last = lsn
            if lsn <= source.last:
                continue  # reported before a crash made the slot forget our position
            source.last = lsn
            branched = source.postgres.branched
            for commit in commits:
                commit = msgspec.structs.replace(commit, timeline=source.postgres.timeline)
                source.file.write(self._encoder.encode(commit) + b"\n")
                if branched is None or lsn <= branched:
                    self._watch(commit)
        source.file.flush()
        if last:
            await source.postgres.fetch("advance_slot", {"lsn": str(last)})
        return len(found) >= AT_MOST

    def _sort(self) -> None:
        """Divide the changes of each source at the point where its successor left it."""
        kept, lost = self._directory / "kept.jsonl", self._directory / "lost.jsonl"
        decoder = msgspec.json.Decoder(Commit)
        with kept.open("wb") as survivors, lost.open("wb") as others:
            for source in self._sources:
                end = source.postgres.branched
                with source.path.open("rb") as lines:
                    for line in lines:
                        survived = end is None or decoder.decode(line).lsn <= end
                        (survivors if survived else others).write(line)
        for source in self._sources[1:]:
            source.path.unlink()
        kept.replace(self._sources[0].path)
