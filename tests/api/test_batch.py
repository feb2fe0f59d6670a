"""Each item of a batch has its own outcome, in order."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.errors import ServerUnreachable
from leaseq.ledger.schema import migrate
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.model import DEFAULT_TENANT, Submission
from leaseq.operations.submission import accept
from leaseq.payloads.shapes import shape_of
from leaseq_api.batch.route import MOST_BATCHES, NDJSON, PATH
from leaseq_api.batch.schemas import MAX_BYTES, MAX_ITEMS, BatchItem
from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import LargeBody
from support.api import Api, open_api, problem
from support.keys import issue
from support.raw_http import serving

LINES = {"Content-Type": "application/x-ndjson"}
ITEM: dict[str, Any] = {"type": "add", "payload": {"n": 1}}


class Add(msgspec.Struct):
    n: int


async def post(api: Api, content: bytes, **headers: str) -> httpx.Response:
    """A batch in JSON, or what the headers say."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.post(
        "/api/tasks/batch", content=content, headers={"Content-Type": "application/json"} | named
    )


async def outcomes(api: Api, items: list[Any], *, by_line: bool = False) -> list[dict[str, Any]]:
    """The outcomes of a batch that must be answered with 200."""
    if by_line:
        raw = b"\n".join(map(msgspec.json.encode, items))
        answer = await post(api, raw, **LINES)
    else:
        answer = await post(api, msgspec.json.encode(items))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def submission(api: Api, item: dict[str, Any]) -> Submission:
    """The same item, as the engine takes it."""
    body = msgspec.json.decode(msgspec.json.encode(item), type=BatchItem)
    request = body.to_request(key=body.idempotency_key)
    return accept(request, api.service.config, tenant=DEFAULT_TENANT)


async def recorded(plain: Connection) -> list[str]:
    cursor = await plain.execute("select id::text from leaseq.tasks")
    return [row[0] for row in await cursor.fetchall()]


@pytest.mark.parametrize("by_line", [False, True])
async def test_every_item_is_recorded_and_answered_in_order(
    api: Api, plain: Connection, by_line: bool
) -> None:
    items = [ITEM | {"payload": number, "queue": f"q{number % 3}"} for number in range(1203)]
    found = await outcomes(api, items, by_line=by_line)
    assert [item["status"] for item in found] == [202] * 1203
    assert [item["task"]["queue"] for item in found] == [item["queue"] for item in items]
    assert not any(item["replayed"] for item in found)
    ids = [item["task"]["task_id"] for item in found]
    assert sorted(ids) == sorted(await recorded(plain))
    for number in (0, 499, 500, 1202):
        assert (await api.get(f"/api/tasks/{ids[number]}"))["payload"] == number


WRONG: dict[str, tuple[Any, int, str, str | None]] = {
    "not an object": (17, 422, "submission_invalid", ""),
    "null": (None, 422, "submission_invalid", ""),
    "no type": ({"payload": 1}, 422, "submission_invalid", "/type"),
    "no payload": ({"type": "add"}, 422, "submission_invalid", "/payload"),
    "an unknown field": (ITEM | {"colour": 1}, 422, "submission_invalid", "/colour"),
    "a bad type": (ITEM | {"type": "a b"}, 422, "submission_invalid", None),
    "a bad priority": (ITEM | {"priority": "x"}, 422, "submission_invalid", "/priority"),
    "both times": (
        ITEM | {"delay_seconds": 1, "run_at": "2100-01-01T00:00:00Z"},
        422,
        "submission_invalid",
        None,
    ),
    "a NUL": (ITEM | {"payload": "\0"}, 422, "payload_invalid", "/payload"),
    "an empty key": (ITEM | {"idempotency_key": ""}, 400, "idempotency_key_invalid", None),
    "a long key": (ITEM | {"idempotency_key": "k" * 256}, 400, "idempotency_key_invalid", None),
    "a key of bytes": (ITEM | {"idempotency_key": "é"}, 400, "idempotency_key_invalid", None),
    "a key of a number": (
        ITEM | {"idempotency_key": 1},
        422,
        "submission_invalid",
        "/idempotency_key",
    ),
}


