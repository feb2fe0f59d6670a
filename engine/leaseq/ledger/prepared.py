"""Run a statement of the hot path with few steps between the caller and libpq.

With psycopg's cursor, the client of a lone task spends more processor time than Postgres does: the
cursor chooses a dumper for each parameter, and looks up the prepared statement by its text and its
types. The parameters of the hot statements are texts already (arrays.py), and their names and order
never change. So each statement is prepared once for a connection and sent by its name.

Invariants. Waiting, cancelling and leaving a silent server are those of the connection
(`FastCancelConnection.query_prepared`). Errors and values of rows are those of psycopg. Only for
connections of leaseq: on other connections a handler may deallocate the prepared statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.ledger.statements import STATEMENTS

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class Prepared:
    """A statement of the hot path: its name on the server, its text with numbered parameters, and
    the names of these in order."""

    def __init__(self, name: str) -> None:
        self.params = list(dict.fromkeys(_PLACEHOLDER.findall(STATEMENTS[name])))
        self.verb = name
        self.name = f"leaseq_{name}".encode()
        self.text = _PLACEHOLDER.sub(
            lambda match: f"${self.params.index(match[1]) + 1}", STATEMENTS[name]
        ).encode()


HOT = (
    "submit_plain",
    "submit_tasks",
    "submit_counted",
    "submit_labelled",
    "submit_bound",
    "submit_unique",
    "claim_tasks",
    "succeed_attempts",
    "settle_attempts",
    "settle_failed",
    "settle_errored",
    "settle_bound",
    "admit_tasks",
    "find_states",
    "find_changed",
    "take_tokens",
)
PREPARED = {name: Prepared(name) for name in HOT}


async def run_prepared(
    conn: FastCancelConnection,
    statement: Prepared,
    params: Mapping[str, Any],
    *,
    deadline: float | None = None,
) -> list[tuple[Any, ...]]:
    """Run a statement outside of any transaction, and return its rows. Values of `params` are None,
    str, bool or numbers. `deadline`: by the clock of the event loop. Raises `psycopg.Error` and
    `TimeoutError`."""
    values = [
        None if (value := params[name]) is None else str(value).encode()
        for name in statement.params
    ]
    return await conn.query_prepared(statement.name, statement.text, values, deadline)


__all__ = ["PREPARED", "Prepared", "run_prepared"]
