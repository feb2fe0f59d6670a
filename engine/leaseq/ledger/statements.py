"""Load the SQL statements.

Each is one file in `sql/`, in the folder of the module that runs it. Its file is named for its
verb, and has a header that says which transition it makes and what zero rows mean. `tasks.py` has
three folders, for tasks, for attempts and for idempotency keys. All statements are read once, at
import; asking for one that does not exist is a programming error. submit_counted.sql is a part of a
statement, whose other parts are those of submit_tasks.sql.
"""

from __future__ import annotations

from importlib.resources import files


def load_statements() -> dict[str, str]:
    """Every statement by its file name without the ending."""
    statements = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for folder in (files("leaseq.ledger") / "sql").iterdir()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    statements["submit_counted"] = _counted(
        statements["submit_tasks"], statements["submit_counted"]
    )
    return statements


def _counted(submit: str, counted: str) -> str:
    """submit_tasks.sql with more parts before its last line, so that no other file lists the
    options of a submission."""
    parts, last, answer = submit.rpartition("\n)\n")
    return f"{parts}{last.rstrip()},\n{counted}{answer}"


STATEMENTS = load_statements()

__all__ = ["STATEMENTS", "load_statements"]
