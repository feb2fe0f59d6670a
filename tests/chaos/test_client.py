"""Clients record truthfully what an unreliable API did.

The API is a few lines of the test's own: what it does is scripted by key, one entry for each
request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leaseq_chaos.history import Event, Kind, read_history
from leaseq_chaos.workload import front
from leaseq_chaos.workload.clients import Clients
from leaseq_chaos.workload.plan import Operation

PATIENCE = 10.0
REASONS = {
    202: "Accepted",
    200: "OK",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Content",
    503: "Unavailable",
}


class Misbehaving:
    """An API that does to each key and path what its script says next; the last entry is
    repeated."""

    def __init__(self, script: dict[str, list[str]]) -> None:
        self.script = script
        self.bodies: dict[str, list[bytes]] = {}
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def aclose(self) -> None:
        self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                name, body = await self._request(reader)
                self.asked.append(name)
                self.was_asked.set()
                self.bodies.setdefault(name, []).append(body)
                if not await self._answer(writer, name):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        """The name of a request in the script: the key, or `METHOD path`."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = lines[0].split()
        return headers.get("idempotency-key") or f"{method} {path}", body

    async def _answer(self, writer: asyncio.StreamWriter, name: str) -> bool:
        entries = self.script[name]
        entry = entries.pop(0) if len(entries) > 1 else entries[0]
        match entry.split():
            case ["hang"]:
                await asyncio.sleep(3600)
            case ["reset"]:
                return False
            case ["cut"]:
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n{")
                await writer.drain()
                return False
            case ["garbage", http]:
                writer.write(answer(int(http), b"<html>"))
            case ["problem", http, code, *task]:
                writer.write(
                    answer(
                        int(http),
                        msgspec.json.encode(
                            {"code": code} | ({"task_id": task[0]} if task else {})
                        ),
                    )
                )
            case ["task", http, task, state, *replayed]:
                seen = {
                    "task_id": task,
                    "state": state,
                    "attempt": 1,
                    "retry_count": 0,
                    "crash_count": 0,
                    "loss_count": 2,
                }
                extra = "Idempotent-Replayed: true\r\n" if replayed else ""
                writer.write(answer(int(http), msgspec.json.encode(seen), extra))
            case _:
                raise AssertionError(entry)
        await writer.drain()
        return True


def answer(http: int, body: bytes, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {http} {REASONS[http]}\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


@asynccontextmanager
async def misbehaving(*scripts: dict[str, list[str]]) -> AsyncIterator[list[Misbehaving]]:
    apis = [Misbehaving(script) for script in scripts]
    try:
        for api in apis:
            await api.start()
        yield apis
    finally:
        for api in apis:
            await api.aclose()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "TIMEOUT_SECONDS", 0.3)


def op(key: str | None, **what: Any) -> Operation:
    usual: dict[str, Any] = {
        "at": 0.0,
        "client": 0,
        "type": "note",
        "payload": {"n": 1},
        "key": key,
    }
    return Operation(**(usual | what))


async def history_of(
    urls: list[str], plan: Iterable[Operation], directory: Path
) -> tuple[list[Event], Clients]:
    clients = Clients(urls, history=directory, keys={})
    await clients.start(plan)
    assert await clients.finish(patience=PATIENCE), "the clients did not finish"
    return read_history(directory), clients


def told(events: Iterable[Event], name: str) -> list[tuple[str, Any]]:
    return [(event.kind.value, event.value) for event in events if event.op == name]


SAID = {"type": "note", "payload": {"n": 1}, "variant": "a"}


async def test_an_acknowledgement_and_a_replay(tmp_path: Path) -> None:
    script = {"k": ["task 202 t1 PENDING", "task 202 t1 SUCCESS replayed"]}
    async with misbehaving(script) as (api,):
        events, clients = await history_of([api.url], [op("k"), op("k")], tmp_path)
    assert [(e.kind, e.key, e.task) for e in events] == [
        (Kind.INVOKE, "k", None),
        (Kind.OK, "k", "t1"),
        (Kind.INVOKE, "k", None),
        (Kind.OK, "k", "t1"),
    ]
    assert [e.value for e in events] == [
        SAID,
        {"state": "PENDING", "replayed": False},
        SAID,
        {"state": "SUCCESS", "replayed": True},
    ]
    assert {e.process for e in events} == {"client-0"}
    assert (clients.counts.submitted, clients.counts.acknowledged, clients.counts.replayed) == (
        2,
        2,
        1,
    )


@pytest.mark.parametrize(
    "trouble",
    ["hang", "reset", "cut", "problem 503 server_unreachable", "garbage 503", "garbage 202"],
)
async def test_unknown_reply_is_info_and_is_sent_again_by_another_process(
    tmp_path: Path, trouble: str
) -> None:
    async with misbehaving({"k": [trouble, trouble, "task 202 t1 PENDING"]}) as (api,):
        events, clients = await history_of([api.url], [op("k")], tmp_path)
    assert [e.kind.value for e in events] == ["invoke", "info", "invoke", "info", "invoke", "ok"]
    assert [e.process for e in events] == [
        "client-0",
        "client-0",
        "client-0.2",
        "client-0.2",
        "client-0.3",
        "client-0.3",
    ]
    assert {e.key for e in events} == {"k"}
    assert all(e.value["error"] for e in events if e.kind is Kind.INFO)
    assert len(set(api.bodies["k"])) == 1, "the same bytes every time"
    assert len(api.bodies["k"]) == 3
    assert clients.counts.infos == 2
    assert clients.counts.submitted == 1


async def test_an_api_that_is_not_there_is_left_for_the_next_one(tmp_path: Path) -> None:
    async with misbehaving({}, {"k": ["task 202 t1 PENDING"], "k2": ["task 202 t2 PENDING"]}) as (
        gone,
        there,
    ):
        urls = [gone.url, there.url]
        await gone.aclose()
        events, _ = await history_of(urls, [op("k"), op("k2")], tmp_path)
    assert [e.kind.value for e in events] == ["invoke", "info", "invoke", "ok", "invoke", "ok"], (
        "it stays with the one that answers"
    )
    assert there.asked == ["k2", "k"], "what has to be tried again waits a little"


async def test_without_a_key_nothing_is_sent_twice(tmp_path: Path) -> None:
    async with misbehaving({"POST /api/tasks": ["reset", "task 202 t1 PENDING"]}) as (api,):
        events, _ = await history_of([api.url], [op(None)], tmp_path)
    assert told(events, "submit")[0] == ("invoke", SAID)
    assert [e.kind.value for e in events] == ["invoke", "info"]
    assert len(api.asked) == 1


async def test_in_flight_is_refused_and_asked_again(tmp_path: Path) -> None:
    async with misbehaving(
        {"k": ["problem 409 idempotency_in_flight", "task 202 t1 PENDING replayed"]}
    ) as (api,):
        events, _ = await history_of([api.url], [op("k")], tmp_path)
    assert [(e.kind.value, e.process) for e in events] == [
        ("invoke", "client-0"), ("fail", "client-0"), ("invoke", "client-0"), ("ok", "client-0")
    ]  # fmt: skip
    assert events[1].value == {"code": "idempotency_in_flight", "http": 409}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (
            "problem 422 idempotency_key_reused t7",
            {"code": "idempotency_key_reused", "http": 422, "task": "t7"},
        ),
        ("problem 422 payload_invalid", {"code": "payload_invalid", "http": 422}),
        ("garbage 404", {"code": "http_404", "http": 404}),
    ],
)
async def test_a_refusal_is_final(tmp_path: Path, entry: str, value: dict[str, Any]) -> None:
    async with misbehaving({"k": [entry, "task 202 t1 PENDING"]}) as (api,):
        events, clients = await history_of(
            [api.url], [op("k", variant="b", delay_seconds=2.0)], tmp_path
        )
    assert told(events, "submit") == [
        ("invoke", SAID | {"variant": "b", "delay_seconds": 2.0}),
        ("fail", value),
    ]
    assert msgspec.json.decode(api.bodies["k"][0]) == {
        "type": "note",
        "payload": {"n": 1},
        "delay_seconds": 2.0,
    }
    assert clients.counts.refused == 1


