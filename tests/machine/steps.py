"""What can happen next in the state machine?

Each kind of step is a struct, so that a run that went wrong can be written down as a list of them and played again. Numbers that
choose among what is there (an actor, an operation at a gate, a task) are taken modulo how many there are; a step for which there is
nothing does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st
from msgspec import Struct

from leaseq.model import Priority
from machine.actors import Actor
from machine.app import TYPES
from machine.gates import Verdict
from machine.world import LOOK_SECONDS, PATIENCE_SECONDS, POSTS, World

ALL = 1000
WATCH_ROUNDS = 4


class Submit(Struct, frozen=True):
    """A client submits. `count` of its operations go on at once."""

    type: str = "note"
    key: str | None = None
    body: str = "a"
    priority: Priority = Priority.NORMAL
    delay: float | None = None
    count: int = ALL


class Steer(Struct, frozen=True):
    """A client cancels or redrives a task."""

    verb: str
    task: int = 0
    count: int = ALL


class Work(Struct, frozen=True):
    """A worker begins an activity."""

    hand: int
    activity: str = "pull"
    count: int = ALL


class Pass(Struct, frozen=True):
    """A reaper begins a pass."""

    reaper: int
    activity: str
    count: int = ALL


class GoOn(Struct, frozen=True):
    """Some operations of somebody who stands go on."""

    actor: int
    count: int


class Decide(Struct, frozen=True):
    """One operation is let go, refused, held up in the middle or loses its answer."""

    stand: int
    verdict: Verdict


class Crash(Struct, frozen=True):
    """Whoever stands there dies, before the operation has happened or after it."""

    stand: int
    done: bool


class Follow(Struct, frozen=True):
    """Somebody takes a vacant post."""

    count: int = ALL


class Bury(Struct, frozen=True):
    """A dead worker is reaped by somebody who knows first-hand."""

    dead: int = -1
    reaper: int = 0
    count: int = ALL


class Flush(Struct, frozen=True):
    """Redis forgets everything."""


class PassTime(Struct, frozen=True):
    """Time passes."""

    seconds: float = PATIENCE_SECONDS


class Watch(Struct, frozen=True):
    """A reaper is awake for longer than a lease, and these workers (one bit each) are heard of."""

    reaper: int = 0
    beating: int = 0


Step = Submit | Steer | Work | Pass | GoOn | Decide | Crash | Follow | Bury | Flush | PassTime | Watch

_any = st.integers(min_value=0, max_value=30)
_verdicts = st.sampled_from([Verdict.LOSE, Verdict.HOLD, Verdict.REFUSE])
_submits = st.builds(
    Submit,
    type=st.sampled_from(TYPES),
    key=st.sampled_from(["k1", "k2", None]),
    body=st.sampled_from(["a", "a", "b"]),
    priority=st.sampled_from(Priority),
    delay=st.sampled_from([None, None, None, 20.0]),
    count=st.sampled_from([ALL, ALL, 1, 0]),
)
# How often each of them comes, of a hundred.
STEPS: list[tuple[int, st.SearchStrategy[Step]]] = [
    (12, _submits),
    (
        26,
        st.builds(
            Work,
            hand=st.sampled_from([0, 1, 0, 1, 2]),
            activity=st.sampled_from(["pull"] * 6 + ["sweep", "beat", "watch", "retire"]),
            count=st.sampled_from([3, 5, 8, 12, 2, 1, ALL]),
        ),
    ),
    (
        12,
        st.builds(
            Pass,
            reaper=_any,
            activity=st.sampled_from(["reconcile", "reap", "promote"]),
            count=st.sampled_from([4, 8, 12, 16, 2, ALL, ALL]),
        ),
    ),
    (16, st.builds(GoOn, actor=_any, count=st.integers(min_value=1, max_value=10))),
    (8, st.builds(Decide, stand=_any, verdict=_verdicts)),
    (8, st.builds(Crash, stand=_any, done=st.booleans())),
    (5, st.builds(Follow, count=st.sampled_from([ALL, ALL, 1]))),
    (3, st.builds(Bury, dead=_any, reaper=_any, count=st.sampled_from([ALL, 8, 4, 2, 1]))),
    (2, st.just(Flush())),
    (3, st.builds(PassTime, seconds=st.sampled_from([PATIENCE_SECONDS, PATIENCE_SECONDS, LOOK_SECONDS]))),
    (2, st.builds(Watch, reaper=_any, beating=st.integers(min_value=0, max_value=7))),
    (3, st.builds(Steer, verb=st.sampled_from(["cancel", "redrive"]), task=_any, count=st.sampled_from([ALL, 1, 0]))),
]

steps: st.SearchStrategy[Step] = st.sampled_from([kind for often, kind in STEPS for _ in range(often)]).flatmap(lambda kind: kind)
beginnings = st.lists(st.builds(Submit, type=st.sampled_from(TYPES)), min_size=1, max_size=4)


async def take(world: World, step: Step) -> None:
    """Let it happen."""
    match step:
        case Submit() | Steer():
            await _ask(world, step)
        case Work() | Pass() | Bury():
            await _act(world, step)
        case GoOn(actor, count):
            if busy := [actor for actor in world.actors if actor.gate.standing]:
                await world.stride(busy[actor % len(busy)], count)
        case Decide(stand, verdict):
            if stands := world.yard.standing:
                await world.decide(stands[stand % len(stands)], verdict)
        case Crash(stand, done):
            if stands := world.yard.standing:
                await world.crash(stands[stand % len(stands)], done=done)
        case Follow(count):
            if vacant := [name for name in POSTS if name not in {hand.name for hand in world.hands}]:
                await world.hire(vacant[0], count)
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
    await world.stride(world.clients[0], step.count)


async def _act(world: World, step: Work | Pass | Bury) -> None:
    actor: Actor
    match step:
        case Work(hand, activity):
            if not world.hands:
                return
            actor = world.hands[hand % len(world.hands)]
            await world.act(actor, activity)
        case Pass(reaper, activity):
            actor = world.reapers[reaper % len(world.reapers)]
            await world.act(actor, activity)
        case Bury(dead, reaper):
            if not world.dead:
                return
            actor = world.reapers[reaper % len(world.reapers)]
            await world.bury(actor, world.dead[dead % len(world.dead)])
    await world.stride(actor, step.count)


async def play(world: World, written: Iterable[Step]) -> None:
    """A run that was written down."""
    for step in written:
        await take(world, step)


__all__ = [
    "Bury",
    "Crash",
    "Decide",
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
    "play",
    "steps",
    "take",
]
