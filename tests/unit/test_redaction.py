"""Values that the dashboard masks: rules, places, and the same values in texts."""

from __future__ import annotations

import time

import msgspec
import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.safe_text.redaction import (
    Mask,
    Rules,
    parse_names,
    parse_pointers,
    redact,
    restore,
)

NAMES = parse_names("password,token,secret,authorization")
LONG = "".join(chr(97 + (i * 7) % 26) + str(i) for i in range(200))


def rules(*pointers: str, names: frozenset[str] = frozenset()) -> Rules:
    return Rules(names, parse_pointers(list(pointers)))


def masked(document: object, *pointers: str, names: frozenset[str] = frozenset()) -> str:
    raw = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return redact(raw, rules(*pointers, names=names)).raw.decode().replace('"', "'")


def told(kind: str) -> str:
    return f"\u2039redacted, {kind}\u203a"


TEXT, NUMBER, OBJECT, LIST, SWITCH = (
    told(kind) for kind in ("4 characters", "a number", "an object", "a list", "true or false")
)


@pytest.mark.parametrize(
    ("pointer", "document", "shown"),
    [
        ("/a/b", {"a": {"b": "4111", "c": 1}}, {"a": {"b": TEXT, "c": 1}}),
        ("/a/*/b", {"a": {"x": {"b": "4111"}, "y": {"b": 5}}}, {"a": {"x": {"b": TEXT}, "y": {"b": NUMBER}}}),
        ("/a/*/b", {"a": [{"b": "4111", "n": 1}, 7]}, {"a": [{"b": TEXT, "n": 1}, 7]}),
        ("/*", {"a": [1], "b": {}, "c": None, "d": True}, {"a": LIST, "b": OBJECT, "c": None, "d": SWITCH}),
        ("/1", ["a", "4111"], ["a", TEXT]),
        ("/", {"": "4111", "a": 1}, {"": TEXT, "a": 1}),
        ("/a~1b/~0", {"a/b": {"~": 1.5}}, {"a/b": {"~": NUMBER}}),
        ("/a/b/c", {"a": {"b": "shorter"}}, {"a": {"b": "shorter"}}),
        ("/*/*", [[1, 2], "s"], [[NUMBER, NUMBER], "s"]),
    ],
)  # fmt: skip
def test_pointers_mask_what_they_name(pointer: str, document: object, shown: object) -> None:
    raw = redact(msgspec.json.encode(document), rules(pointer)).raw
    assert msgspec.json.decode(raw) == shown


def test_names_count_at_every_place_and_in_any_case() -> None:
    document = {
        "Password": "hunter2!",
        "deep": [{"API": {"TOKEN": 12345678}}],
        "password_hint": "no",
    }
    shown = masked(document, names=NAMES)
    assert "hunter2" not in shown
    assert "12345678" not in shown
    assert "'password_hint':'no'" in shown


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"p\u0061ssword": "hunter2!"}',
        rb'{"PASSWORD":"hunter2!", "a": 1}',
        rb'{"password": "hunter2!", "password": "hunter2!"}',
        rb'{"x": [[[[{"secret": {"a": ["hunter2!"]}}]]]]}',
    ],
)
def test_no_spelling_of_a_name_escapes(raw: bytes) -> None:
    assert "hunter2" not in masked(raw, names=NAMES)


def test_a_key_that_comes_twice_is_shown_once() -> None:
    raw = b'{"card": {"number": "4111111111111111"}, "card": "none"}'
    assert masked(raw, "/card/number") == "{'card':'none'}"


def test_what_no_rule_concerns_stays_byte_for_byte() -> None:
    raw = b'{ "n": 123456789012345678901234567890, "x": 1.10, "big": 1e400 }'
    assert redact(raw, Rules(NAMES)).raw == raw
    kept = redact(b'{"n": 123456789012345678901234567890, "x": 1.10, "y": 1e400, "secret": 1}', Rules(NAMES)).raw  # fmt: skip
    assert kept.startswith(b'{"n":123456789012345678901234567890,"x":1.10,"y":1e400,')


@pytest.mark.parametrize(
    "raw", [b"{", b'{"secret": "\\ud800"}', b"[" * 5000 + b"]" * 5000, b"\xff"]
)
def test_what_cannot_be_read_is_masked_as_a_whole(raw: bytes) -> None:
    assert masked(raw, "/secret") == f"'{told('not readable as JSON')}'"


def test_a_mebibyte_is_masked_in_bounded_time() -> None:
    raw = b'{"secret": "hunter2!", "l": [' + b",".join([b'{"a": "b"}'] * 95_000) + b"]}"
    began = time.process_time()
    assert redact(raw, Rules(NAMES, parse_pointers(["/l/*/b"]))).count == 1
    assert time.process_time() - began < 10  # of one processor


VALUES = redact(
    msgspec.json.encode(
        {
            "password": "hunter2 'quoted' \"twice\" ünd\nline",
            "token": 987654321,
            "secret": {"inner": ["deep-value", 1.2345678], "short": "tiny"},
            "authorization": LONG,
        }
    ),
    Rules(NAMES),
).values


