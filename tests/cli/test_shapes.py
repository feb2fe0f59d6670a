"""`--json` has the shape of the HTTP answer, field by field."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from leaseq.model import State
from leaseq_api.operate_schemas import (
    PausedView,
    QueueList,
    Statistics,
    WorkerList,
)
from leaseq_api.schemas import (
    OperationPage,
    RememberedTask,
    TaskPage,
    TaskView,
    WaitingFor,
)
from support.api import open_api
from support.cli import Command, Stage


class Door:
    """The same servers, asked over HTTP."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def ask(self, method: str, path: str, **more: Any) -> bytes:
        async def work(_: object) -> bytes:
            async with open_api(self._stage.config) as api:
                answer = await api.client.request(method, path, **more)
                assert answer.status_code < 300, answer.text
                return answer.content

        return self._stage.do(work)


@pytest.fixture
def http(stage: Stage) -> Door:
    return Door(stage)


def names(value: Any) -> Any:
    """A JSON value with nothing but its field names and the kinds of its values."""
    if isinstance(value, dict):
        return {name: names(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [names(inner) for inner in value[:1]]
    return type(value).__name__


def fits(value: Any, kind: Any) -> None:
    """Has this JSON value the fields of this struct, and no other? `payload` may be missing, the
    contents of an erased task, and those that only a unique task has."""
    optional = {"payload", "unique", "deduplicated"}
    if value.get("erased_at"):
        optional |= {"result", "error", "progress"}
    if kind is WaitingFor:
        optional |= {*kind.__struct_fields__}  # one reason of several
    assert value.keys() | optional == set(kind.__struct_fields__) | optional, kind
    for name, hint in get_type_hints(kind).items():
        inner = [
            part
            for part in (hint, *get_args(hint))
            if isinstance(part, type) and issubclass(part, msgspec.Struct)
        ]
        for part in value[name] if isinstance(value.get(name), list) else [value.get(name)]:
            if inner and part is not None:
                fits(part, inner[0])


def alike(command: str, answer: bytes, kind: Any, *, equal: bool = True) -> None:
    said, over_http = msgspec.json.decode(command), msgspec.json.decode(answer)
    assert names(said) == names(over_http)
    assert said == over_http or not equal
    fits(said, kind)
    fits(over_http, kind)


def test_reads_have_one_shape_everywhere(leaseq: Command, stage: Stage, http: Door) -> None:
    worker = stage.open_worker(queues=("default", "side"))
    failed, done, waiting = (
        stage.submit(idempotency_key="k"),
        stage.submit(),
        stage.submit("mul", queue="side"),
    )
    stage.fail(stage.claim(failed, worker), "no \x1b[31m \u202e")
    stage.succeed(stage.claim(done, worker))
    for task_id in (failed, done, waiting):
        alike(
            leaseq("show", task_id, "--json").stdout,
            http.ask("GET", f"/api/tasks/{task_id}"),
            TaskView,
        )
    alike(
        leaseq("wait", done, "--json").stdout,
        http.ask("GET", f"/api/tasks/{done}?wait=1"),
        TaskView,
    )
    alike(leaseq("list", "--json").stdout, http.ask("GET", "/api/tasks"), TaskPage)
    alike(
        leaseq("list", "--limit", "1", "--json").stdout,
        http.ask("GET", "/api/tasks?limit=1"),
        TaskPage,
    )
    alike(
        leaseq("list", "--state", "SUCCESS", "--json").stdout,
        http.ask("GET", "/api/tasks?state=SUCCESS"),
        TaskPage,
    )
    leaseq("redrive", task_id)
    alike(leaseq("operations", "--json").stdout, http.ask("GET", "/api/operations"), OperationPage)
    alike(leaseq("queues", "--json").stdout, http.ask("GET", "/api/queues"), QueueList)
    alike(leaseq("stats", "--json").stdout, http.ask("GET", "/api/stats"), Statistics, equal=False)
    alike(leaseq("workers", "--json").stdout, http.ask("GET", "/api/workers"), WorkerList)
    stage.do(lambda engine: engine.stores.workers.close_worker(worker, reason="drained"))
    alike(leaseq("workers", "--json").stdout, http.ask("GET", "/api/workers"), WorkerList)
    alike(
        leaseq("workers", "--all", "--json").stdout,
        http.ask("GET", "/api/workers?closed=true"),
        WorkerList,
    )


def test_changes_are_printed_in_the_shape_of_reads(
    leaseq: Command, stage: Stage, http: Door
) -> None:
    one, other = stage.submit(), stage.submit()
    alike(
        leaseq("cancel", one, "--json").stdout,
        http.ask("POST", f"/api/tasks/{other}/cancel"),
        TaskView,
        equal=False,
    )
    alike(
        leaseq("redrive", one, "--json").stdout,
        http.ask("POST", f"/api/tasks/{other}/redrive"),
        TaskView,
        equal=False,
    )
    keyed = [stage.submit(idempotency_key=key) for key in ("k1", "k2")]
    for task_id in keyed:
        leaseq("cancel", task_id)
    one, other = keyed
    for command, address in (("free-key", "/idempotency-key"), ("erase", "")):
        alike(
            leaseq(command, one, "--json").stdout,
            http.ask("DELETE", f"/api/tasks/{other}{address}"),
            TaskView,
            equal=False,
        )
    running = [stage.submit(), stage.submit()]
    worker = stage.open_worker()
    for task_id in running:
        stage.claim(task_id, worker)
    asked = leaseq("cancel", running[0], "--json")
    assert msgspec.json.decode(asked.stdout)["state"] == State.PROCESSING
    alike(asked.stdout, http.ask("POST", f"/api/tasks/{running[1]}/cancel"), TaskView, equal=False)
    for verb in ("pause", "resume"):
        alike(
            leaseq("queues", verb, "q", "--json").stdout,
            http.ask("POST", f"/api/queues/q/{verb}"),
            PausedView,
            equal=verb == "resume",  # a pause says who and when
        )


def test_a_submission_is_answered_in_the_same_shape(
    leaseq: Command, stage: Stage, http: Door
) -> None:
    def post(key: str) -> bytes:
        body = {"type": "add", "payload": {"n": 1}}
        return http.ask("POST", "/api/tasks", json=body, headers={"Idempotency-Key": f'"{key}"'})

    fresh = leaseq("submit", "add", '{"n":1}', "--key", "a", "--json")
    alike(fresh.stdout, post("b"), TaskView, equal=False)
    again = leaseq("submit", "add", '{"n":1}', "--key", "a", "--json")
    alike(again.stdout, post("a"), TaskView)
    assert "a task with this key already exists" in again.stderr
    task_id = msgspec.json.decode(fresh.stdout)["task_id"]

    worker = stage.open_worker()
    stage.succeed(stage.claim(task_id, worker))
    waited = leaseq("submit", "add", '{"n":1}', "--key", "a", "--json", "--wait")
    alike(waited.stdout, http.ask("GET", f"/api/tasks/{task_id}"), TaskView)

    async def forget(engine: Any) -> None:
        async with engine.stores.tasks._session.pool.connection() as conn:
            await conn.execute("delete from leaseq.tasks")

    stage.do(forget)
    remembered = leaseq("submit", "add", '{"n":1}', "--key", "a", "--json")
    alike(remembered.stdout, post("a"), RememberedTask)
