"""Speed with many waiting tasks, and with many finished ones."""

from __future__ import annotations

from bench.beside import beside
from bench.figures import Reading
from bench.scale import Scale
from bench.stage import Stage
from bench.supply import supply


async def deep(scale: Scale) -> list[Reading]:
    """With `scale.deep` tasks that wait: the next ones of them are drained, and the latency is that
    of another queue."""

    async def fill(stage: Stage) -> list[str]:
        return await supply(stage, scale.deep)

    return await beside(
        scale, name=f"{scale.deep:,} tasks waiting", without="none waiting", fill=fill
    )


async def aged(scale: Scale) -> list[Reading]:
    """With `scale.aged` rows of tasks that have ended."""

    async def fill(stage: Stage) -> list[str]:
        await stage.witness.fill_finished(scale.aged)
        return []

    return await beside(
        scale, name=f"{scale.aged:,} finished rows", without="no finished rows", fill=fill
    )