async def test_a_task_is_read_through_the_other_api_and_followed_to_its_end(tmp_path: Path) -> None:
    reads = [
        "task 200 t1 PENDING",
        "problem 503 server_unreachable",
        "task 200 t1 PROCESSING",
        "task 200 t1 SUCCESS",
    ]
    async with misbehaving({"k": ["task 202 t1 PENDING"]}, {"GET /api/tasks/t1": reads}) as (
        first,
        second,
    ):
        # after the 503 it changes places
        first.script["GET /api/tasks/t1"] = second.script["GET /api/tasks/t1"]
        events, clients = await history_of(
            [first.url, second.url], [op("k", follow=True)], tmp_path
        )
    seen = [value for kind, value in told(events, "read") if kind == "ok"]
    assert seen[0] == {
        "state": "PENDING",
        "attempt": 1,
        "retry_count": 0,
        "crash_count": 0,
        "loss_count": 2,
    }
    assert [value["state"] for value in seen] == ["PENDING", "PROCESSING", "SUCCESS"]
    assert [kind for kind, _ in told(events, "read")].count("info") == 1
    assert {e.task for e in events if e.op == "read"} == {"t1"}
    assert first.asked[0] == "k"
    assert second.asked[:2] == ["GET /api/tasks/t1"] * 2
    assert clients.counts.ended == {"SUCCESS": 1}


