"""Run one worker in a separate process, with its own handlers.

The parts are those of a child (`worker.assemble`), without the child's process: no supervisor
renews its lease, so the lease is opened for longer than any test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.loop import end, run_forever
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.supervisor.protocol import ChildSpec
from leaseq.worker.build import build_worker
from leaseq.worker.child import register
from leaseq.worker.worker import Worker
from leaseq_reaper.duties.promote import Promote
from support.processes import PATIENCE

QUEUE = "default"
LEASE_SECONDS = 600.0


@asynccontextmanager
async def assembled(
    config: Config, app: Leaseq, *, concurrency: int = 4, registers: bool = False
) -> AsyncIterator[Worker]:
    """A worker for the handlers of `app` that does nothing on its own. On request it registers them
    as a child does."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(config, name="leaseq test worker"))
        spec = ChildSpec(
            worker_id=uuid4().hex,
            app="",
            queues=[QUEUE],
            concurrency=concurrency,
            isolated=False,
            renewed_at=0.0,
        )
        await engine.stores.workers.open_worker(
            spec.worker_id, host="here", pid=1, queues=spec.queues, version="0"
        )
        await engine.stores.leases.open(
            QUEUE, worker_id=spec.worker_id, lease_seconds=LEASE_SECONDS, token="first"
        )
        if registers:
            await register(engine, app.registry, spec)
        stack.enter_context(app.lend(engine))
        yield await build_worker(stack, engine, app.registry, spec=spec)


@asynccontextmanager
async def working(
    config: Config, app: Leaseq, *, concurrency: int = 4, registers: bool = False
) -> AsyncIterator[Worker]:
    """A worker for the handlers of `app`, at work while inside."""
    async with assembled(config, app, concurrency=concurrency, registers=registers) as worker:
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop_intake()
            await asyncio.wait([running], timeout=4)
            await worker.finish()
            await end(running)


async def stop_myself() -> None:
    """Cancel the task that runs, as a time-out or a drain does it, in the middle of a wait."""
    mine = asyncio.current_task()
    assert mine is not None
    asyncio.get_running_loop().call_soon(mine.cancel)
    await asyncio.sleep(60)


@asynccontextmanager
async def promoting(engine: Engine) -> AsyncIterator[None]:
    """A reaper that only promotes due tasks, within the block."""
    stop = asyncio.Event()
    work = asyncio.create_task(
        run_forever(
            Promote(engine.stores).run_once, name="promote", interval_seconds=0.02, stop=stop
        )
    )
    try:
        yield
    finally:
        stop.set()
        await work


async def until(
    true: Callable[[], bool] | Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE
) -> None:
    """Wait for a fact that no event announces."""
    async with asyncio.timeout(seconds):
        while True:
            answer = true()
            if answer is True or (not isinstance(answer, bool) and await answer):
                return
            await asyncio.sleep(0.01)


__all__ = ["QUEUE", "assembled", "promoting", "stop_myself", "until", "working"]
