"""The possible next steps of the state machine.

Each kind of step is a struct, so that a run that went wrong can be written down as a list of them
and played again. Numbers that choose among the possibilities (an actor, an operation at a gate, a
task) are taken modulo how many there are; a step for which there is nothing does nothing.
"""

from __future__ import annotations

from enum import Enum, auto

from hypothesis import strategies as st
from msgspec import Struct

from leaseq.model import Priority
from simulation.actors import Actor, Hand, Sidecar
from simulation.app import TYPES
from simulation.gates import Stand, Verdict
from simulation.tombstones import ERASE, FREE
from simulation.world import LOOK_SECONDS, PATIENCE_SECONDS, POSTS, World

ALL = 1000
WATCH_ROUNDS = 4


class Fate(Enum):
    """The fate of an operation at a gate."""

    HOLD = auto()
    REFUSE = auto()
    LOSE = auto()
    DIE_BEFORE = auto()  # the actor dies before it has happened
    DIE_AFTER = auto()


VERDICTS = {Fate.HOLD: Verdict.HOLD, Fate.REFUSE: Verdict.REFUSE, Fate.LOSE: Verdict.LOSE}


class Submit(Struct, frozen=True):
    """A client submits. `count` of its operations go on immediately, and the next one meets its
    fate, if it has one."""

    type: str = "note"
    key: str | None = None
    body: str = "a"
    priority: Priority = Priority.NORMAL
    delay: float | None = None
    count: int = ALL
    fate: Fate | None = None


class Steer(Struct, frozen=True):
    """A client cancels or redrives a task, erases it, or frees its key."""

    verb: str
    task: int = 0
    count: int = ALL
    fate: Fate | None = None


class Work(Struct, frozen=True):
    """A worker begins an activity."""

    hand: int
    activity: str = "pull"
    count: int = ALL
    fate: Fate | None = None


class Pass(Struct, frozen=True):
    """A reaper begins a pass."""

    reaper: int
    activity: str
    count: int = ALL
    fate: Fate | None = None


class GoOn(Struct, frozen=True):
    """Some operations of a waiting actor go on."""

    actor: int
    count: int


class Befall(Struct, frozen=True):
    """Fate finds one of those who stand."""

    stand: int
    fate: Fate


class Follow(Struct, frozen=True):
    """A new actor takes a vacant post."""

    count: int = ALL


class Bury(Struct, frozen=True):
    """A dead worker is reaped by an actor with first-hand evidence."""

    dead: int = -1
    reaper: int = 0
    count: int = ALL
    fate: Fate | None = None


class Flush(Struct, frozen=True):
    """Redis forgets everything."""


class PassTime(Struct, frozen=True):
    """Time passes."""

    seconds: float = PATIENCE_SECONDS


class Watch(Struct, frozen=True):
    """A reaper is awake for longer than a lease, and these workers (one bit each) beat."""

    reaper: int = 0
    beating: int = 0


Step = Submit | Steer | Work | Pass | GoOn | Befall | Follow | Bury | Flush | PassTime | Watch

_any = st.integers(min_value=0, max_value=30)
_fates = st.sampled_from([*Fate, Fate.LOSE, Fate.DIE_AFTER])
_often_none = st.one_of(st.none(), _fates)
_counts = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, ALL, ALL])
_first_ones = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ALL])

# How often each of them comes, of a hundred.
STEPS: list[tuple[int, st.SearchStrategy[Step]]] = [
    (
        32,
        st.builds(
            Work,
            hand=st.sampled_from([0, 1, 0, 1, 2]),
            activity=st.sampled_from(["pull"] * 8 + ["sweep", "beat", "watch", "retire"]),
            count=_first_ones,
            fate=_often_none,
        ),
    ),
    (
        12,
        st.builds(
            Submit,
            type=st.sampled_from(TYPES),
            key=st.sampled_from([None, None, None, "k1", "k1", "k2"]),
            body=st.sampled_from(["a", "a", "b"]),
            priority=st.sampled_from(Priority),
            delay=st.sampled_from([None, None, None, 20.0]),
            count=st.sampled_from([ALL, ALL, ALL, 1, 0]),
            fate=st.sampled_from([None] * 12 + [*Fate]),
        ),
    ),
    # The same content each time, so that keys are replayed; and each fails, so that keys are freed.
    (3, st.builds(Submit, type=st.just("refuse"), key=st.sampled_from(["k1", "k2"]))),
    (
        16,
        st.builds(
            Pass,
            reaper=_any,
            activity=st.sampled_from(["reconcile", "reap", "promote", "refill"]),
            count=_counts,
            fate=_often_none,
        ),
    ),
    (12, st.builds(GoOn, actor=_any, count=st.integers(min_value=1, max_value=10))),
    (5, st.builds(Befall, stand=_any, fate=_fates)),
    (8, st.builds(Follow, count=st.sampled_from([ALL, ALL, ALL, 1]))),
    (3, st.builds(Bury, dead=_any, reaper=_any, count=_counts, fate=_often_none)),
    (3, st.just(Flush())),
    (
        3,
        st.builds(
            PassTime, seconds=st.sampled_from([PATIENCE_SECONDS, PATIENCE_SECONDS, LOOK_SECONDS])
        ),
    ),
    (5, st.builds(Watch, reaper=_any, beating=st.integers(min_value=0, max_value=7))),
    (
        6,
        st.builds(
            Steer,
            verb=st.sampled_from(["cancel", "redrive", ERASE, FREE]),
            task=_any,
            count=st.sampled_from([ALL, ALL, 1, 2]),
            fate=st.sampled_from([None] * 6 + [*Fate]),
        ),
    ),
]

