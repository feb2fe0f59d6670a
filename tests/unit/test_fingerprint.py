"""Fingerprints of failures are equal for one cause, in every Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from leaseq import Fail, Retry
from leaseq.model import TaskError
from leaseq.payloads.payload_codec import ContentCodec
from leaseq.safe_text import fingerprint
from leaseq.safe_text.exceptions import describe
from leaseq.safe_text.fingerprint import APPLICATION, of_code
from support import failing
from support.failing import raised
from support.odd_exceptions import ODD
from support.toy_codec import ToyCodec

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def packages() -> Iterator[None]:
    """No package is known to belong to the application."""
    before, APPLICATION.packages = APPLICATION.packages, frozenset()
    yield
    APPLICATION.packages = before


def of(function: Call, *args: Any) -> TaskError:
    return describe(raised(function, *args), "error")


def test_same_place_has_one_fingerprint_whatever_the_text() -> None:
    first, second = of(failing.charge, 1), of(failing.charge, 2)
    assert first.message != second.message
    assert first.fingerprint == second.fingerprint
    assert first.frame == "support.failing:Client.post"


def test_another_caller_class_or_code_has_another_fingerprint() -> None:
    error = raised(failing.charge, 1)
    found = {
        describe(error, "error").fingerprint,
        describe(error, "payload_invalid").fingerprint,
        of(failing.charge_from_elsewhere, 1).fingerprint,
        of(failing.charge_decorated, 1).fingerprint,
        of(failing.wrap, 1).fingerprint,
        of(failing.decode, "{").fingerprint,
    }
    assert len(found) == 6


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (failing.charge, (1,), "d5205073feb6"),
        (failing.charge_each, ([1],), "3381b2495088"),
        (failing.charge_decorated, (1,), "28fca93170ad"),
        (failing.wrap, (1,), "c770e2a7d40a"),
        (failing.decode, ("{",), "7d677e59c418"),
        (failing.generated, (1,), "cf7a080c6401"),
        (failing.descend, (3,), "1e8027bca16b"),
    ],
)
def test_fingerprint_is_the_same_in_every_python(
    function: Call, args: tuple[Any, ...], expected: str
) -> None:
    """These values were computed in Python 3.11, in which a comprehension has a frame."""
    error = raised(function, *args)
    # the frame of the test's own helper is not part of an application
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert describe(error, "error").fingerprint == expected


def test_depth_of_a_recursion_does_not_matter() -> None:
    assert of(failing.descend, 2).fingerprint == of(failing.descend, 40).fingerprint
    looped = {of(failing.ping, n).fingerprint for n in range(2)}
    looped |= {of(failing.descend, -1).fingerprint for _ in range(2)}
    assert len(looped) == 2


def test_frames_of_libraries_count_only_where_there_are_no_others() -> None:
    """`json` is a library; a function that was compiled as one of site-packages is one, too."""
    assert of(failing.decode, "{").frame == "support.failing:decode"
    error = raised(json.loads, "{")
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert describe(error, "error").frame == "json.decoder:JSONDecoder.raw_decode"


def test_application_among_the_libraries_is_known_by_its_handlers() -> None:
    """Installed as a wheel in one place, and as a checkout in another."""
    as_wheel = FunctionType(
        failing.charge.__code__.replace(co_filename="/srv/lib/site-packages/support/failing.py"),
        {"Client": failing.Client, "__name__": "support.failing"},
    )
    checkout = of(failing.charge, 1).fingerprint
    assert of(as_wheel, 1).fingerprint != checkout
    APPLICATION.learn(["support.tasks", None])
    assert of(as_wheel, 1).fingerprint == of(failing.charge, 1).fingerprint == checkout


def test_group_has_the_fingerprint_of_its_members_in_any_order() -> None:
    parts = [raised(failing.charge, 1), raised(failing.decode, "{")]
    found = {
        describe(BaseExceptionGroup(text, order), "error").fingerprint
        for text, order in (("a", parts), ("b", parts[::-1]), ("c", parts * 2))
    }
    alone = describe(BaseExceptionGroup("a", parts[:1]), "error").fingerprint
    assert len(found) == 1
    assert alone not in found


@pytest.mark.parametrize("kind", [Fail, Retry])
def test_explicit_failure_is_known_by_the_constant_part_of_its_text(kind: Any) -> None:
    def told(message: str) -> str:
        return describe(kind(message), "failed", frames=False).fingerprint

    assert told("order 7 of ada@example.org is gone") == told("order 812 of b@c.de is gone")
    assert told("no answer from 'eu-west'") == told("no answer from 'us east'")
    assert told("10.0.0.1:80 refused 0193-ab") == told("[::1]:443 refused 7f")
    assert told("it can't be paid") != told("it cannot be paid")
    assert told("no order") != told("no customer")


def test_text_of_an_encoded_error_cannot_be_guessed_by_its_fingerprint() -> None:
    codec = ContentCodec(ToyCodec())
    codes = {
        codec.encode_error(describe(Fail(message), "failed", frames=False)).fingerprint
        for message in ("ada is insolvent", "bob is insolvent")
    }
    assert codes == {of_code("failed", "Fail")}
    encoded = codec.encode_error(of(failing.charge, 1))
    assert encoded.fingerprint == of(failing.charge, 1).fingerprint
    assert encoded.frame == "support.failing:Client.post"


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("frames", [True, False])
def test_odd_exception_has_a_fingerprint(name: str, frames: bool) -> None:
    try:
        error = ODD[name]()
    except BaseException as failure:  # its class cannot be made in this Python
        error = failure
    found = {describe(error, "error", frames=frames).fingerprint for _ in range(2)}
    assert len(found) == 1
    assert all(len(one) == fingerprint.LENGTH for one in found)


def test_odd_module_and_globals_have_a_fingerprint() -> None:
    class Odd(dict[str, Any]):
        def get(self, *args: Any) -> Any:
            raise RuntimeError

    for module in ("__main__", 7, None):
        function = FunctionType(failing.charge.__code__, Odd(__name__=module))
        assert of(function, 1).frame == "failing:charge"


def test_endless_traceback_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "LOOKED_AT", 3)
    assert of(failing.descend, 50).frame == "support.failing:descend"
