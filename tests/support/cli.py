"""Run a command of `leaseq`, and prepare the stores.

Most commands run in this process, on the servers of the test; services and `dev` run as the
processes that they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from leaseq.cli import main
from leaseq.config import Config
from leaseq.model import Claim, Disposition, Ending, Outcome, Settlement, State, TaskError
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.submission import accept
from leaseq.schedules.schedule import Definition
from leaseq.schedules.timing import Timing
from support.dispatch import leases_of
from support.failures import GONE, count
from support.requests import request_of

T = TypeVar("T")
Command = Callable[..., Result]


@pytest.fixture
def leaseq(config: Config) -> Command:
    """Run `leaseq ARGS` on the servers of the test; `stdin` and variables may be given."""

    def run(*args: str, stdin: bytes | None = None, **env: str) -> Result:
        return CliRunner().invoke(main, args, input=stdin, env=config.to_env() | env)

    return run


class Stage:
    """Brings tasks into the position that a test needs."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def do(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Do something with an engine of the test's stores."""

        async def act() -> T:
            async with open_engine(self.config, name="leaseq test stage") as engine:
                return await work(engine)

        return asyncio.run(act())

    def submit(self, name: str = "add", *, tenant: str = "default", **said: Any) -> str:
        """One task of the type `name`; its id."""

        async def work(engine: Engine) -> str:
            request = request_of(type=name, **said)
            return (await engine.submit(accept(request, engine.config, tenant=tenant))).task_id

        return self.do(work)

    def put_schedule(self, name: str) -> None:
        """A schedule of the type `add`."""

        async def work(engine: Engine) -> None:
            submission = accept(request_of(type="add"), engine.config, tenant="default")
            timing = Timing(cron="0 6 * * *")
            definition = Definition(name=name, timing=timing, submission=submission)
            await engine.schedules.put(definition)

        self.do(work)

    def open_worker(
        self, worker_id: str = "w" * 32, *, queues: tuple[str, ...] = ("default",)
    ) -> str:
        """A worker in the ledger."""

        async def work(engine: Engine) -> str:
            await engine.stores.workers.open_worker(
                worker_id, host="here", pid=77, queues=queues, version="9.9"
            )
            return worker_id

        return self.do(work)

    def pull(self, queue: str, worker_id: str) -> list[str]:
        """Move what waits into the processing list of a worker."""

        async def work(engine: Engine) -> list[str]:
            dispatcher = engine.stores.dispatcher
            await leases_of(dispatcher).open(
                queue, worker_id=worker_id, lease_seconds=60, token="t"
            )
            return (await dispatcher.pull(queue, worker_id=worker_id, limit=10)).task_ids

        return self.do(work)

    def claim(self, task_id: str, worker_id: str) -> Claim:
        async def work(engine: Engine) -> Claim:
            (claimed,) = await engine.stores.tasks.claim([task_id], worker_id=worker_id)
            return claimed.claim

        return self.do(work)

    def succeed(self, claim: Claim, result: bytes = b'{"sum":42}') -> None:
        self._settle(
            Settlement(claim, Ending(Outcome.SUCCEEDED, result=result), Disposition(State.SUCCESS))
        )

    def fail(self, claim: Claim, message: str, *, then: State = State.FAILED) -> None:
        error = TaskError("error", message, "ValueError", f"Traceback ...\nValueError: {message}")
        ending = Ending(Outcome.ERRORED, error=error)
        self._settle(
            Settlement(claim, ending, Disposition(then, delay=60.0, retries=1, error=error))
        )

    def claim_and_fail(self, task_id: str) -> None:
        """Let the first attempt of a task fail, and count that, as a reaper does."""
        claim = self.claim(task_id, self.open_worker())
        ending = Ending(Outcome.ERRORED, error=GONE)
        self._settle(Settlement(claim, ending, Disposition(State.FAILED, error=GONE)))
        assert self.do(lambda engine: count(engine.stores.failures)) == 1

    def _settle(self, settlement: Settlement) -> None:
        async def work(engine: Engine) -> None:
            assert await engine.stores.tasks.settle([settlement])

        self.do(work)


@pytest.fixture
def stage(config: Config) -> Stage:
    return Stage(config)
