"""Ask why a task is where it is, in each way that a person or a program has."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT
from leaseq.operations.why.answer import Why
from leaseq_http import AsyncClient
from support.processes import PATIENCE, TESTS, Service, Services, environment
from support.worker import until

# Answers about the same situation may be a moment apart.
MOVING = ("evidence", "at", "next_at", "since")

ROUNDS = 3


class Answer(Struct, frozen=True):
    """The answer of the command line, with its exit code, after all ways gave the same."""

    why: Why
    code: int

    @property
    def evidence(self) -> str:
        return "\n".join(f"{each.source} {each.text}" for each in self.why.evidence)


class Askers:
    """The command line, HTTP, the HTTP client and Python, on one deployment."""

    def __init__(self, config: Config, api: Service, app: Leaseq) -> None:
        self._config = config
        self._app = app
        (started,) = api.heard("api.started")
        self.url = f"http://127.0.0.1:{started['port']}"

    async def ask(self, task_id: str) -> Answer:
        """Ask in every way. All have to give the same words, in one of a few rounds: some words change
        with time."""
        for _ in range(ROUNDS):
            by_command, code = await self._command(task_id)
            by_http = await self._http(task_id)
            handle = await self._app.find(task_id)
            async with AsyncClient(self.url) as client:
                by_client = await client.why(task_id)
            same = [by_command, by_http, await handle.why(), by_client]
            words = [_words(each) for each in same]
            if words[1:] == words[:-1]:
                return Answer(by_command, code)
        raise AssertionError(f"the words differ: {words}")

    async def until(self, task_id: str, case: str) -> Answer:
        """Ask until this is the case, and then in every way."""
        await self._until(task_id, lambda why: why.case == case)
        answer = await self.ask(task_id)
        assert answer.why.case == case, answer
        return answer

    async def until_fact(self, task_id: str, text: str) -> None:
        """Ask until a line of the evidence begins with this."""
        await self._until(task_id, lambda why: f"\n{text}" in Answer(why, 0).evidence)

    async def _until(self, task_id: str, is_so: Callable[[Why], bool]) -> None:
        seen: list[Why] = []

        async def look() -> bool:
            seen.append(await self._app.engine.explain(task_id, tenant=DEFAULT_TENANT))
            return is_so(seen[-1])

        try:
            await until(look)
        except TimeoutError:
            raise AssertionError(f"it never came true; at last: {seen[-1]}") from None

    async def _command(self, task_id: str) -> tuple[Why, int]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "leaseq", "why", task_id, "--json"),
            env=environment(self._config),
            cwd=TESTS,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode in (0, 1), err.decode()
        return msgspec.json.decode(out, type=Why), process.returncode

    async def _http(self, task_id: str) -> Why:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.get(f"{self.url}/api/tasks/{task_id}/why")
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=Why)


def _words(found: Any) -> dict[str, Any]:
    """The parts of an answer that do not move."""
    words: dict[str, Any] = {
        name: getattr(found, name) for name in Why.__struct_fields__ if name not in MOVING
    }
    words["next"] = words["next"].partition(", in about")[0]
    words["failure"] = msgspec.to_builtins(words["failure"])  # the client has a struct of its own
    return words


async def start_api(services: Services) -> Service:
    """An API process, once it answers."""
    api = await services.start("api", "--port", "0")
    await api.hear("api.started")
    return api


__all__ = ["Answer", "Askers", "start_api"]
