"""Check the guarantees.

Pure functions from the acknowledgements, the ledger and the outside effects to findings. Effects
without a guarantee (a mail may come twice) are shown, and judged only by the guarantees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from examples.demo.kills import Recovery
from examples.demo.ledger import FoundTask
from examples.demo.submit import Answer
from examples.demo.workload import Workload


class Finding(Struct, frozen=True):
    """One guarantee and its finding."""

    promise: str
    seen: str
    held: bool


class Measure(Struct, frozen=True):
    """One number without a guarantee."""

    what: str
    value: str


class Evidence(Struct, frozen=True, kw_only=True):
    """All that there is to judge by."""

    workload: Workload
    answers: Sequence[Answer]
    tasks: Sequence[FoundTask]
    attempts: dict[str, int]
    charges: dict[int, int]
    money: tuple[int, int]
    mails: Counter[str]
    reports: dict[str, tuple[int, int]]
    child: Recovery
    worker: Recovery
    lease_seconds: float

    def ended(self, task_type: str) -> list[FoundTask]:
        """The tasks of one type that succeeded."""
        return [task for task in self.tasks if task.type == task_type and task.state == "SUCCESS"]


def judge(seen: Evidence) -> list[Finding]:
    """Check every guarantee against the evidence."""
    return [
        accepted_is_kept(seen),
        all_succeeded(seen),
        one_key_one_task(seen),
        charged_once(seen),
        money_agrees(seen),
        mailed(seen),
        reported(seen),
        child_recovered(seen),
        worker_recovered(seen),
    ]


def accepted_is_kept(seen: Evidence) -> Finding:
    """Every acknowledged task is in the ledger and has ended."""
    ended = {task.task_id for task in seen.tasks if task.seconds is not None}
    accepted = {answer.task_id for answer in seen.answers}
    lost = len(accepted - ended)
    return Finding(
        "No accepted task is lost", f"{len(accepted):,} accepted, {lost} lost", lost == 0
    )


def all_succeeded(seen: Evidence) -> Finding:
    """A kill is no fault of a task: none fails for it."""
    states = Counter(task.state for task in seen.tasks)
    others = "".join(
        f", {count:,} {state}" for state, count in sorted(states.items()) if state != "SUCCESS"
    )
    text = f"{states['SUCCESS']:,} SUCCESS{others or ', 0 FAILED'}"
    return Finding("A kill fails no task", text, states["SUCCESS"] == len(seen.workload.errands))


def one_key_one_task(seen: Evidence) -> Finding:
    """Two submissions with one key are answered with one task, and the second answer is marked as a
    replay."""
    by_key: dict[str, set[str]] = {}
    for answer in seen.answers:
        by_key.setdefault(answer.key, set()).add(answer.task_id)
    replayed = sum(answer.replayed for answer in seen.answers)
    several = sum(len(ids) > 1 for ids in by_key.values())
    held = several == 0 and replayed == seen.workload.repeated and len(seen.tasks) == len(by_key)
    text = f"{seen.workload.repeated} sent twice, {replayed} replayed, {several} run under two ids"
    return Finding("One key, one task", text, held)


def charged_once(seen: Evidence) -> Finding:
    """Each order is charged exactly once."""
    wanted = [
        errand.payload["order_id"] for errand in seen.workload.errands if errand.type == "charge"
    ]
    twice = sum(times > 1 for times in seen.charges.values())
    never = sum(order not in seen.charges for order in wanted)
    text = f"{sum(seen.charges.values()):,} charges of {len(wanted):,} orders: {twice} twice, {never} missing"
    return Finding("Rows in Postgres: exactly once", text, twice == 0 and never == 0)


def money_agrees(seen: Evidence) -> Finding:
    """No handler's transaction was committed by half."""
    charged, taken = seen.money
    return Finding(
        "... and whole", f"charged {charged / 100:,.2f}, taken {taken / 100:,.2f}", charged == taken
    )


def mailed(seen: Evidence) -> Finding:
    """Each receipt arrived at least once, and under one Message-ID, however often it was sent."""
    sent = {str(task.result) for task in seen.ended("send_receipt")}
    missing = len(sent - seen.mails.keys())
    repeated = sum(times > 1 for times in seen.mails.values())
    unknown = len(seen.mails.keys() - sent)
    text = f"{len(seen.mails):,} different mails, {missing} missing; {repeated} came twice, under the same Message-ID"
    return Finding("Mail: at least once, one Message-ID each", text, missing == 0 and unknown == 0)


def reported(seen: Evidence) -> Finding:
    """Each report is there, complete and right."""
    wrong = sum(seen.reports.get(month) != totals for month, totals in seen.workload.months.items())
    text = f"{len(seen.workload.months)} files, {wrong} missing or wrong"
    return Finding("Files: whole or not there", text, wrong == 0)


def child_recovered(seen: Evidence) -> Finding:
    """The kernel notifies the supervisor immediately."""
    held = seen.child.lost > 0 and seen.child.returned < 1.0
    return Finding("A killed process: back in under 1 s", str(seen.child), held)


def worker_recovered(seen: Evidence) -> Finding:
    """No process is left to notice, and the lease expires."""
    limit = seen.lease_seconds + 2.0
    held = seen.worker.lost > 0 and seen.worker.returned <= limit
    return Finding(f"A lost worker: back within lease + 2 s = {limit:g} s", str(seen.worker), held)


def measure(seen: Evidence) -> list[Measure]:
    """The waiting times of a client and of a task."""
    submits = [answer.seconds * 1000 for answer in seen.answers]
    finishes = [task.seconds for task in seen.tasks if task.seconds is not None]
    again = ", ".join(f"{times} {outcome}" for outcome, times in seen.attempts.items()) or "none"
    return [
        Measure(
            "a submission over HTTP, from sent to 202",
            f"p50 {at(submits, 50):.1f} ms, p99 {at(submits, 99):.1f} ms",
        ),
        Measure(
            "a task, from recorded to finished, the queue before it included",
            f"p50 {at(finishes, 50):.1f} s, p99 {at(finishes, 99):.1f} s",
        ),
        Measure("attempts that did not succeed, and were followed by others", again),
    ]


def at(values: Sequence[float], percent: int) -> float:
    """The percentile of the values, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
