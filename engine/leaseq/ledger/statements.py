"""Load the SQL statements.

Each is one file in `sql/`, in the folder of the module that runs it. Its file is named for its
verb, and has a header that says which transition it makes and what zero rows mean. `tasks.py` has
three folders, for tasks, for attempts and for idempotency keys. All statements are read once, at
import; asking for one that does not exist is a programming error.
"""

from __future__ import annotations

from importlib.resources import files


def load_statements() -> dict[str, str]:
    """Every statement by its file name without the ending."""
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for folder in (files("leaseq.ledger") / "sql").iterdir()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }


STATEMENTS = load_statements()

__all__ = ["STATEMENTS", "load_statements"]