@pytest.mark.parametrize("by_line", [False, True])
async def test_an_item_that_is_wrong_fails_alone(
    api: Api, plain: Connection, by_line: bool
) -> None:
    items = [item for wrong, *_ in WRONG.values() for item in (ITEM, wrong)]
    found = await outcomes(api, [*items, ITEM], by_line=by_line)
    for (name, (_, status, code, pointer)), outcome in zip(WRONG.items(), found[1::2], strict=True):
        assert (outcome["status"], outcome["problem"]["code"]) == (status, code), name
        assert outcome["problem"].get("pointer") == pointer, name
        assert "task" not in outcome, name
    assert [outcome["status"] for outcome in found[::2]] == [202] * (len(WRONG) + 1)
    assert len(await recorded(plain)) == len(WRONG) + 1


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "submission_invalid"),
    "an object": (b'{"type":"add","payload":1}', "submission_invalid"),
    "no end": (b"[%b", "json_invalid"),
    "no end after a comma": (b"[%b,", "json_invalid"),
    "a comma before the end": (b"[%b,]", "json_invalid"),
    "only a comma": (b"[,]", "json_invalid"),
    "two commas": (b"[%b,,%b]", "json_invalid"),
    "no comma": (b"[%b %b]", "json_invalid"),
    "another bracket": (b"[%b}", "json_invalid"),
    "something behind": (b"[%b] x", "json_invalid"),
    "a second array": (b"[%b][%b]", "json_invalid"),
    "an item that is not JSON": (b'[%b,{"type":"add","payload":x},%b]', "json_invalid"),
    "an item with other brackets": (b'[%b,{"type":"add","payload":[}],%b]', "json_invalid"),
    "an item with other brackets that is wrong, too": (b'[%b,{"type":1,"x":[}]', "json_invalid"),
    "a string without end": (b'[%b,{"type":"add","payload":"},%b]', "json_invalid"),
    "bytes": (b"[%b,\xff]", "json_invalid"),
    "a byte order mark": (b"\xef\xbb\xbf[%b]", "submission_invalid"),
    "depth": (b"[%b," + b"[" * 100_000 + b"]" * 100_000 + b"]", "json_invalid"),
    "NaN": (b"[%b,NaN]", "json_invalid"),
}


async def test_an_array_that_is_not_json_records_nothing(api: Api, plain: Connection) -> None:
    for name, (raw, code) in BROKEN.items():
        sent = raw.replace(b"%b", msgspec.json.encode(ITEM))
        answer = await post(api, sent)
        assert answer.json()["code"] == code, name
        problem(answer, code)
    assert await recorded(plain) == []


async def test_a_line_that_is_not_json_fails_alone(api: Api, plain: Connection) -> None:
    good = msgspec.json.encode(ITEM)
    raw = [
        good,
        b"{",
        b"\xff",
        b"",
        b" \t\r",
        good + b"\r",
        b"NaN",
        good + good,
        b"[" * 99_999,
        good,
    ]
    answer = await post(api, b"\n".join(raw), **LINES)
    found = answer.json()["items"]
    codes = [item.get("problem", {}).get("code") for item in found]
    json_invalid = "json_invalid"
    assert codes == [
        None,
        json_invalid,
        json_invalid,
        None,
        *[json_invalid] * 2,
        "submission_invalid",
        None,
    ]
    assert len(await recorded(plain)) == 3


@pytest.mark.parametrize("raw", [b"", b"\n", b" \r\n\n"])
async def test_no_lines_are_no_items(api: Api, raw: bytes) -> None:
    answer = await post(api, raw, **LINES)
    assert (answer.status_code, answer.json()) == (200, {"items": []})
    answer = await post(api, raw, **LINES, Accept="application/x-ndjson")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_empty_array_has_no_outcomes(api: Api) -> None:
    assert await outcomes(api, []) == []


async def test_outcomes_are_lines_where_the_client_accepts_only_lines(api: Api) -> None:
    raw = msgspec.json.encode([ITEM, 1, ITEM])
    answer = await post(api, raw, Accept="application/x-ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.content.split(b"\n")
    assert [msgspec.json.decode(line)["status"] for line in lines[:-1]] == [202, 422, 202]
    assert lines[-1] == b""


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, "media_type_unsupported"),
        ({"Content-Type": "application/x-ndjsonx"}, "media_type_unsupported"),
        ({"Content-Type": "application/x-ndjson; charset=latin-1"}, "media_type_unsupported"),
        ({"Content-Encoding": "gzip"}, "media_type_unsupported"),
        (LINES | {"Content-Encoding": "gzip"}, "media_type_unsupported"),
        ({"Idempotency-Key": "k"}, "idempotency_key_invalid"),
    ],
)
async def test_a_batch_whose_head_is_wrong_records_nothing(
    api: Api, plain: Connection, headers: dict[str, str], code: str
) -> None:
    refused = problem(await post(api, msgspec.json.encode([ITEM]), **headers), code)
    if "must have" in refused["detail"]:
        assert "application/json or application/x-ndjson" in refused["detail"]
    assert await recorded(plain) == []


