"""Invent the evidence of a whole run.

A seeded invention: tasks arrive, are claimed and end; stores fail and hold them up; workers die and
their tasks run again. It looks like a run to code that draws or reads it, in bulk; whether it keeps
every invariant is not its concern (the forged histories of the checkers are elsewhere). One task
may be given an effect too many.
"""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

from msgspec import Struct

from leaseq_chaos.evidence import Commit, Evidence, Heard, Run, Skip, Snapshot
from leaseq_chaos.history import Event, Kind
from leaseq_chaos.verdict import Finding, Verdict, Violation

__all__ = ["KINDS", "Bulk", "invent"]

SECOND = 1_000_000_000
BEGAN = 5_000 * SECOND

KINDS: dict[str, tuple[float, float]] = {  # nemesis -> shortest and longest time until it is healed
    "kill-child": (0.0, 0.0), "kill-worker": (0.6, 1.8), "freeze-worker": (3.0, 5.0), "freeze-worker-briefly": (0.6, 1.8),
    "kill-reaper": (0.5, 1.2), "kill-api": (0.5, 1.5), "rolling-restart": (2.0, 6.0), "poison-segfault": (0.0, 0.0),
    "flushall": (0.0, 0.0), "kill-valkey": (0.3, 1.0), "kill-valkey-without-data": (0.3, 1.0), "freeze-valkey": (1.0, 3.0),
    "restart-postgres": (0.8, 2.0), "kill-backends": (0.0, 0.0), "freeze-postgres": (0.5, 4.0), "lock-tasks": (0.5, 2.0),
    "delay-postgres": (1.0, 4.0), "stall-valkey": (1.0, 3.0), "drop-reply-postgres": (0.0, 0.2), "reset-api": (0.0, 0.2),
    "clock-worker": (2.0, 5.0), "restart-postgres-and-kill-reaper": (1.0, 2.5),
}  # fmt: skip
OUTAGES = {
    "kill-valkey",
    "kill-valkey-without-data",
    "freeze-valkey",
    "restart-postgres",
    "freeze-postgres",
    "stall-valkey",
}
TYPES = {
    "transfer": 40,
    "note": 25,
    "thread": 6,
    "slow": 4,
    "flaky": 6,
    "plain": 10,
    "later": 5,
    "refuse": 3,
    "segfault": 1,
}
CHECKS = {
    "accepted": "Nothing that was accepted is lost.",
    "keys": "One idempotency key stands for one task.",
    "effects": "A transactional task has exactly one effect if it succeeded, and none otherwise.",
    "terminal": "No attempt starts after a terminal state.",
    "fences": "The attempts of a task are 1, 2, 3 in commit order, and a stale settle changes nothing.",
    "reads": "What clients read of a task never goes back.",
    "accounts": "The sum over all accounts never differs.",
    "convergence": "After the drain, dispatch is empty and agrees with the ledger.",
    "recovery": "After a fault, work goes on within the bound of its kind.",
    "sometimes": "What the scenario is there to provoke has happened.",
}


class Bulk(Struct, frozen=True):
    """A run, its findings, and the task of the violation."""

    evidence: Evidence
    findings: list[Finding]
    wronged: str | None


