"""Prepare and follow operations on many tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import httpx

from leaseq.codec import new_task_id
from leaseq.model import State
from leaseq.operations.engine import Engine
from support.api import Api
from support.ledger import RETENTION, errored, open_worker, submission

CHUNK = 500


async def waiting(engine: Engine, count: int, **said: Any) -> list[str]:
    """So many tasks that wait; their ids, in order."""
    ids: list[str] = []
    for start in range(0, count, CHUNK):
        batch = [submission(**said) for _ in range(min(CHUNK, count - start))]
        await engine.stores.tasks.submit(batch, retention_seconds=RETENTION)
        ids += [each.task_id for each in batch]
    return sorted(ids)


async def failed(engine: Engine, count: int, **said: Any) -> list[str]:
    """So many tasks that have failed; their ids, in order."""
    ids = await waiting(engine, count, **said)
    await fail(engine, ids)
    return ids


async def fail(engine: Engine, ids: Collection[str]) -> None:
    """Claim tasks that wait, and let them fail."""
    worker_id = await open_worker(engine.stores.workers, "default", "mail", "bulk")
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids)[start : start + CHUNK]
        claimed = await engine.stores.tasks.claim(chunk, worker_id=worker_id)
        assert len(claimed) == len(chunk)
        await engine.stores.tasks.settle([errored(one.claim, then=State.FAILED) for one in claimed])


async def states(engine: Engine, ids: Collection[str]) -> dict[State, int]:
    """How many of these tasks are in each state."""
    found = (await engine.stores.tasks.find_states(list(ids))).values()
    return {state: list(found).count(state) for state in set(found)}


async def preview(api: Api, action: str, headers: Any = None, **wanted: Any) -> dict[str, Any]:
    """The preview of an operation."""
    answer = await api.client.post(
        "/api/operations/preview", json={"action": action, "filter": wanted}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def body_of(action: str, rate: float = 2000.0, **wanted: Any) -> dict[str, Any]:
    """The body of an operation without a preview."""
    return {
        "operation_id": new_task_id(),
        "action": action,
        "filter": wanted,
        "rate": rate,
    }


async def started(api: Api, body: dict[str, Any], headers: Any = None) -> dict[str, Any]:
    """Start an operation."""
    answer = await api.client.post("/api/operations", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    operation: dict[str, Any] = answer.json()
    return operation


async def show(api: Api, operation_id: str, headers: Any = None) -> dict[str, Any]:
    """The operation as it is now."""
    answer = await api.client.get(f"/api/operations/{operation_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    operation: dict[str, Any] = answer.json()
    return operation


async def until(
    api: Api, operation_id: str, is_so: Callable[[dict[str, Any]], bool], headers: Any = None
) -> dict[str, Any]:
    """The operation when it is so. The API of the test works on it while this looks."""
    while not is_so(operation := await show(api, operation_id, headers)):
        pass
    return operation


async def until_done(api: Api, operation_id: str, headers: Any = None) -> dict[str, Any]:
    """The operation when it is done."""
    return await until(api, operation_id, lambda now: now["state"] == "done", headers)


async def act(api: Api, operation_id: str, verb: str) -> httpx.Response:
    """Stop or resume an operation."""
    return await api.client.post(f"/api/operations/{operation_id}/{verb}")


def refusals(operation: dict[str, Any]) -> dict[str, int]:
    """The number of refused tasks by reason."""
    return {each["reason"]: each["count"] for each in operation["refusals"]}


__all__ = [
    "act",
    "body_of",
    "fail",
    "failed",
    "preview",
    "refusals",
    "show",
    "started",
    "states",
    "until",
    "until_done",
    "waiting",
]