async def test_lines_after_the_revocation_of_their_key_are_not_recorded(
    guarded: Api, plain: Connection
) -> None:
    issued = await issue(guarded, "submit")
    ring = guarded.service.authenticator.keys
    assert ring is not None
    line = msgspec.json.encode(ITEM) + b"\n"
    piece = b"%x\r\n%b\r\n" % (len(line), line)
    head = (
        b"POST /api/tasks/batch HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % issued.text.encode()
    )
    bodies = {PATH: LargeBody(MAX_BYTES, NDJSON)}
    async with serving(cast(Application, guarded.app), large_bodies=bodies) as served:
        client = await served.connect()
        client.send(head + piece)
        await served.until(lambda: guarded.service.batches == 1)
        await guarded.service.engine.access.revoke_key(issued.key.id)
        await ring._refresh()
        client.send(piece + b"0\r\n\r\n")
        answer = await client.answer()
    first, last = msgspec.json.decode(answer.body)["items"]
    assert first["status"] == 202
    assert (last["status"], last["problem"]["code"]) == (401, "key_revoked")
    assert len(await recorded(plain)) == 1


async def test_the_address_takes_no_query_and_no_other_method(api: Api) -> None:
    problem(await api.client.post("/api/tasks/batch?x=1", json=[ITEM]), "parameter_invalid")
    for method in ("GET", "DELETE"):
        answer = await api.client.request(method, "/api/tasks/batch")
        problem(answer, "method_not_allowed")
        assert answer.headers["allow"] == "OPTIONS, POST"
    answer = await api.client.options("/api/tasks/batch")
    assert answer.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("by_line", [False, True])
async def test_ten_thousand_items_are_a_batch_and_one_more_is_not(
    api: Api, plain: Connection, by_line: bool
) -> None:
    item = msgspec.json.encode(ITEM)
    found = await outcomes(api, [ITEM] * MAX_ITEMS, by_line=by_line)
    assert [outcome["status"] for outcome in found] == [202] * MAX_ITEMS
    assert len(await recorded(plain)) == MAX_ITEMS
    if by_line:
        answer = await post(api, b"\n".join([item] * (MAX_ITEMS + 7)), **LINES)
        *found, last = answer.json()["items"]
        assert [outcome["status"] for outcome in found] == [202] * MAX_ITEMS
        assert (last["status"], last["problem"]["code"]) == (413, "batch_too_large")
        assert len(await recorded(plain)) == 2 * MAX_ITEMS
    else:
        answer = await post(api, b"[" + b",".join([item] * (MAX_ITEMS + 1)) + b"]")
        problem(answer, "batch_too_large")
        assert len(await recorded(plain)) == MAX_ITEMS


@pytest.mark.parametrize("by_line", [False, True])
async def test_an_item_that_is_too_large_fails_alone(config: Config, by_line: bool) -> None:
    large = ITEM | {"payload": "x" * 2_000}
    async with open_api(replace(config, payload_max_bytes=2_000)) as api:
        found = await outcomes(api, [ITEM, large, ITEM], by_line=by_line)
    assert [outcome["status"] for outcome in found] == [202, 413, 202]
    assert found[1]["problem"]["code"] == "payload_too_large"


@pytest.mark.parametrize("by_line", [False, True])
async def test_a_key_is_one_task_within_a_batch_and_beyond(
    api: Api, plain: Connection, by_line: bool
) -> None:
    """Also where its items are in different chunks, which are not written at the same time then."""
    items = [
        ITEM | {"payload": number % 600, "idempotency_key": f"key {number % 600}"}
        for number in range(1300)
    ]
    items[900] |= {"payload": "other"}
    found = await outcomes(api, items, by_line=by_line)
    first = {
        item["idempotency_key"]: outcome
        for item, outcome in zip(items, found, strict=True)
        if not outcome.get("replayed", True)
    }
    assert len(first) == 600
    for number, (item, outcome) in enumerate(zip(items, found, strict=True)):
        task_id = first[item["idempotency_key"]]["task"]["task_id"]
        if number == 900:
            assert outcome["problem"]["code"] == "idempotency_key_reused"
            assert outcome["problem"]["task_id"] == task_id
        else:
            assert (outcome["status"], outcome["replayed"]) == (202, number >= 600)
            assert outcome["task"]["task_id"] == task_id
            assert outcome["task"]["idempotency_key"] == item["idempotency_key"]
    again = await outcomes(api, items, by_line=not by_line)
    assert [item.get("task", {}).get("task_id") for item in again] == [
        item.get("task", {}).get("task_id") for item in found
    ]
    assert all(item.get("replayed", True) for item in again)
    assert len(await recorded(plain)) == 600


async def test_racing_batches_with_the_same_keys_get_the_same_tasks(
    config: Config, api: Api, plain: Connection
) -> None:
    items = [ITEM | {"idempotency_key": f"key-{number}"} for number in range(700)]
    async with open_api(config) as other:
        found = await asyncio.gather(
            *(
                outcomes(
                    (api, other)[turn % 2], items if turn < 4 else items[::-1], by_line=turn % 4 > 1
                )
                for turn in range(8)
            )
        )
    tasks: dict[str, set[str]] = {}
    fresh = 0
    for batch in found:
        for outcome in batch:
            if outcome["status"] == 409:
                assert outcome["problem"]["code"] == "idempotency_in_flight"
                continue
            assert outcome["status"] == 202
            fresh += not outcome["replayed"]
            tasks.setdefault(outcome["task"]["idempotency_key"], set()).add(
                outcome["task"]["task_id"]
            )
    assert fresh == 700
    assert [len(ids) for ids in tasks.values()] == [1] * 700
    assert len(await recorded(plain)) == 700


