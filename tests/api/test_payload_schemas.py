"""Payloads are checked against registered schemas, from a local copy."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import DEFAULT_TENANT
from leaseq.observability.telemetry import recorded
from leaseq.operations import known_types
from leaseq.operations.known_types import KnownTypes
from leaseq.payloads.shapes import shape_of
from support.api import Api, open_api, problem
from support.worker import until


class Charge(msgspec.Struct, forbid_unknown_fields=True):
    order_id: int
    cents: int
    tags: dict[str, list[str]] = {}


def charge(queue: str = "billing", schema: Any = None) -> TaskType:
    return TaskType("charge", queue, msgspec.json.encode(schema) if schema else shape_of(Charge))


def body(payload: Any, **more: Any) -> dict[str, Any]:
    return {"type": "charge", "payload": payload, **more}


@pytest.fixture
async def api(config: Config, type_ledger: TypeLedger) -> Any:
    """The application, after a worker registered `charge`."""
    await type_ledger.register_types([charge()])
    async with open_api(config) as opened:
        yield opened


async def test_a_payload_that_fits_goes_to_the_queue_of_its_type(api: Api) -> None:
    answer = await api.submit(body({"order_id": 1, "cents": 500}))
    assert (answer.status_code, answer.json()["queue"]) == (202, "billing")
    answer = await api.submit(body({"order_id": 1, "cents": 500}, queue="other"))
    assert (answer.status_code, answer.json()["queue"]) == (202, "other")


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({"order_id": 1, "cents": "s3cret"}, "/payload/cents"),
        ({"order_id": 1, "cents": 1.5}, "/payload/cents"),
        ({"order_id": 1}, "/payload"),
        ({"order_id": 1, "cents": 1, "extra": 1}, "/payload"),
        ({"order_id": 1, "cents": 1, "tags": {"a/b~c": ["x", 1]}}, "/payload/tags"),
        ([], "/payload"),
        (None, "/payload"),
    ],
)
async def test_a_payload_that_does_not_fit_is_refused_with_the_place(
    api: Api, plain: Connection, payload: Any, pointer: str
) -> None:
    refused = problem(await api.submit(body(payload)), "payload_invalid")
    assert refused["pointer"] == pointer
    assert "s3cret" not in refused["detail"]
    cursor = await plain.execute("select count(*) from leaseq.tasks")
    assert await cursor.fetchall() == [(0,)]


async def test_a_huge_number_meets_the_schema(api: Api) -> None:
    answer = await api.send(
        b'{"type":"charge","payload":{"order_id":1' + b"0" * 400 + b',"cents":1}}'
    )
    assert answer.status_code == 202


async def test_a_type_of_an_older_worker_is_checked_by_its_schema(
    api: Api, plain: Connection
) -> None:
    await plain.execute(
        "insert into leaseq.task_types (type, queue, payload_schema) values ('older', 'billing', %s)",
        (msgspec.json.encode(msgspec.json.schema(Charge)).decode(),),
    )
    await api.service.types.refresh()
    refused = await api.submit({"type": "older", "payload": {"order_id": 1, "cents": 1.0}})
    assert problem(refused, "payload_invalid")["pointer"] == "/payload/cents"
    answer = await api.submit({"type": "older", "payload": {"order_id": 1, "cents": 1}})
    assert (answer.status_code, answer.json()["queue"]) == (202, "billing")
    cursor = await plain.execute("select headers from leaseq.tasks")
    assert await cursor.fetchall() == [(None,)], "no version of this leaseq has accepted it"


class Refund(msgspec.Struct, forbid_unknown_fields=True):
    order_id: int
    cents: int
    reason: str


async def test_during_a_deploy_payloads_of_both_releases_are_taken(
    api: Api, worker_ledger: WorkerLedger, type_ledger: TypeLedger
) -> None:
    """Under the queue of the newer one, also after a worker of the older one has started again."""
    older, newer = charge("old"), TaskType("charge", "new", shape_of(Refund))
    for worker_id, version in (("w1", older), ("w2", newer), ("w3", older)):
        await worker_ledger.open_worker(
            worker_id, host="here", pid=1, queues=["default"], version="0"
        )
        await type_ledger.register_types([version], worker_id=worker_id)
    await api.service.types.refresh()
    for payload in ({"order_id": 1, "cents": 1}, {"order_id": 1, "cents": 1, "reason": "x"}):
        answer = await api.submit(body(payload))
        assert (answer.status_code, answer.json()["queue"]) == (202, "new")
    refused = problem(
        await api.submit(body({"order_id": 1, "cents": 1, "reason": 1})), "payload_invalid"
    )
    assert refused["pointer"] == "/payload/reason"
    for worker_id in ("w1", "w3"):
        await worker_ledger.close_worker(worker_id, reason="drained")
    await api.service.types.refresh()
    problem(await api.submit(body({"order_id": 1, "cents": 1})), "payload_invalid")


async def test_the_limits_of_the_handler_hold_where_the_client_says_nothing(
    api: Api, type_ledger: TypeLedger
) -> None:
    await type_ledger.register_types([replace(charge(), max_attempts=2, timeout_seconds=30)])
    await api.service.types.refresh()
    said = (await api.submit(body({"order_id": 1, "cents": 500}))).json()
    assert (said["max_attempts"], said["timeout_seconds"]) == (2, 30.0)
    task = await api.service.engine.for_tenant(DEFAULT_TENANT).find(said["task_id"])
    assert (task.max_attempts, task.timeout_seconds) == (2, 30.0)
    said = (await api.submit(body({"order_id": 1, "cents": 500}, max_attempts=9))).json()
    assert (said["max_attempts"], said["timeout_seconds"]) == (9, 30.0)


async def test_the_same_submission_from_python_and_over_http_is_one_task(
    config: Config, api: Api, type_ledger: TypeLedger
) -> None:
    """Also where the handler has a queue and limits of its own, and whether the API knows them or
    not."""
    app = Leaseq(config)

    @app.task(queue="billing", max_attempts=2, timeout=30)
    async def refund(order_id: int, cents: int) -> None: ...

    handler = refund.handler
    known = TaskType(
        "refund", handler.queue, handler.shape, handler.max_attempts, handler.timeout_seconds
    )
    async with app:
        first = await refund.options(idempotency_key="r-1").submit(order_id=1, cents=5)
        said = {"type": "refund", "payload": {"cents": 5, "order_id": 1}}
        answers = [await api.submit(said, Idempotency_Key="r-1")]
        await type_ledger.register_types([known])
        await api.service.types.refresh()
        answers.append(await api.submit(said, Idempotency_Key="r-1"))
        for answer in answers:
            assert answer.status_code == 202, answer.text
            assert (answer.json()["task_id"], answer.headers["idempotent-replayed"]) == (
                first.id,
                "true",
            )
        second = (await api.submit(said, Idempotency_Key="r-2")).json()
        again = await refund.options(idempotency_key="r-2").submit(order_id=1, cents=5)
        assert (again.id, again.replayed) == (second["task_id"], True)
        for task_id in (first.id, again.id):
            task = await api.service.engine.for_tenant(DEFAULT_TENANT).find(task_id)
            assert (task.queue, task.max_attempts, task.timeout_seconds) == ("billing", 2, 30.0)


async def test_a_type_that_was_registered_a_moment_ago_is_known(
    config: Config, type_ledger: TypeLedger
) -> None:
    async with open_api(config) as api:
        await type_ledger.register_types([replace(charge(), max_attempts=2)])

        async def is_known() -> bool:
            # a look may be under way that began before
            api.service.types._looked_at = float("-inf")
            said = (await api.submit(body({"order_id": 1, "cents": 500}))).json()
            return (said["queue"], said["max_attempts"]) == ("billing", 2)

        await until(is_known, seconds=30)
        problem(await api.submit(body({})), "payload_invalid")


async def test_unregistered_type_is_accepted(api: Api) -> None:
    answer = await api.submit({"type": "unheard", "payload": "of"})
    assert (answer.status_code, answer.json()["queue"]) == (202, "default")


async def test_strict_types_refuse_an_unregistered_type(
    config: Config, type_ledger: TypeLedger
) -> None:
    async with open_api(replace(config, strict_types=True)) as api:
        api.service.types._looked_at = float("-inf")
        problem(await api.submit(body({"order_id": 1, "cents": 1})), "unknown_type")
        await type_ledger.register_types([charge()])
        # Within a second the copy is not read again, for any number of submissions.
        problem(await api.submit(body({"order_id": 1, "cents": 1})), "unknown_type")
        api.service.types._looked_at = float("-inf")
        answer = await api.submit(body({"order_id": 1, "cents": 1}))
        assert (answer.status_code, answer.json()["queue"]) == (202, "billing")
        problem(await api.submit(body({"order_id": 1})), "payload_invalid")


async def test_many_unknown_names_cause_one_look(
    config: Config, type_ledger: TypeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    schemas = KnownTypes(type_ledger)
    list_types = type_ledger.list_types

    async def counted() -> list[TaskType]:
        nonlocal looks
        looks += 1
        return await list_types()

    monkeypatch.setattr(type_ledger, "list_types", counted)
    assert (
        await asyncio.gather(*(schemas.look_again(f"type-{n}") for n in range(50))) == [None] * 50
    )
    assert looks == 1


async def test_those_who_wait_for_a_look_that_fails_do_not_try_it_again(
    type_ledger: TypeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def fail_slowly() -> list[TaskType]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        raise ServerUnreachable

    monkeypatch.setattr(known_types, "LOOK_AGAIN_SECONDS", 0.04)
    monkeypatch.setattr(type_ledger, "list_types", fail_slowly)
    schemas = KnownTypes(type_ledger)
    answers = await asyncio.gather(
        *(schemas.look_again("charge") for _ in range(5)), return_exceptions=True
    )
    assert looks == 1
    assert [answer for answer in answers if answer is not None][1:] == []


async def test_the_copy_follows_the_ledger(
    api: Api, type_ledger: TypeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas = api.service.types
    before = schemas.known("charge")
    await schemas.refresh()
    assert schemas.known("charge") is before, "what has not changed is not compiled again"
    await type_ledger.register_types([charge("fast")])
    await schemas.refresh()
    assert (await api.submit(body({"order_id": 1, "cents": 1}))).json()["queue"] == "fast"


async def test_the_copy_is_refreshed_in_the_background(
    config: Config, type_ledger: TypeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_types, "REFRESH_SECONDS", 0.02)
    async with open_api(config) as api:
        assert api.service.types.known("charge") is None
        await type_ledger.register_types([charge()])
        async with asyncio.timeout(60):
            while api.service.types.known("charge") is None:  # noqa: ASYNC110 - the refresh has no event
                await asyncio.sleep(0.01)
        problem(await api.submit(body({})), "payload_invalid")


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"classes": []}, {"classes": [{"fields": 1}]}]
)
async def test_a_shape_that_cannot_be_used_stops_no_submission(
    api: Api, type_ledger: TypeLedger, schema: dict[str, Any]
) -> None:
    await type_ledger.register_types([charge(schema=schema)])
    with recorded() as events:
        await api.service.types.refresh()
    assert [event.fields["type"] for event in events if event.name == "schema.refused"] == [
        "charge"
    ]
    answer = await api.submit(body("anything"))
    assert (answer.status_code, answer.json()["queue"]) == (202, "billing")
