"""Requests become submissions with defaults, or are refused."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import IdempotencyKeyInvalid, PayloadInvalid, PayloadTooLarge, SubmissionInvalid
from leaseq.model import DEFAULT_TENANT, Priority, TypeDefaults
from leaseq.operations.submission import Request, accept
from leaseq.payloads.known_type import KnownType
from support.requests import request_of

CONFIG = Config(max_attempts=7, timeout_seconds=77.0, payload_max_bytes=100)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def _request(**said: Any) -> Request:
    return request_of(**said)


def test_submission_without_options_has_the_defaults() -> None:
    accepted = accept(
        _request(), CONFIG, tenant=DEFAULT_TENANT, known=KnownType(TypeDefaults(queue="sums"))
    )

    assert (accepted.type, accepted.payload, accepted.queue, accepted.tenant) == (
        "add",
        b'{"n":1}',
        "sums",
        "default",
    )
    assert (accepted.priority, accepted.max_attempts, accepted.timeout_seconds) == (
        Priority.NORMAL,
        7,
        77.0,
    )
    assert (accepted.idempotency_key, accepted.fingerprint) == (None, b"")


def test_options_of_a_type_win_over_the_configuration() -> None:
    accepted = accept(
        _request(),
        CONFIG,
        tenant=DEFAULT_TENANT,
        known=KnownType(TypeDefaults(max_attempts=2, timeout_seconds=30.0)),
    )
    assert (accepted.queue, accepted.max_attempts, accepted.timeout_seconds) == ("default", 2, 30.0)
    accepted = accept(
        _request(),
        CONFIG,
        tenant=DEFAULT_TENANT,
        known=KnownType(TypeDefaults(timeout_seconds=30.0)),
    )
    assert (accepted.max_attempts, accepted.timeout_seconds) == (7, 30.0)


def test_explicit_options_win() -> None:
    accepted = accept(
        _request(
            queue="q",
            priority="high",
            max_attempts=1,
            timeout_seconds=0.5,
            delay_seconds=3.0,
            expires_at=NOON,
        ),
        CONFIG,
        tenant=DEFAULT_TENANT,
        known=KnownType(TypeDefaults(queue="sums", max_attempts=2, timeout_seconds=30.0)),
    )

    assert (accepted.queue, accepted.priority, accepted.max_attempts) == ("q", Priority.HIGH, 1)
    assert (accepted.timeout_seconds, accepted.delay_seconds, accepted.expires_at) == (
        0.5,
        3.0,
        NOON,
    )


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"type": ""}, "type must be"),
        ({"type": "a b"}, "type must be"),
        ({"type": "a\n"}, "type must be"),
        ({"type": "x" * 129}, "type must be"),
        ({"type": "é"}, "type must be"),
        ({"queue": ""}, "queue must be"),
        ({"queue": "a{b}"}, "queue must be"),
        ({"queue": "a:b"}, "queue must be"),
        ({"queue": "a*"}, "queue must be"),
        ({"priority": "urgent"}, "priority must be"),
        ({"priority": ""}, "priority must be"),
        ({"delay_seconds": -0.1}, "delay_seconds must be"),
        ({"delay_seconds": math.nan}, "delay_seconds must be"),
        ({"delay_seconds": math.inf}, "delay_seconds must be"),
        ({"delay_seconds": 367 * 86_400.0}, "delay_seconds must be"),
        ({"delay_seconds": 1.0, "run_at": NOON}, "not both"),
        ({"run_at": NOON.replace(tzinfo=None)}, "time zone"),
        ({"expires_at": NOON.replace(tzinfo=None)}, "time zone"),
        ({"run_at": datetime.max.replace(tzinfo=UTC)}, "between the years"),
        ({"run_at": datetime.min.replace(tzinfo=UTC)}, "between the years"),
        (
            {"expires_at": datetime.max.replace(tzinfo=timezone(-timedelta(hours=14)))},
            "between the years",
        ),
        ({"max_attempts": 0}, "max_attempts must be"),
        ({"max_attempts": 1_001}, "max_attempts must be"),
        ({"timeout_seconds": 0.0}, "timeout_seconds must be"),
        ({"timeout_seconds": math.nan}, "timeout_seconds must be"),
        ({"timeout_seconds": math.inf}, "timeout_seconds must be"),
    ],
)
def test_refused_in_one_sentence(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SubmissionInvalid, match=complaint) as caught:
        accept(_request(**said), CONFIG, tenant=DEFAULT_TENANT)
    assert caught.value.code == "submission_invalid"
    assert "\n" not in str(caught.value)


def test_payloads_are_checked() -> None:
    with pytest.raises(PayloadTooLarge):
        accept(_request(payload=b'"' + b"a" * 99 + b'"'), CONFIG, tenant=DEFAULT_TENANT)
    with pytest.raises(PayloadInvalid):
        accept(_request(payload=b"{"), CONFIG, tenant=DEFAULT_TENANT)


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "é", "\x7f"])
def test_keys_that_are_refused(key: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        accept(_request(idempotency_key=key), CONFIG, tenant=DEFAULT_TENANT)


@pytest.mark.parametrize("key", ["k", "k" * 255, '"; drop table', " "])
def test_keys_that_are_taken(key: str) -> None:
    accepted = accept(_request(idempotency_key=key), CONFIG, tenant=DEFAULT_TENANT)
    assert accepted.idempotency_key == key
    assert len(accepted.fingerprint) == 32


def test_a_key_may_be_required() -> None:
    with pytest.raises(IdempotencyKeyInvalid, match="required"):
        accept(_request(), replace(CONFIG, require_idempotency_key=True), tenant=DEFAULT_TENANT)


def _fingerprint(config: Config = CONFIG, **said: Any) -> bytes:
    return accept(_request(idempotency_key="k", **said), config, tenant=DEFAULT_TENANT).fingerprint


def test_fingerprint_ignores_the_spelling_of_a_payload() -> None:
    assert _fingerprint(payload=b'{"a":1,"b":2}') == _fingerprint(payload=b'{ "b":2, "a":1 }')
    assert _fingerprint(delay_seconds=5) == _fingerprint(delay_seconds=5.0)
    assert _fingerprint(timeout_seconds=5) == _fingerprint(timeout_seconds=5.0)
    assert _fingerprint(run_at=NOON) == _fingerprint(
        run_at=NOON.astimezone(timezone(timedelta(hours=1)))
    )


def test_a_fingerprint_does_not_change_with_the_defaults() -> None:
    assert _fingerprint() == _fingerprint(
        config=replace(CONFIG, max_attempts=9, timeout_seconds=9.0)
    )
    typed = TypeDefaults(queue="sums", max_attempts=2, timeout_seconds=30.0)
    assert (
        _fingerprint()
        == accept(
            _request(idempotency_key="k"), CONFIG, tenant=DEFAULT_TENANT, known=KnownType(typed)
        ).fingerprint
    )


def test_a_fingerprint_tells_requests_apart() -> None:
    said: list[dict[str, Any]] = [
        {},
        {"type": "sub"},
        {"payload": b'{"n":2}'},
        {"payload": b'{"n":1.0}'},
        {"queue": "default"},
        {"priority": "normal"},
        {"delay_seconds": 5.0},
        {"run_at": NOON},
        {"expires_at": NOON},
        {"max_attempts": 5},
        {"timeout_seconds": 5.0},
    ]
    assert len({_fingerprint(**each) for each in said}) == len(said)


anything = st.fixed_dictionaries(
    {},
    optional={
        "type": st.text(),
        "payload": st.binary() | st.sampled_from([b"1", b"{}", b"[[]]"]),
        "queue": st.none() | st.text(),
        "priority": st.none() | st.text() | st.sampled_from(["high", "low"]),
        "delay_seconds": st.none() | st.floats(),
        "run_at": st.none() | st.datetimes(timezones=st.none() | st.timezones()),
        "expires_at": st.none() | st.datetimes(timezones=st.none() | st.just(UTC)),
        "max_attempts": st.none() | st.integers(),
        "timeout_seconds": st.none() | st.floats(),
        "idempotency_key": st.none() | st.text(),
    },
)


@given(anything)
def test_no_request_raises_anything_else(said: dict[str, Any]) -> None:
    with suppress(SubmissionInvalid):
        accepted = accept(_request(**said), CONFIG, tenant=DEFAULT_TENANT)
        assert accepted.timeout_seconds > 0
        assert accepted.max_attempts >= 1
