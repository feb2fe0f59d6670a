"""How many handlers ran at the same time, by the records of the handlers.

A handler runs from its first record to its last. One whose process was killed runs until the kill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.peers.crew import Kill
from bench.peers.outcomes import SECONDS
from bench.peers.sides.effects import END, START, Effect


def running(effects: Sequence[Effect], kills: Sequence[Kill] = ()) -> Iterator[tuple[int, int]]:
    """Each moment at which a handler began or ended, and the number that ran after it."""
    ends_of = {pid: kill.at_ns for kill in kills for pid in kill.pids}
    changes: list[tuple[int, int]] = []
    open_ones: Counter[int] = Counter()  # by process, those that were killed
    for effect in effects:
        step = {START: 1, END: -1}[effect.kind]
        changes.append((effect.at_ns, step))
        if effect.pid in ends_of:
            open_ones[effect.pid] += step
    changes += [(ends_of[pid], -count) for pid, count in open_ones.items()]
    number = 0
    # One that ends at the moment at which another begins ends first.
    for at_ns, step in sorted(changes):
        number += step
        yield at_ns, number


def most_at_once(effects: Sequence[Effect], kills: Sequence[Kill] = ()) -> int:
    """The highest number of handlers that ran at the same time."""
    return max((number for _, number in running(effects, kills)), default=0)


def most_of_a_key(effects: Sequence[Effect], keys: int) -> int:
    """The same of one key, of so many."""
    by_key: dict[int, list[Effect]] = {}
    for effect in effects:
        by_key.setdefault(effect.order_id % keys, []).append(effect)
    return max((most_at_once(found) for found in by_key.values()), default=0)


def held(effects: Sequence[Effect], kill: Kill) -> int:
    """The number of handlers that the kill ended."""
    theirs = [effect for effect in effects if effect.pid in kill.pids]
    return sum(1 if effect.kind == START else -1 for effect in theirs)


def usable_after(effects: Sequence[Effect], kill: Kill, wanted: int) -> float | None:
    """Seconds from a kill until so many handlers run at the same time again. None: never."""
    for at_ns, number in running(effects, [kill]):
        if at_ns > kill.at_ns and number >= wanted:
            return (at_ns - kill.at_ns) * SECONDS
    return None
