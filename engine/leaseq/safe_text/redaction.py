"""Mask values of a task by the names of their keys and by their places.

Rules are names of keys, which count at every place and in any case of letters, and JSON pointers
(RFC 6901) in which `*` stands for every key and every index. A masked value is replaced by a text that
tells its kind. The same values are masked in texts about the task: an error message, a traceback.
Numbers that are not masked keep their digits. Invariant: a value that cannot be read as JSON is masked
as a whole, so a mistake shows too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Raw, Struct

Pointer = tuple[str, ...]

ANY = "*"
MOST_POINTERS = 64
MOST_NAMES = 64
LONGEST = 256
# Shorter values are parts of common words, and are not looked for in texts.
SHORTEST_VALUE = 6
# A longer value is looked for in pieces, because a text may have a part of it. All pieces of one value
# are longer than any text.
PIECE = 100
MOST_PIECES = 400
# Pieces of all values of a task. Where there are more, its texts are not shown.
MOST_FORMS = 3000
NO_NAMES = "none"

_ESCAPE = re.compile(r"~(?![01])")
_HOLE = "\ue000"
_HOLES = re.compile(f"{_HOLE}+")
_IN_TEXT = "\u2039redacted\u203a"
_MASK = re.compile("\u2039redacted( [0-9]+)?, [^\u203a]*\u203a")
_UNREADABLE = msgspec.json.encode("\u2039redacted, not readable as JSON\u203a")
_decoder = msgspec.json.Decoder(float_hook=lambda digits: Raw(digits.encode()))


class Rules(Struct, frozen=True):
    """The values of a task that are masked. Names are in lower case."""

    names: frozenset[str] = frozenset()
    pointers: tuple[Pointer, ...] = ()


class Redacted(Struct, frozen=True):
    """A JSON value without the values that its rules mask, and those of them that have a text."""

    raw: bytes
    count: int
    values: list[str]


def parse_names(text: str) -> frozenset[str]:
    """The names in a setting, separated by commas. Raises `ValueError`."""
    if text.strip().lower() == NO_NAMES:
        return frozenset()
    names = [name.strip().lower() for name in text.split(",")]
    if not all(names):
        raise ValueError(f"there is an empty name in it; {NO_NAMES} alone stands for no name")
    if len(names) > MOST_NAMES:
        raise ValueError(f"it has {len(names)} names: at most {MOST_NAMES} are allowed")
    for name in names:
        _check_text(f"the name {name[:40]!a}", name)
    return frozenset(names)


def parse_pointers(texts: object) -> tuple[Pointer, ...]:
    """The parts of JSON pointers. Raises `TypeError` for another thing than a list of texts, and
    `ValueError`, with the place in the list and the reason."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise TypeError(
            f'redact must be a list of JSON pointers, such as ["/card/number"], not {texts!a:.100}'
        )
    if len(texts) > MOST_POINTERS:
        raise ValueError(f"redact has {len(texts)} pointers: at most {MOST_POINTERS} are allowed")
    return tuple(_parse(place, text) for place, text in enumerate(texts))


def _parse(place: int, text: object) -> Pointer:
    if not isinstance(text, str):
        raise TypeError(f"redact[{place}] must be a text, not {type(text).__name__}")
    at = f"redact[{place}], {text[:LONGEST]!a},"
    if not text.startswith("/"):
        raise ValueError(f'{at} must begin with a slash, as in "/card/number"')
    _check_text(at, text)
    if _ESCAPE.search(text):
        raise ValueError(f"{at} has a ~ that is neither ~0 (which is ~) nor ~1 (which is /)")
    parts = text[1:].split("/")
    for part in parts:
        if ANY in part and part != ANY:
            raise ValueError(
                f"{at} has the part {part!a}: a * stands alone, for every key and index"
            )
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _check_text(at: str, text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"{at} is longer than {LONGEST} characters")
    if not text.isprintable():
        raise ValueError(f"{at} has a character that cannot be printed")


