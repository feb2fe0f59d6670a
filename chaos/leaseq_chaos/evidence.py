"""The evidence of a run, for checkers and readers.

A directory: `run.json` (the parameters), `history/` (one file per process), `logs/` (the log lines
of each service, with the time of their arrival), `commits.jsonl` (the ledger's own order of
commits, from a logical-decoding slot), `snapshot.json` (both stores after the drain),
`tombstones.json` (the rows of erased tasks and freed keys). A run can be
judged again from it at any time; nothing here talks to a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from leaseq_chaos.history import Event, read_history

__all__ = [
    "Commit",
    "Erased",
    "Evidence",
    "Found",
    "Heard",
    "Lane",
    "Recorded",
    "Run",
    "Skip",
    "Snapshot",
    "Tombstones",
    "load",
]

T = TypeVar("T")


class Skip(Struct, frozen=True):
    """A fault that this machine cannot do."""

    nemesis: str
    reason: str


class Run(Struct, frozen=True, kw_only=True):
    """The parameters of a run, and how to repeat it."""

    scenario: str
    about: str
    seed: int
    minutes: float
    workers: int
    command: str  # repeats this run
    began: int  # boottime of the first operation
    ended: int  # boottime after the snapshot
    # the LEASEQ_* of the services; lease_seconds and max_crashes matter to checkers
    config: dict[str, str]
    # versions of Python, Postgres, Valkey; processors
    machine: dict[str, str] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    # nemesis -> seconds from the heal within which work must go on
    bounds: dict[str, float] = field(default_factory=dict)
    has_room: bool = False  # for everything that comes, so that no task has to wait for another
    # by how much the bounds are larger than on a machine that has nothing else to do
    slowness: float = 1.0
    wall_offset: int = 0  # the wall clock less the clock of the history, in nanoseconds; 0: unknown
    # the "sometimes" that this scenario has to hit
    expects: list[str] = field(default_factory=list)
    accounts: int = 0
    cents: int = 0  # the sum over all accounts, from beginning to end


class Commit(Struct, frozen=True, omit_defaults=True):
    """One row change in the ledger. The list is in commit order; rows of one transaction share
    `lsn` and `xid`."""

    lsn: int  # of the commit record
    xid: int
    at: int  # boottime of the commit
    # tasks, attempts, idempotency_keys, queues, workers, heartbeats (schema leaseq); effects,
    # accounts (schema chaos)
    table: str
    verb: str  # insert, update, delete
    # the columns named in wal.COLUMNS, after the change; ids of tasks as strings
    row: dict[str, Any]
    timeline: int = 1  # the place of its server among the primaries of the run


class Heard(Struct, frozen=True):
    """One log line of a service."""

    at: int
    service: str
    said: dict[str, Any]  # the JSON line; `event` names it


class Lane(Struct, frozen=True):
    """One key of dispatch that was there at the end."""

    key: str
    type: str
    length: int
    members: list[str]  # the first hundred


class Snapshot(Struct, frozen=True, kw_only=True):
    """Both stores after healing and draining."""

    at: int
    drained: bool  # did everything end within the patience of the run?
    waited_seconds: float
    # task_id, type, queue, state, attempt, retry_count, crash_count, loss_count, worker_id,
    # idempotency_key, max_attempts, error_code; and in seconds since 1970 by the clock of Postgres:
    # created_at, run_at, started_at, finished_at
    tasks: list[dict[str, Any]]
    attempts: list[dict[str, Any]]  # task_id, attempt, outcome, worker_id, next_state
    keys: list[dict[str, Any]]  # tenant, key, task_id
    effects: list[dict[str, Any]]  # task_id, attempt, type: one row for each transactional effect
    cents: int  # the sum over all accounts
    open_workers: list[str]  # workers that the ledger has open
    dispatch: list[Lane] = field(default_factory=list)
    # task_id, tenant, queue, type, code, failed_at; None: a run of before there were any
    dead_letters: list[dict[str, Any]] | None = None
    letter_counts: list[dict[str, Any]] = field(default_factory=list)  # queue, type, letters
    # task_id, tenant, name, value; None: a run of before there were any
    labels: list[dict[str, Any]] | None = None
    # id, name, concurrency, key_concurrency; None: a run of before there were any
    limits: list[dict[str, Any]] | None = None
    limited: list[dict[str, Any]] | None = None  # task_id, admitted
    fired: list[dict[str, Any]] | None = None  # task_id, schedule, at


class Erased(Struct, frozen=True):
    """One task that the operator has asked for after the drain, as the ledger has it then."""

    task_id: str
    state: str
    erased: bool
    key_freed: bool
    contents: int  # columns with content
    attempts: int
    fingerprint: str | None  # of the key that stands for it


class Found(Struct, frozen=True):
    """A mark of a payload, and a table of the ledger that holds it."""

    table: str
    mark: str


class Recorded(Struct, frozen=True):
    """One row of the operations."""

    action: str
    target: str
    outcome: str


class Tombstones(Struct, frozen=True, kw_only=True):
    """The ledger after the operator has erased tasks and freed keys (workload/operator.py)."""

    marks: dict[str, str]  # of all tasks with a mark, the erased ones and the others
    erased: list[Erased]
    found: list[Found]
    operations: list[Recorded]
    labelled: list[str] = field(default_factory=list)  # tasks that have labels then


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything that a checker may look at. `events` and `logs` are in the order of time,
    `commits` in commit order."""

    run: Run
    events: list[Event]
    commits: list[Commit]
    logs: list[Heard]
    snapshot: Snapshot
    # commits of former primaries that no successor has, in commit order
    lost: list[Commit] = field(default_factory=list)
    tombstones: Tombstones | None = None  # None: a run without an operator


def load(directory: Path) -> Evidence:
    """Read a run back. Raises OSError where a part is missing, msgspec.DecodeError where one is
    broken."""
    logs = [
        heard
        for file in sorted((directory / "logs").glob("*.jsonl"))
        for heard in _lines(file, Heard)
    ]
    logs.sort(key=lambda heard: heard.at)
    tombstones = directory / "tombstones.json"
    return Evidence(
        run=msgspec.json.decode((directory / "run.json").read_bytes(), type=Run),
        events=read_history(directory / "history"),
        commits=list(_lines(directory / "commits.jsonl", Commit)),
        logs=logs,
        snapshot=msgspec.json.decode((directory / "snapshot.json").read_bytes(), type=Snapshot),
        lost=list(_lines(directory / "lost.jsonl", Commit))
        if (directory / "lost.jsonl").exists()
        else [],
        tombstones=msgspec.json.decode(tombstones.read_bytes(), type=Tombstones)
        if tombstones.exists()
        else None,
    )


def _lines(file: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with file.open("rb") as lines:
        for line in lines:
            yield decoder.decode(line)
