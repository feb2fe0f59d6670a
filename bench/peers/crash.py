"""Kill workers repeatedly, and follow their tasks, in the same way for all.

Two workers, two tasks at a time in each (or what the contender can), sleeping tasks. Every few
seconds one of the workers is killed with all its children, as when its container dies, and a new
one starts immediately. Which one is chance, the same for all contenders and another in each run.
"""

from __future__ import annotations

import asyncio
import random
from time import monotonic

from bench.peers import outcomes
from bench.peers.contenders import Contender
from bench.peers.crew import Kill
from bench.peers.ground import Ground, set_up
from bench.peers.outcomes import Recovery
from bench.peers.scope import Scope

WORKERS = 2
READY_SECONDS = 60.0
POLL_SECONDS = 0.25
SEED = 1


async def crash(
    contender: Contender, scope: Scope, *, reliable: bool, seed: int = SEED
) -> Recovery:
    """One play, with the default or the most reliable settings. `seed`: of the choice of
    victims."""
    async with set_up(contender, slots=contender.crash_slots, reliable=reliable) as ground:
        await ground.submit("fill", scope.crash_tasks, task="nap")
        ground.start_companion()
        for place in range(WORKERS):
            ground.start_worker(place)
        await ground.until(1, seconds=READY_SECONDS)
        kills = await _kill_some(ground, scope, random.Random(seed))
        await _watch(ground, scope)
        return outcomes.judge(ground.effects(), kills, count=scope.crash_tasks)


async def _kill_some(ground: Ground, scope: Scope, chance: random.Random) -> list[Kill]:
    kills = []
    for _ in range(scope.kills):
        await asyncio.sleep(scope.kill_every_seconds)
        place = chance.randrange(WORKERS)
        # One that ended on its own is not killed, and not restarted, since nothing supervises here.
        if ground.crew.alive(place):
            kills.append(ground.crew.kill(place))
            ground.start_worker(place)
    return kills


async def _watch(ground: Ground, scope: Scope) -> None:
    """Until everything is done, and a little longer; or until patience ends."""
    give_up = monotonic() + scope.patience_seconds
    while len(outcomes.done(ground.effects())) < scope.crash_tasks:
        if monotonic() > give_up:
            return
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(scope.watch_seconds)