def redact(raw: bytes, rules: Rules, *, numbered: bool = False) -> Redacted:
    """Mask the values of a JSON document. Where no rule can apply, its bytes stay as they are. With
    `numbered` each mask tells which value it is of, so that `restore` finds it."""
    if not rules.pointers and not _may_name(raw, rules.names):
        return Redacted(raw, 0, [])
    found: list[Any] = []

    def mask(value: Any) -> Any:
        if value is None:
            return None
        found.append(value)
        return mask_of(value, number=len(found) if numbered else None)

    try:
        masked = _replaced(_decoder.decode(raw), rules, rules.pointers, mask)
        values = [text for value in found for text in texts_in(value)]
        return Redacted(msgspec.json.encode(masked), len(found), values)
    except (ValueError, RecursionError):
        return Redacted(_UNREADABLE, 1, [])


def restore(edited: bytes, original: bytes, rules: Rules) -> bytes:
    """Put the values of a document back into one that was made from it with numbered masks. A mask
    counts only at a place that is masked itself: else the value would be shown there. Raises
    `ValueError` for a mask at another place, and for documents that are not JSON."""
    if b"redacted" not in edited and b"\\" not in edited:
        return edited
    values: dict[str, Any] = {}

    def note(value: Any) -> Any:
        if value is not None:
            values[mask_of(value, number=len(values) + 1)] = value
        return value

    def put_back(value: Any) -> Any:
        return values.get(value, value) if isinstance(value, str) else value

    _replaced(_decoder.decode(original), rules, rules.pointers, note)
    restored = _replaced(_decoder.decode(edited), rules, rules.pointers, put_back)
    originals = set(map(id, values.values()))
    for text, place in _texts_at(restored, originals):
        if _MASK.search(text):
            raise ValueError(f"at {place or '/'}: a mask stands for no value here: write the value")
    return msgspec.json.encode(restored)


def _may_name(raw: bytes, names: Iterable[str]) -> bool:
    """Whether a key of the document may have one of these names. An escape may hide any name."""
    lowered = raw.lower()
    return b"\\" in raw or any(not name.isascii() or name.encode() in lowered for name in names)


def _replaced(
    value: Any, rules: Rules, pointers: Sequence[Pointer], replace: Callable[[Any], Any]
) -> Any:
    """A document with other values at the places of the rules. Two keys of one object with the same
    name are one value: the last, as for a handler."""
    children: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        if not pointers and not any(isinstance(child, dict | list) for child in value):
            return value
        children = ((str(index), child) for index, child in enumerate(value))
    else:
        return value
    made = {}
    for key, child in children:
        following = [pointer[1:] for pointer in pointers if pointer[0] in (ANY, key)]
        named = key.lower() in rules.names and isinstance(value, dict)
        if named or not all(following):
            made[key] = replace(child)
        else:
            made[key] = _replaced(child, rules, following, replace)
    return made if isinstance(value, dict) else list(made.values())