async def test_read_that_is_refused_or_answers_another_task_ends(tmp_path: Path) -> None:
    script = {
        "k": ["task 202 t1 PENDING"],
        "k2": ["task 202 t2 PENDING"],
        "GET /api/tasks/t1": ["problem 404 task_not_found t1"],
        "GET /api/tasks/t2": ["task 200 t3 SUCCESS"],
    }
    async with misbehaving(script) as (api,):
        events, clients = await history_of(
            [api.url], [op("k", follow=True), op("k2", follow=True)], tmp_path
        )
    refused = {e.task: e.value for e in events if e.kind is Kind.FAIL}
    assert refused == {
        "t1": {"code": "task_not_found", "http": 404, "task": "t1"},
        "t2": {"code": "answer_of_another_task", "http": 200, "task": "t3"},
    }
    assert not clients.counts.ended


async def test_a_cancel_is_repeated_until_it_is_answered(tmp_path: Path) -> None:
    script = {
        "k": ["task 202 t1 PENDING"],
        "k2": ["task 202 t2 PENDING"],
        "POST /api/tasks/t1/cancel": ["cut", "task 200 t1 CANCELLED"],
        "POST /api/tasks/t2/cancel": ["problem 409 task_conflict t2"],
    }
    async with misbehaving(script) as (api,):
        events, _ = await history_of(
            [api.url], [op("k", cancel_after=0.01), op("k2", cancel_after=0.0)], tmp_path
        )
    assert [e.kind.value for e in events if e.op == "cancel" and e.task == "t1"] == [
        "invoke",
        "info",
        "invoke",
        "ok",
    ]
    assert [e.value for e in events if e.kind is Kind.OK and e.op == "cancel"] == [
        {"state": "CANCELLED"}
    ]
    assert [e.value["code"] for e in events if e.task == "t2" and e.kind is Kind.FAIL] == [
        "task_conflict"
    ]


async def test_twins_are_under_way_at_the_same_time(tmp_path: Path) -> None:
    async with misbehaving({"k": ["hang", "hang", "hang", "task 202 t1 PENDING"]}) as (api,):
        events, _ = await history_of([api.url], [op("k", client=n) for n in range(3)], tmp_path)
    assert [e.kind.value for e in events[:4]] == ["invoke", "invoke", "invoke", "info"]
    assert {e.process for e in events[:3]} == {"client-0", "client-1", "client-2"}
    for number in range(3):
        own = [e.kind.value for e in events if e.process.startswith(f"client-{number}")]
        assert own == ["invoke", "info", "invoke", "ok"], "one thing at a time"


async def test_a_run_that_breaks_off_ends_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "TIMEOUT_SECONDS", 60)
    async with misbehaving({"k": ["hang"]}) as (api,):
        clients = Clients([api.url], history=tmp_path, keys={})
        await clients.start([op("k"), op("k", at=3600.0)])
        await api.was_asked.wait()
        assert not await clients.finish(patience=0.05)
    assert [e.kind.value for e in read_history(tmp_path)] == ["invoke", "info"]


async def test_the_plan_sets_the_time(tmp_path: Path) -> None:
    async with misbehaving({"k1": ["task 202 t1 PENDING"], "k2": ["task 202 t2 PENDING"]}) as (
        api,
    ):
        events, _ = await history_of([api.url], [op("k1", at=0.05), op("k2", at=0.3)], tmp_path)
    invoked = [e.at for e in events if e.kind is Kind.INVOKE]
    ((first, second),) = pairwise(invoked)
    assert 0.2e9 < second - first < 2e9
