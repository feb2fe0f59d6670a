"""A call is repeated where that is safe, and not before the service wants it."""

from __future__ import annotations

import ssl
from time import monotonic

import httpx
import pytest

from leaseq_http import (
    AsyncClient,
    Client,
    Conflict,
    Forbidden,
    ForeignAnswer,
    LeaseqHTTPError,
    RequestRefused,
    ServiceFault,
    ServiceUnavailable,
    TaskConflict,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    calls,
    routes,
)
from leaseq_http.answers import read_retry_after
from leaseq_http.retrying import FIRST_PAUSE, LONGEST_PAUSE, may_repeat, pause_before_next
from leaseq_http.submission import Submission
from support.http_clients import Script, problem, scripted

TASK_ID = "0199d5a0-0000-7000-8000-000000000000"
REPEATABLE = calls.submit(Submission("add", {}))
ONCE = calls.redrive(TASK_ID)
DATE = "Mon, 30 Nov 2026 12:00:00 GMT"
ACCEPTED = {
    "task_id": TASK_ID,
    "type": "add",
    "queue": "default",
    "state": "PENDING",
    "idempotency_key": "k",
    "created_at": "2026-11-30T12:00:00Z",
}
Kind = type[AsyncClient | Client]


def accepted() -> httpx.Response:
    return httpx.Response(202, json=ACCEPTED)


@pytest.mark.parametrize(
    ("error", "repeatable", "once"),
    [
        (Unreachable("reset", sent=True), True, False),
        (Unreachable("refused", sent=False), True, True),
        (Unreachable("not trusted", sent=False, final=True), False, False),
        (LeaseqHTTPError("", status=408), True, False),
        (LeaseqHTTPError("", status=429), True, True),
        (LeaseqHTTPError("", status=500), True, False),
        (LeaseqHTTPError("", status=502), True, False),
        (LeaseqHTTPError("", status=503, code="server_unreachable"), True, False),
        (LeaseqHTTPError("", status=503, code="overloaded"), True, True),
        (LeaseqHTTPError("", status=409, code="idempotency_in_flight"), True, False),
        (LeaseqHTTPError("", status=409, code="task_conflict"), False, False),
        *((LeaseqHTTPError("", status=status), False, False) for status in (200, 302, 400, 422)),
    ],
)
def test_call_is_repeated_only_where_it_is_safe(
    error: LeaseqHTTPError, repeatable: bool, once: bool
) -> None:
    assert (may_repeat(REPEATABLE, error), may_repeat(ONCE, error)) == (repeatable, once)


def test_only_a_redrive_and_two_deletions_are_not_repeatable() -> None:
    """Sent twice, each of the others does what it does when sent once. A second deletion finds
    nothing, which is an error."""
    alone = [name for name, each in routes.ROUTES.items() if not each.repeatable]
    assert alone == ["redrive", "delete_limit", "delete_schedule"]


def test_pauses_grow_to_a_bound_and_are_random() -> None:
    error = Unreachable("away")

    def pause(tried: int, drawn: float) -> float | None:
        return pause_before_next(REPEATABLE, error, tried=tried, left=60, random=lambda: drawn)

    assert [pause(tried, 1.0) for tried in (1, 2, 3)] == [FIRST_PAUSE * 2**n for n in range(3)]
    assert pause(1000, 1.0) == LONGEST_PAUSE
    assert (pause(5, 0.0), pause(5, 0.5)) == (0.0, FIRST_PAUSE * 8)


