"""Describe exceptions without row data, in a form that can always be stored.

Postgres adds values of the affected rows to its messages (DETAIL, CONTEXT, HINT, the query inside a
function). Drivers put them into the text of an exception, and code copies that text into other
exceptions. A description keeps the type, the primary message, the SQLSTATE and the name of the
constraint. Text that the database added is removed from every text of the chain, wherever it was
copied to.

An exception belongs to the handler's code. Its text may raise, its class may give a false name, and
its causes may form a loop or have no end. So this module reads no attribute that a class can
override, bounds every walk, and replaces a part that still raises with a plain sentence. Invariant:
`describe` never raises, and Postgres can store its result.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any

from leaseq.model import TaskError
from leaseq.safe_text.fingerprint import of_frames, of_text

TRACEBACK_LIMIT = 20_000
MESSAGE_LIMIT = 2_000
NAME_LIMIT = 200
TEXT_LIMIT = 65_536  # characters of a text that are searched
# How many exceptions of a chain or a group are described, and how many frames of each.
EXCEPTIONS_LIMIT = 16
FRAMES_LIMIT = 64
SHOWN_LEAVES = 5

# The names that psycopg (on a diagnostic) and asyncpg (on an exception) give to the additions of
# Postgres.
ADDED = ("message_detail", "message_hint", "context", "internal_query", "detail", "hint", "where")
# Lines that libpq and SQLAlchemy add to a message. SQLAlchemy's contain the values of all
# parameters.
LABELLED = re.compile(
    r"\s*(?:\n|\\n)(?:(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION|LINE \d+):\s|\[(?:SQL|parameters): ).*",
    re.DOTALL,
)
# A shorter piece carries no information, and would be found in every text.
SHORTEST_PIECE = 3

_LINKS = {
    "__cause__": "which was the direct cause of the following exception:",
    "__context__": "during the handling of which the following exception occurred:",
}


def describe(error: BaseException, code: str, *, frames: bool = True) -> TaskError:
    """The stored description of an exception. Without `frames` there is no traceback."""
    name = name_of(error)
    message = text_of(error)
    shown = storable(message, MESSAGE_LIMIT)
    trace = trace_of(error) if frames else ""
    place = of_frames(error, code, name) if frames else of_text(error, code, name, shown)
    return TaskError(
        code,
        shown,
        type=name,
        traceback=storable(trace, -TRACEBACK_LIMIT),
        fingerprint=place.fingerprint,
        frame=storable(place.frame, NAME_LIMIT),
    )


def plain(code: str, error: BaseException) -> TaskError:
    """The shortest description, in ASCII, which every database can store."""
    # later lines may repeat the text that could not be stored
    first_line = text_of(error).partition("\n")[0]
    message = (
        f"{name_of(error)}: {first_line}".encode("ascii", "replace").decode().replace("\0", "?")
    )
    return TaskError(code, message[:NAME_LIMIT])


def name_of(thing: object) -> str:
    """The name of a class, even if its metaclass overrides it."""
    return storable(type.__dict__["__name__"].__get__(type(thing)), NAME_LIMIT)


def read(thing: object, name: str) -> Any:
    """An attribute of an exception or of a part of it, or the exception that reading it raises."""
    try:
        return getattr(thing, name)
    except BaseException as failure:
        # its frames would keep the exception and a handler's connection alive
        return failure.with_traceback(None)


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """The leaf exceptions of a group, in order. Not recursive, since groups may be nested to any
    depth."""
    waiting = [error]
    while waiting:
        part = waiting.pop()
        if issubclass(type(part), BaseExceptionGroup):
            waiting += reversed(BaseExceptionGroup.exceptions.__get__(part))
        else:
            yield part


def text_of(error: BaseException) -> str:
    """The text of an exception, or a note that it has none. A group gives the texts of its
    parts."""
    return _clean(error, _data_in(error))


def told(error: BaseException) -> str:
    """An exception as one line of a log: its type and its text."""
    return f"{name_of(error)}: {storable(text_of(error), MESSAGE_LIMIT)}"


def _clean(error: BaseException, data: Sequence[str]) -> str:
    """The text of an exception without the additions of Postgres. Not cut yet, since a part of a
    piece would not be found."""
    name = name_of(error)
    if issubclass(type(error), BaseExceptionGroup):
        leaves = list(islice(leaves_of(error), SHOWN_LEAVES + 1))
        parts = [
            f"{name_of(leaf)}: {storable(_clean(leaf, data), MESSAGE_LIMIT)}"
            for leaf in leaves[:SHOWN_LEAVES]
        ]
        return "; ".join([*parts, "..."] if len(leaves) > SHOWN_LEAVES else parts)
    try:
        return _without(data, _primary(error) or str.__str__(str(error))) or name
    except BaseException as failure:
        return f"{name}, which has no readable text: {name_of(failure)}"


def storable(text: str, limit: int) -> str:
    """Cut to size (a negative limit keeps the end), without characters that JSON in Postgres cannot
    hold."""
    cut = text[:limit] if limit > 0 else text[limit:]
    return cut.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def trace_of(error: BaseException) -> str:
    """Like `traceback.format_exception`, which follows the links of an exception without a
    bound."""
    try:
        data, chain = _data_in(error), [*_chain(error)]
        parts = []
        for link, one in reversed(chain):
            parts += [
                *_frames(one),
                f"{name_of(one)}: {storable(_clean(one, data), MESSAGE_LIMIT)}\n",
            ]
            parts += [*_notes(one, data), *_members(one, data)]
            if link:
                parts.append(f"\n{_LINKS[link]}\n\n")
        return "".join(parts)
    except BaseException as failure:  # source lines come from loaders, which can be any code
        return f"no traceback: {name_of(failure)}"


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The exception, its cause, and so on; each with the link from the previous one."""
    link, one = "", error
    seen: set[int] = set()
    while id(one) not in seen and len(seen) < EXCEPTIONS_LIMIT:
        seen.add(id(one))
        yield link, one
        cause, context = _field(one, "__cause__"), _field(one, "__context__")
        if isinstance(cause, BaseException):
            link, one = "__cause__", cause
        elif isinstance(context, BaseException) and not _field(one, "__suppress_context__"):
            link, one = "__context__", context


