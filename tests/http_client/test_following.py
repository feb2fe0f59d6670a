"""A followed task tells each event once, over any number of streams."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.codec import new_task_id
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq_http import (
    AsyncClient,
    Attempt,
    Client,
    ForeignAnswer,
    ListedTask,
    Progress,
    TaskNotFound,
    TaskState,
    Unauthorized,
    Unreachable,
)
from leaseq_http.following import Parser
from support.http_clients import Either, Script, problem, scripted
from support.ledger import claim_task, errored, open_worker, promote_due, succeeded
from support.processes import Services

Kind = type[AsyncClient | Client]
TASK_ID = "0199d5a0-0000-7000-8000-000000000000"
STREAM = {"Content-Type": "text/event-stream"}


def state(name: str, event_id: str, **fields: Any) -> bytes:
    """An event `state`, as the service sends it."""
    times = dict.fromkeys(("started_at", "finished_at", "cancel_requested_at", "erased_at"))
    at = "2026-11-30T12:00:00Z"
    data = {
        "task_id": TASK_ID,
        "tenant": "default",
        "queue": "q",
        "type": "add",
        "state": name,
        "attempt": 1,
        "retry_count": 0,
        "created_at": at,
        "run_at": at,
        **times,
        "finished_at": at if name == "SUCCESS" else None,
        "worker_id": None,
        **fields,
    }
    return b"event: state\nid: %b\ndata: %b\n\n" % (event_id.encode(), msgspec.json.encode(data))


def stream(*pieces: bytes) -> httpx.Response:
    return httpx.Response(200, headers=STREAM, content=b"retry: 10\n\n" + b"".join(pieces))


async def test_states_attempts_and_progress_are_told(
    leaseq: Either, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    submitted = await leaseq.submit("charge", {"n": 1})
    worker_id = await open_worker(worker_ledger)
    claim = await claim_task(ledger, submitted.task_id, worker_id)
    await ledger.set_progress(claim, b'{"done":  1}')
    await ledger.settle([errored(claim, delay=0.0)])
    await promote_due(ledger, limit=10)
    following = asyncio.ensure_future(leaseq.events(submitted.task_id))
    claim = await claim_task(ledger, submitted.task_id, worker_id)
    await ledger.settle([succeeded(claim, b"[1,  2.50]")])
    events = [event.data for event in await following]
    assert [each.outcome for each in events if isinstance(each, Attempt)] == ["errored"]
    last = events[-1]
    assert isinstance(last, TaskState)
    assert (last.state, last.ended) == ("SUCCESS", True)
    assert last.result == msgspec.Raw(b"[1,  2.50]")
    assert not [each for each in events[:-1] if isinstance(each, TaskState) and each.ended]


async def test_ended_task_tells_its_end_and_nothing_behind_it(
    leaseq: Either, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    submitted = await leaseq.submit("charge", {"n": 1})
    claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
    await ledger.settle([succeeded(claim, b"1")])
    (end,) = await leaseq.events(submitted.task_id)
    assert (end.data.state, end.id is not None) == ("SUCCESS", True)
    assert await leaseq.events(submitted.task_id, last_event_id=end.id) == []
    with pytest.raises(TaskNotFound):
        await leaseq.events(new_task_id())


async def test_stream_outlasts_a_service_that_is_killed_and_replaced(
    address: str, services: Services, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    async with AsyncClient(address) as leaseq:
        submitted = await leaseq.submit("charge", {"n": 1})
        claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
        async with aclosing(leaseq.events(submitted.task_id)) as events:
            seen = [await anext(events)]
            (first,) = services.running
            await first.destroy()
            await ledger.settle([succeeded(claim, b"1")])
            second = await services.start("api", "--port", address.rpartition(":")[2])
            await second.hear("api.started")
            seen += [event async for event in events]
    told = [event.data.state for event in seen if isinstance(event.data, TaskState)]
    assert told == ["PROCESSING", "SUCCESS"]


async def test_all_tasks_are_watched_by_queue(
    kind: Kind, address: str, leaseq: Either, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    """A stream shows what happens after it has begun, which nothing announces."""
    async with AsyncClient(address) as watcher, aclosing(watcher.watch(queue="billing")) as events:
        first = asyncio.ensure_future(anext(events))
        while not first.done():
            await leaseq.submit("charge", {}, queue="mail")
            await leaseq.submit("charge", {}, queue="billing")
            await asyncio.wait({first}, timeout=0.25)
        shown = [first.result().data]
        assert isinstance(shown[0], ListedTask)
        await leaseq.cancel(shown[0].task_id)
        async for event in events:
            shown.append(event.data)
            if isinstance(event.data, ListedTask) and event.data.state == "CANCELLED":
                break
    seen = [each for each in shown if isinstance(each, ListedTask)]
    assert {each.queue for each in seen} == {"billing"}
    assert [each.state for each in seen if each.task_id == seen[0].task_id] == [
        "PENDING",
        "CANCELLED",
    ]


async def test_broken_watch_goes_on_until_it_cannot(kind: Kind) -> None:
    missed = b'event: missed\nid: 3\ndata: {"count":312}\n\n'
    script = Script(stream(missed), stream(missed), problem("key_revoked", 401))
    async with scripted(kind, script) as leaseq:
        with pytest.raises(Unauthorized):
            await leaseq.watch(queue="a", type="b")
    assert [each.headers.get("last-event-id") for each in script.requests] == [None, "3", "3"]
    assert {each.url.raw_path for each in script.requests} == {b"/api/events?queue=a&type=b"}


async def test_broken_stream_continues_behind_the_last_event(kind: Kind) -> None:
    script = Script(
        httpx.ConnectError("refused"),
        stream(b": still here\n\n", state("PENDING", "1"), state("SUCCESS", "2")[:-30]),
        problem("overloaded", 503),
        stream(
            b'event: of_tomorrow\nid: 5\ndata: {"colour":"red"}\n\n',
            b'event: progress\nid: 6\ndata: {"attempt":1,"progress":[1,\ndata: 2]}\n\n',
        ),
        stream(state("SUCCESS", "7", result=[1])),
    )
    async with scripted(kind, script) as leaseq:
        events = await leaseq.events(TASK_ID, last_event_id="0")
    sent = [each.headers.get("last-event-id") for each in script.requests]
    assert sent == ["0", "0", "1", "1", "6"]
    first, progress, last = events
    assert [event.id for event in events] == ["1", "6", "7"]
    assert (first.data.state, last.data.state, bytes(last.data.result)) == (
        "PENDING",
        "SUCCESS",
        b"[1]",
    )
    assert isinstance(progress.data, Progress)
    assert msgspec.json.decode(progress.data.progress) == [1, 2]


async def test_stream_ends_with_an_error_that_does_not_pass(kind: Kind) -> None:
    broken = stream(state("PENDING", "1"))
    async with scripted(kind, Script(broken, problem("key_revoked", 401))) as leaseq:
        with pytest.raises(Unauthorized):
            await leaseq.events(TASK_ID)
    async with scripted(kind, Script(httpx.ReadError("lost")), retry_seconds=0.2) as leaseq:
        with pytest.raises(Unreachable):
            await leaseq.events(TASK_ID)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<h1>Please log in</h1>"),
        httpx.Response(200, headers=STREAM, content=b"event: state\ndata: {}\n\n"),
    ],
)
async def test_stream_of_others_is_no_stream(kind: Kind, answer: httpx.Response) -> None:
    async with scripted(kind, Script(answer)) as leaseq:
        with pytest.raises(ForeignAnswer):
            await leaseq.events(TASK_ID)


SENT = (
    b"\xef\xbb\xbf: comment\r\nretry: 1500\r\n\r\nevent: state\rid: 1\rdata:  a\rdata\rdata:b\r\r"
    b"id\ndata: c\nunknown: x\nretry: soon\n\nevent: empty\n\ndata: cut off\n"
)


@given(st.lists(st.integers(0, len(SENT)), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    parser = Parser()
    places = [0, *sorted(cuts), len(SENT)]
    pieces = [SENT[a:b] for a, b in pairwise(places)]
    found = [event for piece in pieces for event in parser.feed(piece)]
    assert [(event.name, event.id, event.data) for event in found] == [
        ("state", "1", b" a\n\nb"),
        ("message", "", b"c"),
    ]
    assert parser.retry_seconds == 1.5