def test_retry_after_is_the_least_pause_and_is_given_up_where_it_is_too_long() -> None:
    error = LeaseqHTTPError("", status=429, retry_after=3.0)

    def pause(left: float) -> float | None:
        return pause_before_next(REPEATABLE, error, tried=1, left=left, random=lambda: 0.5)

    assert pause(10) == 3.0 + FIRST_PAUSE / 2
    assert pause(3) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Mon, 30 Nov 2026 12:01:30 GMT", "date": DATE}, 90.0),
        ({"retry-after": "Mon, 30 Nov 2026 11:00:00 GMT", "date": DATE}, 0.0),
        # The clock of this machine is not asked.
        ({"retry-after": "Mon, 30 Nov 2026 12:01:30 GMT"}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


async def test_submission_is_repeated_with_the_same_key_and_the_same_bytes(kind: Kind) -> None:
    script = Script(
        httpx.ReadTimeout("lost"),
        problem("overloaded", 503),
        httpx.Response(502, text="<h1>Bad Gateway</h1>"),
        problem("idempotency_in_flight", 409),
        accepted(),
    )
    async with scripted(kind, script) as leaseq:
        submitted = await leaseq.submit("add", {"n": 1})
    assert submitted.task_id == TASK_ID
    assert len(script.requests) == 5
    sent = {(each.content, each.headers["idempotency-key"]) for each in script.requests}
    ((body, key),) = sent
    assert body == b'{"type":"add","payload":{"n":1}}'
    assert len(key.strip('"')) == 36


async def test_retries_end_and_the_error_tells_the_key(kind: Kind) -> None:
    script = Script(httpx.ReadError("lost"))
    async with scripted(kind, script, retry_seconds=0.3) as leaseq:
        with pytest.raises(
            Unreachable, match=r"http://leaseq.example did not answer: lost"
        ) as raised:
            await leaseq.submit("add", {}, idempotency_key="order-7")
    assert raised.value.idempotency_key == "order-7"
    assert len(script.requests) > 1


async def test_no_time_for_retries_sends_once(kind: Kind) -> None:
    script = Script(problem("overloaded", 503, headers={"Retry-After": "1"}))
    async with scripted(kind, script, retry_seconds=0) as leaseq:
        with pytest.raises(ServiceUnavailable) as raised:
            await leaseq.find(TASK_ID)
    assert (raised.value.code, raised.value.status, raised.value.retry_after) == (
        "overloaded",
        503,
        1.0,
    )
    assert len(script.requests) == 1


async def test_redrive_is_not_repeated_where_it_may_have_arrived(kind: Kind) -> None:
    script = Script(httpx.ConnectError("refused"), httpx.ReadError("lost"))
    async with scripted(kind, script) as leaseq:
        with pytest.raises(Unreachable) as raised:
            await leaseq.redrive(TASK_ID)
    assert raised.value.sent
    assert len(script.requests) == 2


async def test_untrusted_certificate_is_final(kind: Kind) -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    script = Script(error)
    async with scripted(kind, script) as leaseq:
        with pytest.raises(Unreachable, match="certificate"):
            await leaseq.find(TASK_ID)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("task_conflict", 409, TaskConflict),
        ("of_tomorrow", 409, Conflict),
        ("of_tomorrow", 401, Unauthorized),
        ("of_tomorrow", 403, Forbidden),
        ("of_tomorrow", 429, TooManyRequests),
        ("of_tomorrow", 418, RequestRefused),
        ("of_tomorrow", 503, ServiceUnavailable),
        ("of_tomorrow", 501, ServiceFault),
    ],
)
async def test_problem_is_raised_as_its_class_with_its_code(
    kind: Kind, code: str, status: int, error: type[LeaseqHTTPError]
) -> None:
    async with scripted(kind, Script(problem(code, status)), retry_seconds=0) as leaseq:
        with pytest.raises(error) as raised:
            await leaseq.find(TASK_ID)
    assert type(raised.value) is error
    assert (raised.value.code, raised.value.status) == (code, status)
    assert (raised.value.detail, str(raised.value)) == (
        f"a detail of {code}",
        f"{code}: a detail of {code}",
    )


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<h1>Please log in</h1>"),
        httpx.Response(200, json={"task_id": 7}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}),
        httpx.Response(404, text="no such host"),
        httpx.Response(400, headers={"Content-Type": "application/problem+json"}, text="{"),
        httpx.Response(400, headers={"Content-Type": "application/problem+json"}, text="{}"),
    ],
)
async def test_answers_of_others_are_no_answers(kind: Kind, answer: httpx.Response) -> None:
    script = Script(answer)
    async with scripted(kind, script) as leaseq:
        with pytest.raises(ForeignAnswer) as raised:
            await leaseq.find(TASK_ID)
    assert (raised.value.code, raised.value.status) == ("foreign_answer", answer.status_code)
    assert len(script.requests) == 1


async def test_service_that_stops_answers_early_is_not_asked_without_pause(kind: Kind) -> None:
    script = Script(httpx.Response(200, json=UNFINISHED))
    async with scripted(kind, script) as leaseq:
        begun = monotonic()
        task = await leaseq.wait(TASK_ID, timeout=1.0)
    assert (task.state, task.ended) == ("PENDING", False)
    assert monotonic() - begun >= 1.0
    assert 1 < len(script.requests) <= 7


UNFINISHED = ACCEPTED | {
    "tenant": "default",
    "priority": "normal",
    "attempt": 0,
    "retry_count": 0,
    "crash_count": 0,
    "loss_count": 0,
    "hand_back_count": 0,
    "max_attempts": 5,
    "timeout_seconds": 60.0,
    "run_at": "2026-11-30T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "cancel_requested_at": None,
    "worker_id": None,
    "erased_at": None,
    "key_freed_at": None,
}
