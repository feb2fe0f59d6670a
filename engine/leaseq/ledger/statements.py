"""Load the SQL statements.

Each is one file in `sql/`, in the folder of the module that runs it. Its file is named for its
verb, and has a header that says which transition it makes and what zero rows mean. `tasks.py` has
three folders, for tasks, for attempts and for idempotency keys. All statements are read once, at
import; asking for one that does not exist is a programming error. submit_counted.sql and
settle_failed.sql are parts of statements, whose other parts are those of submit_tasks.sql and
settle_attempts.sql.
"""

from __future__ import annotations

from importlib.resources import files

# The columns of settled tasks follow this in settle_attempts.sql. A dead letter has these besides.
SETTLED = "    returning\n"
DEAD = "        t.tenant, t.finished_at,\n"


def load_statements() -> dict[str, str]:
    """Every statement by its file name without the ending."""
    statements = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for folder in (files("leaseq.ledger") / "sql").iterdir()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    # No second file lists the options of a submission, or the columns of an ending.
    statements["submit_counted"] = _with_parts(
        statements["submit_tasks"], statements["submit_counted"]
    )
    statements["settle_failed"] = _with_parts(
        statements["settle_attempts"].replace(SETTLED, SETTLED + DEAD, 1),
        statements["settle_failed"],
    )
    return statements


def _with_parts(statement: str, parts: str) -> str:
    """A statement with more parts before its last line."""
    before, last, answer = statement.rpartition("\n)\n")
    return f"{before}{last.rstrip()},\n{parts}{answer}"


STATEMENTS = load_statements()

__all__ = ["STATEMENTS", "load_statements"]
