"""Load the SQL statements.

Each is one file in `sql/`, named for its verb, with a header that says which transition it makes
and what zero rows mean. All are read once, at import; asking for one that does not exist is a
programming error.
"""

from __future__ import annotations

from importlib.resources import files


def load_statements() -> dict[str, str]:
    """Every statement by its file name without the ending."""
    folder = files("leaseq.ledger") / "sql"
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }


STATEMENTS = load_statements()

__all__ = ["STATEMENTS", "load_statements"]