async def test_a_key_that_another_transaction_holds_fails_alone(
    api: Api, plain: Connection, config: Config
) -> None:
    async with await psycopg.AsyncConnection.connect(str(config.postgres_url)) as conn:
        held = ITEM | {"idempotency_key": "held"}
        await api.service.engine.submit_within(submission(api, held), conn)
        free = [ITEM | {"idempotency_key": f"key-{number}"} for number in range(20)]
        found = await outcomes(api, [*free[:10], held, *free[10:]])
        assert [outcome["status"] for outcome in found] == [202] * 10 + [409] + [202] * 10
        assert found[10]["problem"]["code"] == "idempotency_in_flight"
        await conn.rollback()
    assert [outcome["status"] for outcome in await outcomes(api, [held])] == [202]


async def test_where_keys_are_required_an_item_without_one_fails_alone(config: Config) -> None:
    async with open_api(replace(config, require_idempotency_key=True)) as api:
        found = await outcomes(api, [ITEM | {"idempotency_key": "a"}, ITEM])
        assert [outcome["status"] for outcome in found] == [202, 400]
        assert found[1]["problem"]["code"] == "idempotency_key_invalid"


async def test_items_belong_to_the_tenant_of_the_request(api: Api) -> None:
    item = ITEM | {"idempotency_key": "a"}
    raw = msgspec.json.encode([item])
    ids = set()
    for headers in ({}, {"Leaseq-Tenant": "default"}, {}):
        (outcome,) = (await post(api, raw, **headers)).json()["items"]
        ids.add(outcome["task"]["task_id"])
    assert len(ids) == 1


async def test_too_many_batches_are_refused(api: Api, plain: Connection) -> None:
    api.service.batches = MOST_BATCHES
    problem(await post(api, msgspec.json.encode([ITEM])), "overloaded")
    api.service.batches = 0
    assert await recorded(plain) == []


async def test_a_payload_is_checked_by_its_type(config: Config, type_ledger: TypeLedger) -> None:
    await type_ledger.register_types([TaskType("add", "sums", shape_of(Add))])
    async with open_api(config) as api:
        found = await outcomes(api, [ITEM, ITEM | {"payload": {"n": "s3cret"}}])
    assert [outcome["status"] for outcome in found] == [202, 422]
    assert found[0]["task"]["queue"] == "sums"
    assert found[1]["problem"]["code"] == "payload_invalid"
    assert found[1]["problem"]["pointer"] == "/payload/n"
    assert "s3cret" not in str(found[1])


async def test_without_postgres_the_batch_is_refused(
    config: Config, own_postgres: PostgresServer
) -> None:
    await migrate(own_postgres.url)
    own = replace(config, postgres_url=own_postgres.url, statement_timeout_seconds=2)
    async with open_api(own) as api:
        await outcomes(api, [ITEM])
        await asyncio.to_thread(own_postgres.stop, "immediate")
        raw = msgspec.json.encode(ITEM)
        answer = problem(await post(api, b"[" + raw + b"]"), "server_unreachable")
        assert "127.0.0.1" not in answer["detail"]
        problem(await post(api, b"\n".join([raw] * 1200), **LINES), "server_unreachable")
        assert api.service.batches == 0


async def test_postgres_that_goes_away_in_the_middle_is_told_for_each_item(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_many = api.service.engine.submit_many
    turns = 0

    async def failing(batch: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns > 1:
            raise ServerUnreachable("connection to 10.0.0.7 failed")
        return await submit_many(batch)

    client = api.service.engine.for_tenant(None)
    client.submit_many = failing
    monkeypatch.setattr(api.service, "tasks_of", lambda scope: client)
    items = [ITEM | {"idempotency_key": f"key-{number}"} for number in range(1700)]
    found = await outcomes(api, [*items[:1600], 1, *items[1601:]], by_line=True)
    assert [outcome["status"] for outcome in found] == [202] * 500 + [503] * 1200
    assert turns <= 3, "later chunks are not tried"
    assert {outcome["problem"]["code"] for outcome in found[500:]} == {"server_unreachable"}
    assert "10.0.0.7" not in str(found)
    assert len(await recorded(plain)) == 500
    monkeypatch.undo()
    found = await outcomes(api, items, by_line=True)
    assert [outcome["replayed"] for outcome in found] == [True] * 500 + [False] * 1200