def _texts_at(value: Any, without: Collection[int], place: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a document with their places, except in values with these identities."""
    if id(value) in without:
        return
    if isinstance(value, str):
        yield value, place
    elif isinstance(value, dict):
        for key, child in value.items():
            yield key, place
            yield from _texts_at(child, without, f"{place}/{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _texts_at(child, without, f"{place}/{index}")


def mask_of(value: Any, *, number: int | None = None) -> str:
    """The text in place of a masked value."""
    match value:
        case str():
            kind = f"{len(value)} characters"
        case dict():
            kind = "an object"
        case list():
            kind = "a list"
        case bool():
            kind = "true or false"
        case _:
            kind = "a number"
    return f"\u2039redacted{'' if number is None else f' {number}'}, {kind}\u203a"


def texts_in(value: Any) -> Iterator[str]:
    """The texts and numbers in a value that are long enough to be looked for, as they are written."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as found:
                waiting += found.values()
            case list() as items:
                waiting += items
            case str() as text:
                yield from (text,) if len(text) >= SHORTEST_VALUE else ()
            case bool() | None:
                pass
            case number:
                digits = bytes(number).decode() if isinstance(number, Raw) else str(number)
                yield from (digits,) if len(digits) >= SHORTEST_VALUE else ()


class Mask:
    """Masks values of one task in texts about it."""

    def __init__(self, values: Iterable[str]) -> None:
        forms: set[str] = set()
        for value in values:
            forms.update(piece for form in _forms(value) for piece in _pieces(form))
            if len(forms) > MOST_FORMS:
                break
        self._too_many = len(forms) > MOST_FORMS
        # The longest first: a value may be a part of another one.
        self._forms = sorted(forms, key=len, reverse=True)

    @classmethod
    def whole(cls) -> Mask:
        """A mask for texts about contents that are not known: nothing of a text is shown."""
        mask = cls(())
        mask._too_many = True
        return mask

    def text(self, text: str) -> str:
        """A text without the values. It may be the beginning or the end of a longer one, so a part
        of a value at its ends is masked, too."""
        if self._too_many:
            return _IN_TEXT
        if not self._forms:
            return text
        text = text.replace(_HOLE, "?")
        for form in self._forms:
            text = text.replace(form, _HOLE)
        for form in self._forms:
            text = _without_end(_without_start(text, form), form)
        return _HOLES.sub(_IN_TEXT, text)

    def json(self, raw: bytes) -> bytes:
        """A JSON value, each text in it without the values."""
        if not self._forms and not self._too_many:
            return raw
        try:
            return msgspec.json.encode(self._all(_decoder.decode(raw)))
        except (ValueError, RecursionError):
            return _UNREADABLE

    def _all(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                # The code and the fingerprint are leaseq's own, and tell nothing of a value.
                return {
                    key: child if key in ("code", "fingerprint") else self._all(child)
                    for key, child in value.items()
                }
            case list():
                return [self._all(child) for child in value]
        return value


def _forms(value: str) -> Iterator[str]:
    """A value as it may be written in a text: as it is, in Python, in JSON and in an address."""
    yield value
    yield repr(value)[1:-1]
    yield ascii(value)[1:-1]
    yield msgspec.json.encode(value).decode()[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)


def _pieces(form: str) -> Iterator[str]:
    """A form whole, or where it is long the pieces of its beginning and of its end. None is too
    short to be looked for."""
    if len(form) <= 2 * PIECE:
        yield form
        return
    starts = range(0, len(form) - SHORTEST_VALUE + 1, PIECE)
    near = (
        starts
        if len(starts) <= MOST_PIECES
        else [*starts[: MOST_PIECES // 2], *starts[-MOST_PIECES // 2 :]]
    )
    yield from (form[start : start + PIECE] for start in near)
    yield form[-PIECE:]


def _without_end(text: str, form: str) -> str:
    """A text without the beginning of a value at its end."""
    at = text.find(form[:SHORTEST_VALUE], max(len(text) - len(form), 0))
    while at >= 0:
        if form.startswith(text[at:]):
            return text[:at] + _HOLE
        at = text.find(form[:SHORTEST_VALUE], at + 1)
    return text


def _without_start(text: str, form: str) -> str:
    """A text without the end of a value at its start."""
    tail = form[-SHORTEST_VALUE:]
    at = text.rfind(tail, 0, len(form))
    while at >= 0:
        end = at + SHORTEST_VALUE
        if form.endswith(text[:end]):
            return _HOLE + text[end:]
        at = text.rfind(tail, 0, end - 1)
    return text


__all__ = [
    "ANY",
    "Mask",
    "Pointer",
    "Redacted",
    "Rules",
    "mask_of",
    "parse_names",
    "parse_pointers",
    "redact",
    "restore",
    "texts_in",
]