@pytest.mark.parametrize(
    "text",
    [
        "login failed for hunter2 'quoted' \"twice\" ünd\nline at once",
        f"KeyError: {VALUES[0]!r}",
        f"body={msgspec.json.encode(VALUES[0]).decode()}",
        "https://bank/?p=hunter2%20%27quoted%27%20%22twice%22%20%C3%BCnd%0Aline&x=1",
        "id 987654321 is taken",
        "deep-value, 1.2345678",
        f"long {LONG} end",
        f"cut {LONG[:350]}",
        f"{LONG[150:]} the rest",
        "a message that was cut within the value: hunter2 'quo",
    ],
)  # fmt: skip
def test_masked_values_do_not_turn_up_in_texts(text: str) -> None:
    shown = Mask(VALUES).text(text)
    assert "\u2039redacted\u203a" in shown
    for piece in ("hunter2", "quoted", "987654321", "deep-value", "1.2345678", LONG[:40], LONG[200:240], LONG[-40:]):  # fmt: skip
        assert piece not in shown


def test_short_values_and_other_words_stay() -> None:
    assert Mask(VALUES).text("hunter, tiny things stay") == "hunter, tiny things stay"


def test_an_error_keeps_its_code_and_its_form() -> None:
    error = {"code": "deep-value", "message": "deep-value", "traceback": "  File x\ndeep-value\n"}
    found = msgspec.json.decode(Mask(VALUES).json(msgspec.json.encode(error)))
    assert found["code"] == "deep-value"
    assert found["message"] == "\u2039redacted\u203a"
    assert found["traceback"] == "  File x\n\u2039redacted\u203a\n"


def test_values_made_of_the_mask_itself_do_not_make_texts_grow() -> None:
    hostile = Mask(["\u2039redacted\u203a", "redact", "redacte", "edacted", "dacted", "\ue000" * 6])
    assert len(hostile.text("redacted " * 100 + "\ue000" * 50)) < 2000


def test_too_many_values_show_nothing_of_a_text() -> None:
    assert Mask(f"value-{n:06}" for n in range(5000)).text("anything") == "\u2039redacted\u203a"
    assert Mask.whole().text("anything") == "\u2039redacted\u203a"


def test_hostile_texts_cost_bounded_time() -> None:
    mask = Mask(["a" * n + "b" for n in range(100, 150)] + [LONG * 50])
    began = time.process_time()
    mask.text("a" * 20_000)
    assert time.process_time() - began < 10  # of one processor


DOCUMENT = b'{"card":{"number":"4111111111111111","cvc":123},"note":"n","amount":1.10}'
PLACES = rules("/card/*")


def edited(old: str, new: str) -> bytes:
    shown = redact(DOCUMENT, PLACES, numbered=True).raw.decode()
    assert old in shown
    return shown.replace(old, new).encode()


def test_values_come_back_into_an_edited_document() -> None:
    found = restore(edited('"note":"n"', '"note":"other"'), DOCUMENT, PLACES)
    assert found == DOCUMENT.replace(b'"n"', b'"other"')


def test_values_move_with_their_masks_only_to_masked_places() -> None:
    swapped = edited('"number":', '"holder":')
    assert b'"holder":"4111111111111111"' in restore(swapped, DOCUMENT, PLACES)
    shown = redact(DOCUMENT, PLACES, numbered=True).raw.decode()
    mask = msgspec.json.decode(shown)["card"]["number"]
    with pytest.raises(ValueError, match="at /note: a mask stands for no value"):
        restore(shown.replace('"n"', msgspec.json.encode(mask).decode()).encode(), DOCUMENT, PLACES)
    with pytest.raises(ValueError, match="at /card/number"):
        restore(shown.replace("redacted 1", "redacted 9").encode(), DOCUMENT, PLACES)


def test_a_document_without_masks_stays_byte_for_byte() -> None:
    raw = b'{ "card": {}, "amount": 1.10 }'
    assert restore(raw, DOCUMENT, PLACES) == raw


def work(card: dict[str, str]) -> None: ...


@pytest.mark.parametrize(
    ("pointers", "reason"),
    [
        (["card/number"], r"redact\[0\], 'card/number', must begin with a slash"),
        (["/a", ""], r"redact\[1\], '', must begin with a slash"),
        (["/a~2b"], "a ~ that is neither ~0"),
        (["/a~"], "a ~ that is neither ~0"),
        (["/card*"], r"a \* stands alone"),
        (["/a\0b"], "cannot be printed"),
        (["/" + "a" * 256], "longer than 256"),
        (["/a"] * 65, "65 pointers"),
        ("/card/number", "must be a list"),
        ([b"/a"], r"redact\[0\] must be a text"),
        (7, "must be a list"),
    ],
)
def test_a_pointer_that_cannot_be_is_refused_with_its_place(pointers: object, reason: str) -> None:
    app = Leaseq()
    with pytest.raises((TypeError, ValueError), match=rf"handler work: .*{reason}"):
        app.task(redact=pointers)(work)  # type: ignore[call-overload]


def test_the_setting_names_keys() -> None:
    assert parse_names(Config().redact) == NAMES
    assert parse_names("none") == frozenset()
    assert parse_names(" Api_Key , token ") == {"api_key", "token"}
    for wrong in ("a,,b", ",", "a\nb", ",".join(map(str, range(100)))):
        with pytest.raises(ConfigInvalid, match="LEASEQ_REDACT"):
            Config(redact=wrong)
