"""The payload of each task type.

One function for each type of handlers.py. Invariant: it draws from the given generator alone, so
that a seed is a workload. The payloads of some types hold a mark, which their handlers repeat in
progress, results and errors: it shows where a payload has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from msgspec import Struct

__all__ = ["MARKED", "PAYLOADS", "Draw", "Payload", "delay_of", "mark_of"]

Payload = dict[str, Any]

MARKED = ("flaky", "refuse")

CUSTOMERS = 20  # keys of the tasks with a limit
MOST_CENTS = 500
MOST_FAILURES = 3
SLOW_SECONDS = (0.3, 3.0)
BLOCK_SECONDS = 4.0  # longer than a child may block its loop (LEASEQ_LOOP_STALL_SECONDS)
DELAY_SECONDS = (0.2, 5.0)


class Draw(Struct, frozen=True):
    """The sources from which a payload is drawn."""

    rng: Random
    number: int  # of the task in its plan
    accounts: int  # there are the accounts 1 to this


def _transfer(draw: Draw) -> Payload:
    source, target = draw.rng.sample(range(1, draw.accounts + 1), 2)
    return {"source": source, "target": target, "cents": draw.rng.randint(1, MOST_CENTS)}


def _number(draw: Draw) -> Payload:
    # The second figure makes another body of the same task another one.
    return {"n": draw.number * 1000 + draw.rng.randrange(1000)}


def _slow(draw: Draw) -> Payload:
    return {"seconds": round(draw.rng.uniform(*SLOW_SECONDS), 3)}


def _flaky(draw: Draw) -> Payload:
    return {"failures": draw.rng.randint(1, MOST_FAILURES), "mark": mark_of(draw.number)}


def _mark(draw: Draw) -> Payload:
    return {"mark": mark_of(draw.number)}


def mark_of(number: int | str) -> str:
    """The mark of a task, by its number in the plan. No mark is the beginning of another."""
    return f"mark-{number}-"


def _bounded(draw: Draw) -> Payload:
    # The first customer has half of the tasks, so that its line is the longest.
    customer = draw.rng.randrange(2 * CUSTOMERS)
    return _number(draw) | {"customer": customer if customer < CUSTOMERS else 0}


def _fired(draw: Draw) -> Payload:
    return {"schedule": f"s{draw.number}"}


def _block(_: Draw) -> Payload:
    return {"seconds": BLOCK_SECONDS}


def _nothing(_: Draw) -> Payload:
    return {}


PAYLOADS: Mapping[str, Callable[[Draw], Payload]] = {
    "transfer": _transfer,
    "thread": _transfer,
    "note": _number,
    "plain": _number,
    "later": _number,
    "slow": _slow,
    "flaky": _flaky,
    "bounded": _bounded,
    "bounded_plain": _bounded,
    "fired": _fired,
    "refuse": _mark,
    "hang": _nothing,
    "segfault": _nothing,
    "bomb": _nothing,
    "block": _block,
    **dict.fromkeys(("meddle", "observe", "keep", "linger", "sever", "finish", "leave"), _nothing),
}


def delay_of(task_type: str, rng: Random) -> float | None:
    """How much later a task of this type is to run, in seconds."""
    return round(rng.uniform(*DELAY_SECONDS), 3) if task_type == "later" else None
