"""Build the evidence of a run by hand, event by event.

Times are seconds since the run began, task ids are any words. Nothing is checked here: the caller
decides which histories are good.
"""

from __future__ import annotations

from typing import Any

from leaseq_chaos.evidence import Commit, Evidence, Heard, Run, Snapshot
from leaseq_chaos.history import Event, Kind

SECOND = 1_000_000_000
BEGAN = 1_000 * SECOND


def at(seconds: float) -> int:
    """A moment of the run by the clock of its history."""
    return BEGAN + round(seconds * SECOND)


class Forged:
    """A run in the making."""

    def __init__(
        self, *, ended: float = 60.0, workers: int = 2, bounds: dict[str, float] | None = None
    ) -> None:
        self.events: list[Event] = []
        self.commits: list[Commit] = []
        self.logs: list[Heard] = []
        self.rows: dict[str, dict[str, Any]] = {}
        self.expects: list[str] = []
        self.lost: list[Commit] = []
        self._ended, self._workers, self._bounds = ended, workers, bounds or {}

    def did(
        self,
        op: str,
        span: tuple[float, float],
        *,
        kind: Kind = Kind.OK,
        process: str = "client-1",
        **about: Any,
    ) -> None:
        """A client's operation, from its invocation to its answer. `said` and `heard` are the
        values of the two."""
        said, heard = about.pop("said", None), about.pop("heard", None)
        known = {"submit": ("key",), "run": ("task", "attempt")}.get(op, ("task",))
        asked = {name: value for name, value in about.items() if name in known}
        self.events.append(Event(at(span[0]), process, Kind.INVOKE, op, value=said, **asked))
        self.events.append(Event(at(span[1]), process, kind, op, value=heard, **about))

    def submit(
        self,
        span: tuple[float, float],
        key: str | None,
        task: str,
        *,
        variant: str = "a",
        **more: Any,
    ) -> None:
        """A submission that was acknowledged."""
        heard = {"state": more.pop("state", "PENDING"), "replayed": more.pop("replayed", False)}
        self.did("submit", span, key=key, task=task, said={"variant": variant}, heard=heard, **more)

    def read(
        self,
        span: tuple[float, float],
        task: str,
        state: str,
        attempt: int,
        *,
        process: str = "client-1",
    ) -> None:
        """A read that was answered."""
        self.did(
            "read", span, task=task, heard={"state": state, "attempt": attempt}, process=process
        )

    def step(
        self,
        when: float,
        task: str,
        state: str,
        attempt: int = 0,
        *,
        key: str | None = None,
        **more: Any,
    ) -> None:
        """A version of a task's row, at first its creation. `worker`: who has it; `by`: (attempt,
        worker, outcome) of an end."""
        worker, by, kind = more.pop("worker", None), more.pop("by", None), more.pop("kind", "note")
        verb = "update" if task in self.rows else "insert"
        kept = self.rows.get(task, {"type": kind, "idempotency_key": key})
        self.rows[task] = {
            **kept,
            "task_id": task,
            "state": state,
            "attempt": attempt,
            "worker_id": worker,
            **more,
        }
        self._commit(when, "tasks", verb, dict(self.rows[task]), fresh=True)
        if by is not None:
            row = {
                "task_id": task,
                "attempt": by[0],
                "worker_id": by[1],
                "outcome": by[2],
                "next_state": state,
            }
            self._commit(when, "attempts", "insert", row)
        if verb == "insert" and key is not None:
            self._commit(when, "idempotency_keys", "insert", {"key": key, "task_id": task})

    def queue(self, when: float, name: str, *, paused: bool = False) -> None:
        """A version of a queue's row, at first its creation."""
        known = any(
            commit.table == "queues" and commit.row["name"] == name for commit in self.commits
        )
        row = {"name": name, "paused": str(paused).lower()}
        self._commit(when, "queues", "update" if known else "insert", row, fresh=True)

    def effect(self, when: float, task: str, attempt: int) -> None:
        """An effect in the same transaction as the last step."""
        self._commit(
            when, "effects", "insert", {"task_id": task, "attempt": attempt, "type": "note"}
        )

    def lose(
        self,
        when: float,
        task: str,
        state: str,
        *,
        verb: str = "update",
        attempt: int = 0,
        **more: Any,
    ) -> None:
        """A version of a task's row on a former primary alone."""
        row = {
            "task_id": task,
            "state": state,
            "attempt": attempt,
            "worker_id": more.pop("worker", None),
            **more,
        }
        lsn = self.lsn_at(when) + 1 + len(self.lost)
        self.lost.append(Commit(lsn, lsn, at(when), "tasks", verb, row))

    def lsn_at(self, when: float) -> int:
        """The position of the last commit before this moment."""
        return max((commit.lsn for commit in self.commits if commit.at <= at(when)), default=0)

    def remark(self, when: float, op: str, **about: Any) -> None:
        """Something that a handler notes."""
        self.events.append(Event(at(when), "handler-1", Kind.OK, op, **about))

    def fault(self, number: str, nemesis: str, span: tuple[float, float], **more: Any) -> None:
        """A fault with its heal. It is injected within a hundredth of a second, or `struck` then;
        `workers` and `detail`."""
        about = {"nemesis": nemesis, "target": "somebody"}
        began, healed = span
        told = {**about, "workers": list(more.get("workers", ())), "detail": more.get("detail", {})}
        for kind, when, op, value in (
            (Kind.INVOKE, began, "fault", about),
            (Kind.OK, more.get("struck", began + 0.01), "fault", told),
            (Kind.INVOKE, max(healed - 0.01, began + 0.01), "heal", about),
            (Kind.OK, max(healed, began + 0.01), "heal", about),
        ):
            self.events.append(Event(at(when), "nemesis", kind, op, key=number, value=value))

    def say(self, event: str, **fields: Any) -> None:
        """A line of a service, a second after the last one."""
        self.logs.append(Heard(at(len(self.logs) + 1.0), "worker-1", {"event": event, **fields}))

    def life(self, task: str, key: str, *, begin: float = 0.0) -> None:
        """A whole good life: submitted, run once, read before and after."""
        self.submit((begin, begin + 0.2), key, task)
        self.step(begin + 0.1, task, "PENDING", key=key)
        self.step(begin + 0.5, task, "PROCESSING", 1, worker="w1")
        self.read((begin + 0.7, begin + 0.8), task, "PROCESSING", 1)
        self.step(begin + 1.0, task, "SUCCESS", 1)
        self.effect(begin + 1.0, task, 1)
        self.read((begin + 2.0, begin + 2.1), task, "SUCCESS", 1)

    def evidence(self) -> Evidence:
        """The evidence of such a run."""
        run = Run(
            scenario="forged",
            about="",
            seed=1,
            minutes=1.0,
            workers=self._workers,
            command="",
            began=at(0),
            ended=at(self._ended),
            config={"LEASEQ_LEASE_SECONDS": "2", "LEASEQ_LOOP_STALL_SECONDS": "2"},
            bounds=self._bounds,
            expects=self.expects,
        )
        snapshot = Snapshot(
            at=at(self._ended),
            drained=True,
            waited_seconds=0.0,
            tasks=list(self.rows.values()),
            attempts=[],
            keys=[
                {"key": row["idempotency_key"], "task_id": task}
                for task, row in self.rows.items()
                if row.get("idempotency_key")
            ],
            effects=[],
            limits=[],
            limited=[],
            fired=[],
            cents=0,
            open_workers=[],
        )
        events = sorted(self.events, key=lambda event: event.at)
        return Evidence(
            run=run,
            events=events,
            commits=list(self.commits),
            logs=list(self.logs),
            snapshot=snapshot,
            lost=list(self.lost),
        )

    def _commit(
        self, when: float, table: str, verb: str, row: dict[str, Any], *, fresh: bool = False
    ) -> None:
        last = self.commits[-1].lsn if self.commits else 0
        lsn = last + 1 if fresh else last
        self.commits.append(Commit(lsn, lsn, at(when), table, verb, row))