class _Invention:
    def __init__(self, seed: int, seconds: float) -> None:
        self.rng = Random(seed)
        self.seconds = seconds
        self.events: list[Event] = []
        self.changes: list[tuple[int, str, str, dict[str, Any]]] = []
        self.logs: list[Heard] = []
        self.outages: list[tuple[float, float]] = []
        self.tasks: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []

    def say(self, at: float, process: str, kind: Kind, op: str, **fields: Any) -> None:
        self.events.append(Event(_ns(at), process, kind, op, **fields))

    def commit(self, at: float, verb: str, table: str, **row: Any) -> None:
        self.changes.append((_ns(at), verb, table, row))

    def phases(self) -> None:
        """A quarter of quiet."""
        for share, phase in [
            (0, "warm-up"),
            (0.94, "heal"),
            (0.95, "drain"),
            (0.99, "snapshot"),
            (1, "end"),
        ]:
            self.say(self.seconds * share, "runner", Kind.OK, "phase", value={"phase": phase})
        at = 0.05 * self.seconds
        while at < 0.9 * self.seconds:
            self.say(at, "runner", Kind.OK, "phase", value={"phase": "storm"})
            self.say(at + 15, "runner", Kind.OK, "phase", value={"phase": "quiet"})
            at += 20

    def faults(self, count: int) -> None:
        kinds = list(KINDS)
        for number in range(1, count + 1):
            nemesis = kinds[number % len(kinds)]
            began = self.seconds * (0.05 + 0.85 * number / count) + self.rng.uniform(-0.5, 0.5)
            ended = began + self.rng.uniform(*KINDS[nemesis]) + 0.002
            said = {
                "nemesis": nemesis,
                "target": self.rng.choice(["worker-1", "worker-2", "postgres", "valkey"]),
            }
            self.say(began, "nemesis", Kind.INVOKE, "fault", key=f"f-{number}", value=said)
            if number % 29 == 7:
                refused = {"nemesis": nemesis, "reason": "nothing of the kind is alive"}
                self.say(began, "nemesis", Kind.FAIL, "fault", key=f"f-{number}", value=refused)
                continue
            self.say(
                began + 0.001,
                "nemesis",
                Kind.OK,
                "fault",
                key=f"f-{number}",
                value={**said, "pids": [4000 + number]},
            )
            self.say(
                began + 0.001,
                "nemesis",
                Kind.INVOKE,
                "heal",
                key=f"f-{number}",
                value={"nemesis": nemesis},
            )
            self.say(
                ended, "nemesis", Kind.OK, "heal", key=f"f-{number}", value={"nemesis": nemesis}
            )
            if nemesis in OUTAGES:
                self.outages.append((began, ended))

    def held_up(self, at: float) -> float:
        """When something really happens that is due at this time."""
        until = max((ended for began, ended in self.outages if began <= at < ended), default=at)
        return until + self.rng.expovariate(4) if until > at else at

    def task(self, number: int, at: float) -> None:
        rng, type_ = self.rng, self.rng.choices(list(TYPES), list(TYPES.values()))[0]
        task, key, client = (
            str(UUID(int=rng.getrandbits(128))),
            f"k-{number}",
            f"client-{number % 8}",
        )
        self.say(
            at,
            client,
            Kind.INVOKE,
            "submit",
            key=key,
            value={"type": type_, "payload": {"n": number}, "variant": "a"},
        )
        at = self.held_up(at + rng.uniform(0.001, 0.006))
        state = "SCHEDULED" if type_ == "later" else "PENDING"
        about = {"task_id": task, "retry_count": 0, "crash_count": 0, "loss_count": 0}
        self.commit(at, "insert", "idempotency_keys", key=key, task_id=task)
        self.commit(
            at, "insert", "tasks", **about, state=state, attempt=0, worker_id=None, type=type_
        )
        self.say(
            at + 0.002,
            client,
            Kind.OK,
            "submit",
            key=key,
            task=task,
            value={"state": state, "replayed": False},
        )
        if state == "SCHEDULED":
            at += 1.5
            self.commit(at, "update", "tasks", **about, state="PENDING", attempt=0, worker_id=None)
        attempts = rng.choices([1, 2, 3], [94, 5, 1])[0]
        for attempt in range(1, attempts + 1):
            at = self.held_up(at + 0.002 + rng.expovariate(150))
            worker = f"worker-{rng.randrange(1, 4)}-{int(at) // 40}"
            self.commit(
                at,
                "update",
                "tasks",
                **about,
                state="PROCESSING",
                attempt=attempt,
                worker_id=worker,
            )
            self.say(
                at + 0.001,
                f"handler-{4000 + attempt}-1",
                Kind.INVOKE,
                "run",
                task=task,
                attempt=attempt,
                value={"type": type_},
            )
            at = self.held_up(at + 0.003 + rng.expovariate(40 if type_ != "slow" else 1))
            if attempt < attempts:
                at += 1.2
                self.commit(
                    at,
                    "insert",
                    "attempts",
                    task_id=task,
                    attempt=attempt,
                    outcome="lost",
                    worker_id=worker,
                )
                self.commit(
                    at, "update", "tasks", **about, state="PENDING", attempt=attempt, worker_id=None
                )
                reaped = {
                    "event": "attempt.reaped",
                    "level": "warning",
                    "task_id": task,
                    "attempt": attempt,
                }
                self.logs.append(Heard(_ns(at), "reaper-1", reaped))
                self.logs.append(
                    Heard(
                        _ns(at + 0.01), "reaper-1", {"event": "worker.reaped", "worker_id": worker}
                    )
                )
        self.end(at, about, attempt=attempts, type_=type_)
        self.keys.append({"tenant": "default", "key": key, "task_id": task})

    def end(self, at: float, about: dict[str, Any], *, attempt: int, type_: str) -> None:
        task = about["task_id"]
        state = "FAILED" if type_ in {"refuse", "segfault"} else "SUCCESS"
        self.commit(at, "update", "tasks", **about, state=state, attempt=attempt, worker_id=None)
        if state == "SUCCESS" and type_ != "plain":
            self.commit(at, "insert", "effects", task_id=task, attempt=attempt, type=type_)
        settled = {
            "event": "attempt.settled",
            "level": "info",
            "task_id": task,
            "attempt": attempt,
            "state": state,
        }
        self.logs.append(Heard(_ns(at), "worker-1", settled))
        self.say(at + 0.2, "client-9", Kind.INVOKE, "read", task=task)
        self.say(
            at + 0.21,
            "client-9",
            Kind.OK,
            "read",
            task=task,
            value={"state": state, "attempt": attempt},
        )
        self.tasks.append(
            {"task_id": task, "type": type_, "queue": "default", "state": state, "attempt": attempt}
        )


