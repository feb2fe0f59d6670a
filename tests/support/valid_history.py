"""The evidence of a run without violations.

A story is built step by step: requests of clients, commits of the ledger, actions of handlers. It
keeps the rows as the ledger would, so that the evidence of it is good unless a test edits it
(`support.corrupted_history`). Each step takes 20 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from leaseq_chaos.checkers.fates import PLAIN, TRANSACTIONAL
from leaseq_chaos.evidence import Commit, Evidence, Lane, Run, Snapshot
from leaseq_chaos.history import Event, Kind

ACCOUNTS, CENTS = 2, 500
EPOCH = 1_800_000_000  # seconds since 1970 at the beginning of the story
TICK = 20_000_000
MAX_CRASHES = 3

# The columns of a task that the recorder of commits keeps.
TASK_COLUMNS = (
    "task_id",
    "type",
    "state",
    "attempt",
    "retry_count",
    "crash_count",
    "loss_count",
    "worker_id",
    "idempotency_key",
)
TIME_COLUMNS = ("run_at", "started_at", "finished_at", "cancel_requested_at")

Row = dict[str, Any]
Change = tuple[str, str, Row]

# A run without limits and schedules, which were looked for.
NO_LIMITS: dict[str, Any] = {"limits": [], "limited": [], "fired": []}


class Asked(Struct):
    """A question of a client that waits for its answer."""

    client: str
    op: str
    task: str


class Story:
    """One run. Tasks are called t1, t2, .. and their keys k1, k2, .."""

    def __init__(self) -> None:
        self.at = 0
        self.jitter = 0  # added to the time that the next commits are recorded with
        self.events: list[Event] = []
        self.commits: list[Commit] = []
        self.tasks: dict[str, Row] = {}
        self.variants: dict[str, str] = {}
        self.attempts: list[Row] = []
        self.keys: list[Row] = []
        self.effects: list[Row] = []
        self.balances = dict.fromkeys(range(ACCOUNTS), CENTS)
        self.workers = ["w1", "w2"]  # those that are open
        self.born = 2
        self._commit(
            *(("accounts", "insert", {"id": str(one), "cents": CENTS}) for one in self.balances)
        )
        self._commit(
            *(("workers", "insert", {"id": name, "closed_at": None}) for name in self.workers)
        )

    def note(self, kind: Kind, op: str, process: str = "client-1", **what: Any) -> None:
        """One event, now."""
        self.at += TICK
        self.events.append(Event(self.at, process, kind, op, **what))

    def submit(
        self,
        task_type: str,
        *,
        client: str = "client-1",
        delay: float | None = None,
        lost: bool = False,
        keyed: bool = True,
    ) -> str:
        """A new task. With `lost` its client never hears of it; without a key it will hear of it
        once at most."""
        task = f"t{len(self.tasks) + 1}"
        key = f"k{len(self.tasks) + 1}" if keyed else None
        said: Row = {"type": task_type, "payload": {}, "variant": "a"} | (
            {} if delay is None else {"delay_seconds": delay}
        )
        self.note(Kind.INVOKE, "submit", client, key=key, value=said)
        row: Row = dict.fromkeys((*TASK_COLUMNS, *TIME_COLUMNS, "error_code"))
        row |= {"task_id": task, "type": task_type}
        row |= {
            "idempotency_key": key,
            "attempt": 0,
            "retry_count": 0,
            "crash_count": 0,
            "loss_count": 0,
            "max_attempts": 5,
        }
        row |= {
            "state": "PENDING" if delay is None else "SCHEDULED",
            "run_at": self.at + round((delay or 0) * 1e9),
        }
        self.tasks[task], self.variants[task] = row, "a"
        created: list[Change] = [("tasks", "insert", row)]
        if key is not None:
            self.keys.append({"tenant": "default", "key": key, "task_id": task})
            created.insert(0, ("idempotency_keys", "insert", {"key": key, "task_id": task}))
        self._commit(*created)
        if lost:
            self.note(Kind.INFO, "submit", client, key=key, value={"error": "timeout"})
        else:
            self.note(
                Kind.OK,
                "submit",
                client,
                key=key,
                task=task,
                value={"state": row["state"], "replayed": False},
            )
        return task

    def again(self, task: str, *, client: str = "client-2", variant: str = "a") -> None:
        """The same key once more: answered with the task, or refused for another body."""
        row = self.tasks[task]
        key = row["idempotency_key"]
        self.note(
            Kind.INVOKE,
            "submit",
            client,
            key=key,
            value={"type": row["type"], "payload": {}, "variant": variant},
        )
        if variant == self.variants[task]:
            self.note(
                Kind.OK,
                "submit",
                client,
                key=key,
                task=task,
                value={"state": row["state"], "replayed": True},
            )
        else:
            refusal = {"code": "idempotency_key_reused", "http": 422, "task": task}
            self.note(Kind.FAIL, "submit", client, key=key, value=refusal)

    def wait(self, seconds: float) -> None:
        self.at += round(seconds * 1e9)

    def promote(self, task: str) -> None:
        """Waits until it is due."""
        self.at = max(self.at, self.tasks[task]["run_at"])
        self._commit(self._set(task, state="PENDING"))

    def claim(self, task: str, worker: str = "w1", *, start: bool = True) -> None:
        attempt = self.tasks[task]["attempt"] + 1
        change = self._set(
            task, state="PROCESSING", attempt=attempt, worker_id=worker, started_at=self.at + TICK
        )
        self._commit(change)
        if start:
            self.note(
                Kind.INVOKE,
                "run",
                f"handler-{worker}",
                task=task,
                attempt=attempt,
                value={"worker_pid": 1},
            )

    def succeed(self, task: str) -> None:
        """The handler returns, and its task is SUCCESS, in one transaction with its effect."""
        row = self.tasks[task]
        attempt, handler = row["attempt"], f"handler-{row['worker_id']}"
        if row["type"] in PLAIN:
            self.note(Kind.OK, "effect", handler, task=task, attempt=attempt)
        self.note(Kind.OK, "run", handler, task=task, attempt=attempt)
        changes: list[Change] = []
        if row["type"] in {"transfer", "thread"}:
            self.balances = {0: self.balances[0] - 1, 1: self.balances[1] + 1}
            changes += [
                ("accounts", "update", {"id": str(one), "cents": cents})
                for one, cents in self.balances.items()
            ]
        if row["type"] in TRANSACTIONAL:
            effect = {"task_id": task, "attempt": attempt, "type": row["type"]}
            self.effects.append(effect)
            changes.append(("effects", "insert", effect))
        changes.append(
            self._set(
                task, state="SUCCESS", worker_id=None, finished_at=self.at + TICK, error_code=None
            )
        )
        self._commit(*changes)

    def end(
        self,
        task: str,
        outcome: str,
        state: str,
        *,
        code: str | None = None,
        delay: float = 0,
        **counts: int,
    ) -> None:
        """An attempt ends without success; `counts` are added. A request to cancel is honoured."""
        row = self.tasks[task]
        if outcome in {"errored", "timed_out", "cancelled"}:
            kind = Kind.FAIL if outcome == "errored" else Kind.INFO
            self.note(kind, "run", f"handler-{row['worker_id']}", task=task, attempt=row["attempt"])
        if row["cancel_requested_at"] is not None and state in {"PENDING", "SCHEDULED"}:
            state = "CANCELLED"
        ended = {name: row[name] for name in ("task_id", "attempt", "worker_id")} | {
            "outcome": outcome,
            "next_state": state,
        }
        self.attempts.append(ended)
        finished = None if state in {"PENDING", "SCHEDULED"} else self.at + TICK
        run_at = row["run_at"] if finished else self.at + TICK + round(delay * 1e9)
        grown = {name: row[name] + more for name, more in counts.items()}
        change = self._set(
            task,
            state=state,
            worker_id=None,
            finished_at=finished,
            run_at=run_at,
            error_code=code,
            **grown,
        )
        self._commit(change, ("attempts", "insert", ended))

    def close(self, worker: str) -> None:
        """A worker is declared dead, and another takes its place."""
        self.workers.remove(worker)
        self.born += 1
        self.workers.append(f"w{self.born}")
        self._commit(("workers", "update", {"id": worker, "closed_at": "now"}))

    def cancel(self, task: str, client: str = "client-1") -> None:
        """Request it and record the answer."""
        row = self.tasks[task]
        self.note(Kind.INVOKE, "cancel", client, task=task)
        if row["state"] in {"SUCCESS", "FAILED"}:
            self.note(
                Kind.FAIL, "cancel", client, task=task, value={"code": "task_conflict", "http": 409}
            )
            return
        if row["state"] == "PROCESSING":
            self._commit(self._set(task, cancel_requested_at=self.at))
        elif row["state"] != "CANCELLED":
            self._commit(
                self._set(
                    task, state="CANCELLED", cancel_requested_at=self.at, finished_at=self.at + TICK
                )
            )
        self.note(Kind.OK, "cancel", client, task=task, value={"state": row["state"]})

    def redrive(self, task: str) -> None:
        """A person wants it to run again."""
        self.note(Kind.INVOKE, "redrive", "person", task=task)
        cleared = dict.fromkeys(("finished_at", "cancel_requested_at", "error_code"))
        self._commit(
            self._set(
                task,
                state="SCHEDULED",
                run_at=self.at,
                retry_count=0,
                crash_count=0,
                loss_count=0,
                **cleared,
            )
        )
        self.note(Kind.OK, "redrive", "person", task=task)
        self.promote(task)

    def read(self, task: str, client: str = "client-1") -> None:
        self.answer(self.ask(task, client), self.look(task))

    def ask(self, task: str, client: str) -> Asked:
        self.note(Kind.INVOKE, "read", client, task=task)
        return Asked(client, "read", task)

    def look(self, task: str) -> Row:
        """The answer of a read now."""
        return {
            name: self.tasks[task][name]
            for name in ("state", "attempt", "retry_count", "crash_count", "loss_count")
        }

    def answer(self, asked: Asked, seen: Row) -> None:
        self.note(Kind.OK, asked.op, asked.client, task=asked.task, value=seen)

    def evidence(
        self, *, drained: bool = True, config: Mapping[str, str] | None = None
    ) -> Evidence:
        """The evidence. Each call makes new lists and rows, which may be edited."""
        run = Run(
            scenario="story", about="", seed=1, minutes=1, workers=1, command="", began=0, ended=self.at + TICK,
            config={"LEASEQ_MAX_CRASHES": str(MAX_CRASHES), **(config or {})}, accounts=ACCOUNTS, cents=ACCOUNTS * CENTS,
        )  # fmt: skip
        tasks = [
            {"queue": "default"} | row | {name: _seconds(row[name]) for name in TIME_COLUMNS}
            for row in self.tasks.values()
        ]
        dead = [row for row in tasks if row["state"] == "FAILED"]
        counts = Counter((row["queue"], row["type"]) for row in dead)
        snapshot = Snapshot(
            at=self.at,
            drained=drained,
            waited_seconds=1.0,
            tasks=tasks,
            dead_letters=[
                {name: row[name] for name in ("task_id", "queue", "type")}
                | {"failed_at": row["finished_at"]}
                for row in dead
            ],
            labels=[],
            letter_counts=[
                {"queue": queue, "type": name, "letters": count}
                for (queue, name), count in counts.items()
            ],
            attempts=[dict(row) for row in self.attempts],
            keys=[dict(row) for row in self.keys],
            effects=[dict(row) for row in self.effects],
            **NO_LIMITS,
            cents=sum(self.balances.values()),
            open_workers=[*self.workers],
            dispatch=[
                Lane("leaseq:{default}:beats", "hash", len(self.workers), [*self.workers]),
                Lane("leaseq:{default}:epoch", "string", 1, []),
                Lane("leaseq:{default}:leases", "zset", len(self.workers), [*self.workers]),
                Lane("leaseq:{default}:parked", "list", 1, ["rubbish"]),
                Lane("leaseq:ledger", "hash", 1, ["ledger"]),
            ],
        )
        return Evidence(
            run=run,
            events=list(self.events),
            commits=list(self.commits),
            logs=[],
            snapshot=snapshot,
        )

    def _set(self, task: str, **changes: Any) -> Change:
        self.tasks[task].update(changes)
        return "tasks", "update", self.tasks[task]

    def _commit(self, *changes: Change) -> None:
        self.at += TICK
        number = self.commits[-1].lsn + 1 if self.commits else 1
        for table, verb, row in changes:
            kept = dict(row)
            if table == "tasks":
                kept = {name: row[name] for name in TASK_COLUMNS} | {
                    name: _text(row[name]) for name in TIME_COLUMNS
                }
            self.commits.append(Commit(number, number, self.at + self.jitter, table, verb, kept))


def _seconds(at: int | None) -> float | None:
    return None if at is None else EPOCH + at / 1e9


def _text(at: int | None) -> str | None:
    return None if at is None else str(datetime.fromtimestamp(EPOCH + at / 1e9, UTC))


def told() -> Story:
    """A story with one task of every fate: t1 note, t2 transfer, t3 plain that was lost once (and
    w2 closed), t4 later, t5 flaky, t6 refuse, t7 hang, t8 segfault, t9 cancelled while it waited,
    t10 cancelled while it ran, t11 faster than its cancel, t12 keyless, t13 unanswered, t14 keyless
    and unanswered, t15 thread."""
    story = Story()
    _quick(story, story.submit("note"))
    transfer = story.submit("transfer")
    story.again(transfer)
    story.again(transfer, variant="b")
    _quick(story, transfer)
    _lost_once(story, story.submit("plain"))
    later = story.submit("later", delay=0.5)
    story.promote(later)
    _quick(story, later)
    flaky = story.submit("flaky")
    story.claim(flaky)
    story.end(flaky, "errored", "SCHEDULED", delay=0.1, retry_count=1)
    story.promote(flaky)
    _quick(story, flaky)
    _failed(story)
    _cancelled(story)
    for keyed, lost in ((False, False), (True, True), (False, True)):
        _quick(story, story.submit("note", keyed=keyed, lost=lost))
    _quick(story, story.submit("thread"))
    story.wait(2)
    for task in story.tasks:
        story.read(task)
    return story


def _quick(story: Story, task: str) -> None:
    story.read(task)
    story.claim(task)
    story.read(task, "client-2")
    story.succeed(task)
    story.read(task)


def _lost_once(story: Story, task: str) -> None:
    story.claim(task, "w2")
    story.note(Kind.OK, "effect", "handler-w2", task=task, attempt=1)
    story.close("w2")
    story.end(task, "lost", "PENDING", loss_count=1)
    story.read(task)
    _quick(story, task)


def _failed(story: Story) -> None:
    refuse, hang, segfault = story.submit("refuse"), story.submit("hang"), story.submit("segfault")
    story.claim(refuse)
    story.end(refuse, "errored", "FAILED", code="error")
    story.claim(hang)
    story.end(hang, "timed_out", "FAILED", code="timeout")
    for crash in range(1, MAX_CRASHES + 1):
        story.claim(segfault)
        last = crash == MAX_CRASHES
        story.end(
            segfault,
            "lost",
            "FAILED" if last else "PENDING",
            code="crashed" if last else None,
            crash_count=1,
        )


def _cancelled(story: Story) -> None:
    waiting, running, fast = (story.submit("slow") for _ in range(3))
    story.cancel(waiting)
    story.cancel(waiting)
    story.claim(running)
    story.claim(fast)
    story.cancel(running)
    story.cancel(fast)
    story.end(running, "cancelled", "CANCELLED")
    story.succeed(fast)
    story.cancel(fast)