steps: st.SearchStrategy[Step] = st.sampled_from(
    [kind for often, kind in STEPS for _ in range(often)]
).flatmap(lambda kind: kind)
beginnings = st.lists(st.builds(Submit, type=st.sampled_from(TYPES)), min_size=2, max_size=5)


async def take(world: World, step: Step) -> None:
    """Let it happen."""
    match step:
        case Submit() | Steer():
            await _ask(world, step)
        case Work() | Pass() | Bury():
            await _act(world, step)
        case GoOn() | Befall() | Follow():
            await _happen(world, step)
        case Flush():
            await world.flush()
        case PassTime(seconds):
            await world.pass_time(seconds)
        case Watch(reaper, beating):
            hands = [hand for number, hand in enumerate(world.hands) if beating >> number & 1]
            await world.watch(world.reapers[reaper % len(world.reapers)], hands, WATCH_ROUNDS)


async def _ask(world: World, step: Submit | Steer) -> None:
    tasks = list(world.model.lives)
    match step:
        case Submit(kind, key, body, priority, delay):
            await world.submit(key, body, kind, priority=priority, delay=delay)
        case Steer("cancel", task) if tasks:
            await world.cancel(tasks[task % len(tasks)])
        case Steer("redrive", task) if tasks:
            await world.redrive(tasks[task % len(tasks)])
        case Steer(verb, task) if tasks:
            await world.operate(verb, tasks[task % len(tasks)])
    await _go_on(world, world.clients[0], step)


async def _act(world: World, step: Work | Pass | Bury) -> None:
    reapers = world.reapers
    match step:
        case Work(hand, activity) if world.hands:
            actor: Hand | Sidecar = world.hands[hand % len(world.hands)]
            await world.act(actor, activity)
        case Pass(reaper, activity):
            actor = reapers[reaper % len(reapers)]
            await world.act(actor, activity)
        case Bury(dead, reaper) if world.dead:
            actor = reapers[reaper % len(reapers)]
            await world.bury(actor, world.dead[dead % len(world.dead)])
        case _:
            return
    await _go_on(world, actor, step)


async def _go_on(world: World, actor: Actor, step: Submit | Steer | Work | Pass | Bury) -> None:
    await world.stride(actor, step.count)
    if step.fate is not None and actor.gate.standing:
        await _befall(world, actor.gate.standing[0], step.fate)


async def _befall(world: World, stand: Stand, fate: Fate) -> None:
    if fate in VERDICTS:
        await world.decide(stand, VERDICTS[fate])
    else:
        await world.crash(stand, done=fate is Fate.DIE_AFTER)


async def _happen(world: World, step: GoOn | Befall | Follow) -> None:
    busy = [actor for actor in world.actors if actor.gate.standing]
    stands = world.yard.standing
    vacant = [name for name in POSTS if name not in {hand.name for hand in world.hands}]
    match step:
        case GoOn(actor, count) if busy:
            await world.stride(busy[actor % len(busy)], count)
        case Befall(stand, fate) if stands:
            await _befall(world, stands[stand % len(stands)], fate)
        case Follow(count) if vacant:
            await world.hire(vacant[0], count)


__all__ = [
    "Befall",
    "Bury",
    "Fate",
    "Flush",
    "Follow",
    "GoOn",
    "Pass",
    "PassTime",
    "Steer",
    "Step",
    "Submit",
    "Watch",
    "Work",
    "beginnings",
    "steps",
    "take",
]