def invent(
    *, seed: int = 7, tasks: int = 3000, seconds: float = 180, faults: int = 66, wrong: bool = True
) -> Bulk:
    """The same seed, the same run."""
    made = _Invention(seed, seconds)
    made.phases()
    made.faults(faults)
    for number in range(tasks):
        made.task(number, 0.92 * seconds * number / tasks)
    wronged = _wrong(made) if wrong else None
    made.events.sort(key=lambda event: event.at)
    made.logs.sort(key=lambda heard: heard.at)
    made.changes.sort(key=lambda change: change[0])
    return Bulk(_evidence(made, seed), _findings(made.rng, wronged), wronged)


def _wrong(made: _Invention) -> str:
    """A second effect of a task that ran twice, in a moment of its own."""
    row = next(
        row
        for row in made.tasks[len(made.tasks) // 2 :]
        if row["attempt"] > 1 and row["type"] == "transfer"
    )
    at = max(
        at
        for at, _, table, change in made.changes
        if table == "effects" and change["task_id"] == row["task_id"]
    )
    made.changes.append(
        (
            at - SECOND // 5,
            "insert",
            "effects",
            {"task_id": row["task_id"], "attempt": 1, "type": "transfer"},
        )
    )
    return str(row["task_id"])


def _evidence(made: _Invention, seed: int) -> Evidence:
    commits, lsn, before = [], 900, -1
    for at, verb, table, row in made.changes:
        lsn += at != before
        before = at
        commits.append(Commit(lsn, lsn + 100, at, table, verb, row))
    run = Run(
        scenario="everything",
        about="Every kind of fault that this machine can do, over a workload of every type.",
        seed=seed,
        minutes=made.seconds / 60,
        workers=3,
        command=f"leaseq-chaos run everything --seed {seed} --minutes {made.seconds / 60:g} --workers 3",
        began=BEGAN,
        ended=_ns(made.seconds),
        config={
            "LEASEQ_LEASE_SECONDS": "2",
            "LEASEQ_HEARTBEAT_SECONDS": "0.5",
            "LEASEQ_MAX_CRASHES": "3",
        },
        machine={"python": "3.13.5", "postgres": "18.1", "valkey": "9.0.1", "processors": "2"},
        skips=[Skip("fill-postgres-disk", "the run mounted no small disk (that needs root)")],
        expects=["fenced", "skipped", "reaped", "rebuilt", "ambiguous"],
    )
    effects = [row for _, _, table, row in made.changes if table == "effects"]
    snapshot = Snapshot(
        at=_ns(made.seconds), drained=True, waited_seconds=2.4, tasks=made.tasks, attempts=[], keys=made.keys, effects=effects,
        cents=100_000, open_workers=[],
    )  # fmt: skip
    return Evidence(run=run, events=made.events, commits=commits, logs=made.logs, snapshot=snapshot)


def _findings(rng: Random, wronged: str | None) -> list[Finding]:
    facts: dict[str, dict[str, float]] = {
        "sometimes": {
            "fenced": 14,
            "skipped": 52,
            "reaped": 208,
            "rebuilt": 6,
            "ambiguous": 9,
            "stray": 3,
            "stranded": 0,
        },
        "recovery": {},
        "effects": {"tasks": 2410, "effects": 2411},
    }
    for nemesis in KINDS:
        p50 = rng.uniform(0.02, 0.8)
        figures = {
            "count": rng.randrange(30, 90),
            "alone": rng.randrange(3, 30),
            "p50": p50,
            "p99": p50 * 2.5,
            "max": p50 * 3,
        }
        figures |= {"judged": p50 * 4, "longest": p50 * 6, "bound": 5.0}
        facts["recovery"] |= {f"{nemesis} {name}": value for name, value in figures.items()}
    findings = []
    for checker, invariant in CHECKS.items():
        violations = []
        if checker == "effects" and wronged is not None:
            said = "two effects, under the attempts 1 and 2; attempt 1 had been taken away <before> it wrote"
            violations = [Violation(said, wronged, BEGAN + 100 * SECOND)]
        verdict = Verdict.INVALID if violations else Verdict.VALID
        said = "Looked at 3,000 tasks and everything that was said of them."
        findings.append(
            Finding(
                checker=checker,
                invariant=invariant,
                verdict=verdict,
                said=said,
                facts=facts.get(checker, {}),
                violations=violations,
            )
        )
    return findings


def _ns(at: float) -> int:
    return BEGAN + int(at * SECOND)
