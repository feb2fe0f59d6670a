"""A batch has an outcome for each submission, in order, also after losses."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from leaseq_http import (
    AsyncClient,
    Client,
    ForeignAnswer,
    IdempotencyKeyReused,
    PayloadInvalid,
    Submission,
    SubmissionInvalid,
    Submitted,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    batches,
)
from support.client import Client as Stores
from support.http_clients import Either, Losing, LosingAsync, Script, problem, scripted

Kind = type[AsyncClient | Client]
TASK_ID = "0199d5a0-0000-7000-8000-000000000000"


def recorded(key: str, *, replayed: bool = False) -> dict[str, Any]:
    task = {
        "task_id": TASK_ID,
        "type": "add",
        "queue": "default",
        "state": "PENDING",
        "idempotency_key": key,
        "created_at": "2026-11-30T12:00:00Z",
    }
    return {"status": 202, "replayed": replayed, "task": task}


def refused(code: str, status: int) -> dict[str, Any]:
    return {"status": status, "problem": json.loads(problem(code, status).content)}


def answer(*items: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"items": list(items)})


def keys_of(request: httpx.Request) -> list[str]:
    return [item["idempotency_key"] for item in json.loads(request.content)]


def submissions(*keys: str) -> list[Submission]:
    return [Submission("add", {"n": 1}, idempotency_key=key) for key in keys]


async def test_each_item_has_its_outcome_in_order(leaseq: Either) -> None:
    given = [
        Submission("charge", {"n": 1}, idempotency_key="a"),
        Submission("charge", {"n": 2}, queue="no queue"),
        Submission("charge", {"n": 1}, idempotency_key="a"),
        Submission("charge", {"n": 3}, idempotency_key="a"),
        Submission("charge", {"n": 4}, priority="low"),
    ]
    first, wrong, again, reused, last = await leaseq.submit_many(given)
    assert (first.replayed, again.replayed, again.task_id) == (False, True, first.task_id)
    assert (type(wrong), wrong.idempotency_key) == (SubmissionInvalid, given[1].idempotency_key)
    assert (type(reused), reused.task_id) == (IdempotencyKeyReused, first.task_id)
    assert (await leaseq.find(last.task_id)).priority == "low"
    assert await leaseq.submit_many([]) == []


async def test_lost_answers_of_batches_make_no_task_twice(
    kind: Kind, address: str, client: Stores
) -> None:
    asynchronous, blocking = LosingAsync(), Losing()
    asynchronous.losses = blocking.losses = 1
    async with httpx.AsyncClient(transport=asynchronous) as http:
        with httpx.Client(transport=blocking) as sync_http:
            leaseq = Either(
                AsyncClient(address, http=http)
                if kind is AsyncClient
                else Client(address, http=sync_http)
            )
            given = [Submission("charge", {"n": n}) for n in range(batches.MOST_ITEMS + 1)]
            outcomes = await leaseq.submit_many(given)
    assert [outcome.idempotency_key for outcome in outcomes] == [
        each.idempotency_key for each in given
    ]
    assert [outcome.replayed for outcome in outcomes] == [True] * batches.MOST_ITEMS + [False]
    assert await client.rows("select count(*) from leaseq.tasks") == [(len(given),)]


async def test_items_that_were_refused_for_a_passing_reason_are_sent_again(kind: Kind) -> None:
    script = Script(
        answer(
            recorded("a"),
            refused("server_unreachable", 503),
            refused("payload_invalid", 422),
            refused("idempotency_in_flight", 409),
        ),
        answer(recorded("b", replayed=True), refused("server_unreachable", 503)),
        answer(recorded("d")),
    )
    async with scripted(kind, script) as leaseq:
        first, second, wrong, fourth = await leaseq.submit_many(submissions("a", "b", "c", "d"))
    assert [keys_of(each) for each in script.requests] == [["a", "b", "c", "d"], ["b", "d"], ["d"]]
    assert [each.idempotency_key for each in (first, second, wrong, fourth)] == ["a", "b", "c", "d"]
    assert (type(wrong), second.replayed) == (PayloadInvalid, True)


async def test_items_that_are_still_refused_at_the_end_keep_their_error(kind: Kind) -> None:
    script = Script(answer(recorded("a"), refused("quota", 429)), answer(refused("quota", 429)))
    async with scripted(kind, script, retry_seconds=0.3) as leaseq:
        first, second = await leaseq.submit_many(submissions("a", "b"))
    assert (type(first), type(second)) == (Submitted, TooManyRequests)
    assert len(script.requests) > 1


async def test_failed_request_is_raised_only_where_nothing_was_recorded(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_ITEMS", 2)
    async with scripted(kind, Script(problem("key_revoked", 401))) as leaseq:
        with pytest.raises(Unauthorized):
            await leaseq.submit_many(submissions("a", "b", "c"))
    script = Script(answer(recorded("a"), recorded("b")), httpx.ConnectError("refused"))
    async with scripted(kind, script, retry_seconds=0.2) as leaseq:
        *first, last = await leaseq.submit_many(submissions("a", "b", "c"))
    assert [outcome.idempotency_key for outcome in first] == ["a", "b"]
    assert isinstance(last, Unreachable)


async def test_last_outcome_stands_for_a_rest_that_could_not_be_read(kind: Kind) -> None:
    async with scripted(kind, Script(answer(recorded("a"), refused("body_too_large", 413)))) as to:
        outcomes = await to.submit_many(submissions("a", "b", "c"))
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [
        None,
        "body_too_large",
        "body_too_large",
    ]


@pytest.mark.parametrize("items", [[], [recorded("a")] * 2, [{"status": 202}]])
async def test_answer_that_does_not_fit_is_foreign(kind: Kind, items: list[Any]) -> None:
    async with scripted(kind, Script(answer(*items))) as leaseq:
        try:
            (outcome,) = await leaseq.submit_many(submissions("a"))
        except ForeignAnswer as error:
            outcome = error
    assert isinstance(outcome, ForeignAnswer)


def test_batches_are_bounded_by_items_and_bytes() -> None:
    small = [Submission("add", {}) for _ in range(batches.MOST_ITEMS * 2 + 1)]
    assert [len(batch._submissions) for batch in batches.split(iter(small))] == [
        batches.MOST_ITEMS,
        batches.MOST_ITEMS,
        1,
    ]
    large = [Submission("add", "x" * 1_000_000) for _ in range(9)]
    found = list(batches.split(large))
    assert [len(batch._submissions) for batch in found] == [4, 4, 1]
    assert all(len(batch.call().body or b"") <= batches.MOST_BYTES + 2 for batch in found)
