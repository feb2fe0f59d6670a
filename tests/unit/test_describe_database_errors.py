"""Descriptions of exceptions contain no row data."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from leaseq.config import Config
from leaseq.observability.logs import RecordHandler, _render_console, _render_json
from leaseq.safe_text.exceptions import describe, plain, text_of, told, trace_of

SECRET = "ada@example.org"
UNIQUE = f"create temp table people (email text, constraint people_email unique (email)); insert into people values ('{SECRET}')"
AGAIN = f"insert into people values ('{SECRET}')"
NOT_NULL = f"create temp table owners (email text, age int not null); insert into owners values ('{SECRET}', null)"
IN_A_FUNCTION = (
    "create function pg_temp.f(email text) returns void language plpgsql as $$ begin "
    "execute 'insert into nowhere values (''' || email || ''')'; end $$; "
    f"select pg_temp.f('{SECRET}')"
)
HINTED = f"do $$ begin raise exception 'no' using detail = '{SECRET}', hint = 'ask {SECRET}\nor others: {SECRET}'; end $$"


class AsAsyncpg(Exception):
    """An exception with the attributes and the text of asyncpg's."""

    sqlstate = "23505"
    detail = f"Key (email)=({SECRET}) already exists."

    def __str__(self) -> str:
        return f"duplicate key value\nDETAIL:  {self.detail}"


class AsMapper(Exception):
    """An exception with the text of SQLAlchemy's, which has the parameters of the statement."""

    def __str__(self) -> str:
        return f"(UniqueViolation) duplicate key\n[SQL: insert into people values (%s)]\n[parameters: ('{SECRET}',)]"


def caught(act: Callable[[], Any]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def ways(cause: BaseException) -> Iterator[BaseException]:
    """The exception itself, and the ways in which code passes it on."""
    yield cause

    def chained() -> None:
        raise ValueError("could not save") from cause

    def quoted() -> None:
        try:
            raise cause
        except BaseException as error:
            raise ValueError(f"could not save: {error}") from None

    def quoted_as_key() -> None:
        try:
            raise cause
        except BaseException as error:
            raise KeyError(str(error)) from error

    def in_context() -> None:
        try:
            raise cause
        except BaseException:
            raise RuntimeError("while cleaning up")  # noqa: B904 (the test is about the context)

    def far() -> None:
        try:
            raise cause
        except BaseException as error:
            raise ValueError("x" * 1_990 + str(error)) from error

    yield from map(caught, (chained, quoted, quoted_as_key, in_context, far))
    yield BaseExceptionGroup(
        "several", [ValueError("a"), BaseExceptionGroup("inner", [caught(chained), caught(quoted)])]
    )
    noted = caught(chained)
    noted.add_note(f"saw: {cause}")
    yield noted


def everything_told(error: BaseException) -> str:
    described = describe(error, "error")
    info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("app", logging.ERROR, "x.py", 1, "it failed", None, info)
    lines: list[bytes] = []
    for render in (_render_json, _render_console):
        handler = RecordHandler(render)
        lines.append(handler.line(record))
    return "\n".join(
        [
            described.message,
            described.traceback,
            plain("e", error).message,
            text_of(error),
            told(error),
            trace_of(error),
        ]
        + [line.decode() for line in lines]
    )


@pytest.fixture
def violations(config: Config) -> list[BaseException]:
    with psycopg.connect(str(config.postgres_url), autocommit=True) as conn:
        conn.execute(UNIQUE)
        statements = (AGAIN, NOT_NULL, IN_A_FUNCTION, HINTED)
        return [caught(partial(conn.execute, statement)) for statement in statements]


def test_no_way_of_passing_an_error_on_brings_data_along(violations: list[BaseException]) -> None:
    shown_raw = [str(error) for error in violations]
    assert all(SECRET in text for text in shown_raw), "or the test tries nothing"
    for cause in [*violations, AsAsyncpg(), AsMapper()]:
        for error in ways(cause):
            assert SECRET not in everything_told(error), type(cause)


def test_details_for_a_person_are_kept(violations: list[BaseException]) -> None:
    unique, missing, _, raised = violations
    assert (
        text_of(unique)
        == 'duplicate key value violates unique constraint "people_email" (SQLSTATE 23505)'
    )
    assert text_of(missing).startswith(
        'null value in column "age" of relation "owners" violates not-null constraint'
    )
    assert text_of(raised) == "no (SQLSTATE P0001)"
    assert text_of(ValueError("no\nDETAIL of ours")) == "no\nDETAIL of ours"
    assert "in caught" in trace_of(unique)


def test_json_stays_json(violations: list[BaseException]) -> None:
    error = violations[0]
    record = logging.LogRecord(
        "a", logging.ERROR, "x.py", 1, "m", None, (type(error), error, error.__traceback__)
    )
    assert "UniqueViolation" in json.loads(RecordHandler(_render_json).line(record))["exception"]


def test_a_description_keeps_no_exception_alive() -> None:
    """A handler's frames hold its connection, which is closed where it is still held when the
    attempt is over."""

    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def fails() -> None:
        one = Held()
        held.append(weakref.ref(one))
        raise ValueError("plain")

    gc.disable()
    try:
        try:
            fails()
        except ValueError as error:
            describe(error, "error")
        assert held[0]() is None
    finally:
        gc.enable()