def _frames(error: BaseException) -> list[str]:
    trace = _field(error, "__traceback__")
    if not isinstance(trace, TracebackType):
        return []
    return [
        "Traceback (most recent call last):\n",
        *traceback.format_tb(trace, limit=-FRAMES_LIMIT),
    ]


def _notes(error: BaseException, data: Sequence[str]) -> list[str]:
    notes = getattr(error, "__notes__", None)
    if type(notes) is not list:
        return []
    return [
        f"{storable(_without(data, str.__str__(note)), MESSAGE_LIMIT)}\n"
        for note in notes[:EXCEPTIONS_LIMIT]
    ]


def _members(error: BaseException, data: Sequence[str]) -> Iterator[str]:
    """The exceptions of a group and of its nested groups, one line each."""
    waiting, told = [(1, error)], 0
    while waiting and told < EXCEPTIONS_LIMIT:
        depth, one = waiting.pop()
        if depth > 1:
            told += 1
            yield f"{'  ' * (depth - 1)}+ {name_of(one)}: {storable(_clean(one, data), MESSAGE_LIMIT)}\n"
        if issubclass(type(one), BaseExceptionGroup):
            members = BaseExceptionGroup.exceptions.__get__(one)
            waiting += [(depth + 1, member) for member in reversed(members[:EXCEPTIONS_LIMIT])]


def _primary(error: BaseException) -> str:
    """Postgres' own words in one message of a driver that separates them; an empty string for any
    other exception."""
    diagnostic = read(error, "diag")
    primary = read(diagnostic, "message_primary")
    if type(primary) is not str:
        return ""
    sqlstate, constraint = read(diagnostic, "sqlstate"), read(diagnostic, "constraint_name")
    more = [f"SQLSTATE {sqlstate}"] if type(sqlstate) is str else []
    if type(constraint) is str and constraint not in primary:
        more.append(f"constraint {constraint}")
    return f"{primary} ({', '.join(more)})" if more else primary


def _data_in(error: BaseException) -> list[str]:
    """The additions of Postgres in all exceptions that are described together with this one, the
    longest first."""
    found: set[str] = set()
    for part in _family(error):
        for source in (read(part, "diag"), part):
            if type(read(source, "sqlstate")) is str:
                values = (read(source, name) for name in ADDED)
                found |= {
                    value for value in values if type(value) is str and len(value) >= SHORTEST_PIECE
                }
    return sorted(found, key=len, reverse=True)


def _family(error: BaseException) -> Iterator[BaseException]:
    """An exception, the members of a group, and the causes of each."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < EXCEPTIONS_LIMIT**2:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [
            cause for name in _LINKS if isinstance(cause := _field(part, name), BaseException)
        ]
        if issubclass(type(part), BaseExceptionGroup):
            waiting += BaseExceptionGroup.exceptions.__get__(part)[:EXCEPTIONS_LIMIT]


def _without(data: Sequence[str], text: str) -> str:
    """A text without these pieces, and without the text after a label that a driver or a mapper
    writes.

    Only the beginning of an enormous text is searched, because the event loop waits for this.
    """
    shapes = [shape for piece in data for shape in (piece, repr(piece)[1:-1])]
    longest = max(map(len, shapes), default=0)
    limit = TEXT_LIMIT + 2 * longest
    told = text[:limit]
    for shape in shapes:
        told = told.replace(shape, "...")
    if len(text) > limit:
        told = told[: len(told) - longest]  # which may hold a part of a piece
    return LABELLED.sub("", told)


def _field(error: BaseException, name: str) -> Any:
    """An attribute as the interpreter sees it, not as the class defines it."""
    return BaseException.__dict__[name].__get__(error)


__all__ = [
    "NAME_LIMIT",
    "describe",
    "leaves_of",
    "name_of",
    "plain",
    "read",
    "storable",
    "text_of",
    "told",
    "trace_of",
]
