"""Load the SQL statements.

Each is one file in `sql/`, in the folder of the module that runs it. Its file is named for its
verb, and has a header that says which transition it makes and what zero rows mean. `tasks.py` has
three folders, for tasks, for attempts and for idempotency keys. All statements are read once, at
import; asking for one that does not exist is a programming error.

Some files are parts of a statement, whose other parts are those of another file: submit_counted.sql,
submit_labelled.sql, submit_bound.sql and submit_unique.sql those of submit_tasks.sql,
handler_submit_labelled.sql, handler_submit_bound.sql and handler_submit_unique.sql those of
handler_submit_tasks.sql, list_labelled.sql and list_dead_letters.sql those of list_tasks.sql,
settle_errored.sql those of settle_attempts.sql, settle_failed.sql those of settle_errored.sql, and
settle_bound.sql those of settle_failed.sql.
So no second file lists the options of a submission, or the columns of a task or of an ending.
"""

from __future__ import annotations

import re
from importlib.resources import files

# The columns of settled tasks follow this in settle_attempts.sql. A failure has these besides.
SETTLED = "    returning\n"
ERRORED = "        t.tenant, t.finished_at,\n"


# Before a text of another statement, and before the text that stands in its place.
INSTEAD = "--- instead of\n"
WRITE = "--- write\n"
_CALLED = re.compile(r"leaseq\.handler_submit\w*\(")


def load_statements() -> dict[str, str]:
    """Every statement by its file name without the ending."""
    statements = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for folder in (files("leaseq.ledger") / "sql").iterdir()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    _compose(statements)
    return statements


def _compose(statements: dict[str, str]) -> None:
    """Complete the statements whose files are parts."""
    settle = statements["settle_attempts"].replace(SETTLED, SETTLED + ERRORED, 1)
    statements["settle_errored"] = _with_parts(settle, statements["settle_errored"])
    for name, whole in (
        ("submit_counted", "submit_tasks"),
        ("submit_labelled", "submit_counted"),
        ("settle_failed", "settle_errored"),
    ):
        statements[name] = _with_parts(statements[whole], statements[name])
    for name, whole in (
        ("submit_bound", "submit_labelled"),
        ("submit_unique", "submit_bound"),
        ("settle_bound", "settle_failed"),
    ):
        statements[name] = _changed(statements[whole], statements[name])
    for name, whole, function in (
        ("handler_submit_labelled", "handler_submit_tasks", "handler_submit"),
        ("handler_submit_bound", "handler_submit_labelled", "handler_submit_bound"),
        ("handler_submit_unique", "handler_submit_bound", "handler_submit_unique"),
    ):
        parameters, end, rest = statements[whole].rpartition("\n)")
        parameters = _CALLED.sub(f"leaseq.{function}(", parameters, count=1)
        statements[name] = f"{parameters},\n{statements[name].rstrip()}{end}{rest}"
    _, _, answer = statements["list_tasks"].rpartition("\n)\n")
    statements["list_labelled"] += answer
    statements["list_dead_letters"] += answer


def _changed(statement: str, changes: str) -> str:
    """A statement in which each text stands in place of another one, which occurs once."""
    for change in changes.split(INSTEAD)[1:]:
        old, _, new = change.partition(WRITE)
        before, found, after = statement.partition(old.rstrip("\n"))
        assert found, f"a statement has no {old!r}"
        statement = before + new.rstrip("\n") + after
    return statement


def _with_parts(statement: str, parts: str) -> str:
    """A statement with more parts before its last line."""
    before, last, answer = statement.rpartition("\n)\n")
    return f"{before}{last.rstrip()},\n{parts}{answer}"


STATEMENTS = load_statements()

__all__ = ["STATEMENTS", "load_statements"]
