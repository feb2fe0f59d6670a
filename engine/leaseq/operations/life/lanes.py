"""The life of a task as lanes with bars and marks, which a picture draws.

A pure function of the facts. There is one lane for the times in which the task waited, one for each
attempt, one for the endings that fences refused, and one for people. The bar of a lost attempt has
two parts: until its worker was last seen, and until the task was taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from leaseq.model import TERMINAL, AttemptRecord, Moment, Outcome, State
from leaseq.operations.life.facts import LifeFacts, is_done
from leaseq.operations.why.wording import SHORT, cut, error_line, span

# Attempts that have a lane. Older ones are counted.
MOST_LANES = 50
# A worker that was seen so recently is not silent.
SILENT_SECONDS = 6.0

BarKind = Literal["waits", "backoff", "running", "silent", "handed-back"]
MarkKind = Literal["person", "failed", "succeeded", "cancelled", "lost", "refused"]


class LifeBar(Struct, frozen=True, kw_only=True):
    """A stretch of time. `is_open`: it has not ended yet, and `ended` is now."""

    kind: BarKind
    began: Moment
    ended: Moment
    text: str
    is_open: bool = False


class LifeMark(Struct, frozen=True, kw_only=True):
    """A moment."""

    kind: MarkKind
    at: Moment
    text: str


class LifeLane(Struct, frozen=True, kw_only=True):
    """A line of the picture. `who`: the worker and its host, if known."""

    name: str
    who: str = ""
    bars: list[LifeBar] = []
    marks: list[LifeMark] = []


class Life(Struct, frozen=True, kw_only=True):
    """The picture, from top to bottom. `earlier`: attempts that have no lane."""

    task_id: str
    began: datetime
    ended: datetime
    now: datetime
    earlier: int
    lanes: list[LifeLane]


class _Run(Struct, frozen=True):
    """One attempt, or a row of hand-backs."""

    first: int
    last: int
    began: datetime
    ended: datetime
    record: AttemptRecord | None  # None: it succeeded, or runs


def life_of(facts: LifeFacts) -> Life:
    """The picture of the facts."""
    task, runs = facts.task, _runs(facts)
    shown = runs[-MOST_LANES:]
    ended = max([task.finished_at or facts.now, *(run.ended for run in runs)])
    times = [act.at for act in facts.acts] + [refusal.at for refusal in facts.refusals]
    lanes = [LifeLane(name="waits", bars=[*_waits(facts, runs)])]
    lanes += [_attempt(facts, run) for run in shown]
    if facts.refusals:
        lanes.append(LifeLane(name="refused", marks=_refused(facts)))
    lanes.append(LifeLane(name="people", marks=_people(facts)))
    began = shown[0].began if len(shown) < len(runs) else task.created_at
    return Life(
        task_id=task.task_id,
        began=began,
        ended=max([ended, *times, began + timedelta(milliseconds=1)]),
        now=facts.now,
        earlier=sum(run.last - run.first + 1 for run in runs[: -len(shown)]) if shown else 0,
        lanes=lanes,
    )


def _runs(facts: LifeFacts) -> list[_Run]:
    runs = [
        _Run(each.attempt, each.last, each.started_at, each.finished_at, each)
        for each in facts.attempts
    ]
    task = facts.task
    if task.attempt and not facts.is_recorded and task.started_at is not None:
        ended = facts.now if task.finished_at is None else task.finished_at
        runs.append(_Run(task.attempt, task.attempt, task.started_at, ended, None))
    return runs


def _waits(facts: LifeFacts, runs: list[_Run]) -> Iterator[LifeBar]:
    """The times between the attempts, those of the picture only."""
    task, since = facts.task, facts.task.created_at
    state: State = State.PENDING
    for run in runs[-MOST_LANES:]:
        if len(runs) <= MOST_LANES or run is not runs[-MOST_LANES]:
            yield from _wait(facts, since, run.began, state)
        since = run.ended
        state = run.record.next_state if run.record is not None else task.state
    if task.state in (State.PENDING, State.SCHEDULED):
        due = min(max(task.run_at, since), facts.now)
        if task.state is State.SCHEDULED and due > since:
            kind: BarKind = "backoff"
            text = f"waits until {_clock(task.run_at)}"
            waits_on = due < facts.now
            yield LifeBar(kind=kind, began=since, ended=due, text=text, is_open=not waits_on)
            since = due
        if since < facts.now:
            text = f"waits for {_length(since, facts.now)}"
            yield LifeBar(kind="waits", began=since, ended=facts.now, text=text, is_open=True)


def _wait(facts: LifeFacts, since: datetime, until: datetime, state: State) -> Iterator[LifeBar]:
    """One wait. After an end the task waits again from its redrive on."""
    if state in TERMINAL:
        redrives = [
            act.at
            for act in facts.acts
            if act.action == "redrive" and is_done(act) and since <= act.at <= until
        ]
        if not redrives:
            return
        since, state = redrives[-1], State.PENDING
    if until <= since:
        return
    if state is State.SCHEDULED:
        text = f"backoff, and the wait for a worker: {_length(since, until)}"
        yield LifeBar(kind="backoff", began=since, ended=until, text=text)
    else:
        yield LifeBar(
            kind="waits", began=since, ended=until, text=f"waited {_length(since, until)}"
        )


def _attempt(facts: LifeFacts, run: _Run) -> LifeLane:
    record = run.record
    if record is None:
        return _last_attempt(facts, run)
    who = _who(facts, record.worker_id)
    if run.last > run.first:
        text = f"attempts {run.first} to {run.last} were handed back"
        bars = [LifeBar(kind="handed-back", began=run.began, ended=run.ended, text=text)]
        return LifeLane(name=f"attempts {run.first}-{run.last}", who=who, bars=bars)
    reason = cut(error_line(record.error))
    words = f"{_OUTCOMES[record.outcome]}{f': {reason}' if reason else ''}"
    mark = LifeMark(kind=_KINDS[record.outcome], at=run.ended, text=words)
    length = _length(run.began, run.ended)
    heard = facts.heard_of(record)
    if heard is None:
        text = f"ran for {length}"
        if record.outcome is Outcome.LOST:
            text = f"lost after {length}; its worker is not known any more"
        bars = [LifeBar(kind="running", began=run.began, ended=run.ended, text=text)]
    else:
        text = f"its worker was seen until {_clock(heard)}"
        bars = [LifeBar(kind="running", began=run.began, ended=heard, text=text)]
        text = f"silent for {_length(heard, run.ended)}, then taken back"
        bars.append(LifeBar(kind="silent", began=heard, ended=run.ended, text=text))
    return LifeLane(name=f"attempt {run.first}", who=who, bars=bars, marks=[mark])


def _last_attempt(facts: LifeFacts, run: _Run) -> LifeLane:
    """The attempt that succeeded, was cancelled with the task, or runs."""
    task, name = facts.task, f"attempt {run.first}"
    length = _length(run.began, run.ended)
    if task.state is not State.PROCESSING:
        kind: MarkKind = "succeeded" if task.state is State.SUCCESS else "cancelled"
        mark = LifeMark(kind=kind, at=run.ended, text=f"ended in {task.state}")
        bar = LifeBar(kind="running", began=run.began, ended=run.ended, text=f"ran for {length}")
        return LifeLane(name=name, bars=[bar], marks=[mark])
    who = _who(facts, task.worker_id or "")
    worker = facts.workers.get(task.worker_id or "")
    silent = worker is not None and (
        worker.closed_at is not None
        or (facts.now - worker.last_seen).total_seconds() > SILENT_SECONDS
    )
    if worker is None or not silent:
        text = f"runs for {length}"
        bar = LifeBar(kind="running", began=run.began, ended=run.ended, text=text, is_open=True)
        return LifeLane(name=name, who=who, bars=[bar])
    heard = min(max(worker.last_seen, run.began), run.ended)
    running = LifeBar(
        kind="running",
        began=run.began,
        ended=heard,
        text=f"its worker was seen until {_clock(heard)}",
    )
    text = f"silent for {_length(heard, run.ended)}"
    after = LifeBar(kind="silent", began=heard, ended=run.ended, text=text, is_open=True)
    return LifeLane(name=name, who=who, bars=[running, after])


def _refused(facts: LifeFacts) -> list[LifeMark]:
    return [
        LifeMark(
            kind="refused",
            at=refusal.at,
            text=f"an ending of attempt {refusal.attempt} was refused: the task had been taken back",
        )
        for refusal in facts.refusals
    ]


def _people(facts: LifeFacts) -> list[LifeMark]:
    marks = [LifeMark(kind="person", at=facts.task.created_at, text="submitted")]
    for act in facts.acts:
        by = f" by {act.actor}" if act.actor else ""
        text = f"{act.action.replace('_', ' ')}{by}"
        if not is_done(act):
            text += f" ({act.outcome})"
        marks.append(LifeMark(kind="person", at=act.at, text=text))
    asked = facts.task.cancel_requested_at
    if asked is not None and not any(act.action == "cancel" for act in facts.acts):
        marks.append(LifeMark(kind="person", at=asked, text="cancellation was requested"))
    return marks


def _who(facts: LifeFacts, worker_id: str) -> str:
    worker = facts.workers.get(worker_id)
    host = f" on {worker.host}" if worker is not None and worker.host else ""
    return f"{worker_id[:SHORT]}{host}"


def _length(start: datetime, end: datetime) -> str:
    return span((end - start).total_seconds())


def _clock(when: datetime) -> str:
    return f"{when:%H:%M:%S}"


_OUTCOMES = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.ERRORED: "failed",
    Outcome.TIMED_OUT: "timed out",
    Outcome.CANCELLED: "cancelled",
    Outcome.RELEASED: "handed back",
    Outcome.LOST: "lost with its worker",
}
_KINDS: dict[Outcome, MarkKind] = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.ERRORED: "failed",
    Outcome.TIMED_OUT: "failed",
    Outcome.CANCELLED: "cancelled",
    Outcome.RELEASED: "cancelled",
    Outcome.LOST: "lost",
}

__all__ = ["Life", "LifeBar", "LifeLane", "LifeMark", "life_of"]
