"""Run a statement of the hot path with few steps between the caller and libpq.

With psycopg's cursor, the client of a lone task spends more processor time than Postgres does: the
cursor chooses a dumper for each parameter, and looks up the prepared statement by its text and its
types. The parameters of the hot statements are texts already (arrays.py), and their names and order
never change. So each statement is prepared once for a connection and sent by its name.

Invariants. Waiting, cancelling and leaving a silent server are those of the connection
(`FastCancelConnection.wait`). Errors and values of rows are those of psycopg. Only for connections
of leaseq: on other connections a handler may deallocate the prepared statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.ledger.statements import STATEMENTS

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Prepared:
    """A statement of the hot path: its name on the server, its text with numbered parameters, and
    the names of these in order."""

    def __init__(self, name: str) -> None:
        self.params = list(dict.fromkeys(_PLACEHOLDER.findall(STATEMENTS[name])))
        self.name = f"leaseq_{name}".encode()
        self.text = _PLACEHOLDER.sub(
            lambda match: f"${self.params.index(match[1]) + 1}", STATEMENTS[name]
        ).encode()


HOT = ("submit_plain", "submit_tasks", "claim_tasks", "succeed_attempts", "settle_attempts")
PREPARED = {name: Prepared(name) for name in HOT}


async def run_prepared(
    conn: FastCancelConnection, statement: Prepared, params: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Run a statement outside of any transaction, and return its rows. Values of `params` are None,
    str, bool or numbers. Raises `psycopg.Error`."""
    values = [_text(params[name]) for name in statement.params]
    async with conn.lock:
        result = await conn.wait(_exchange(conn, statement, values))
    rows = Transformer(conn)
    rows.set_pgresult(result)
    return rows.load_rows(0, result.ntuples, tuple)


def _exchange(
    conn: FastCancelConnection, statement: Prepared, values: list[bytes | None]
) -> PQGen[PGresult]:
    if statement.name not in conn.prepared:
        conn.pgconn.send_prepare(statement.name, statement.text)
        _check((yield from execute(conn.pgconn)))
        conn.prepared.add(statement.name)
    conn.pgconn.send_query_prepared(statement.name, values, result_format=Format.BINARY)
    return _check((yield from execute(conn.pgconn)))


def _check(results: list[PGresult]) -> PGresult:
    result = results[-1]
    if result.status not in _DONE:
        raise error_from_result(result)
    return result


def _text(value: Any) -> bytes | None:
    """A parameter as text, which Postgres reads by the type that the statement gives it."""
    return None if value is None else str(value).encode()


__all__ = ["PREPARED", "run_prepared"]
