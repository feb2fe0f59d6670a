"""Statements, scripts and migrations have headers, one wrapper, and a use.

Each has a header that says what it does and what no rows (or a return value) mean; each is named in
exactly one place, by the one method that wraps it; an unnamed file is dead and must go. A wrapper
passes exactly the parameters of its file.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from leaseq.dispatch.scripts import SCRIPTS
from leaseq.ledger.schema import MIGRATIONS
from leaseq.ledger.statements import STATEMENTS
from leaseq_chaos.statements import STATEMENTS as CHAOS_STATEMENTS
from support.source_tree import PACKAGES, ROOT, calls, literals, services, shipped

SQL = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.sql"))
CHAOS = PACKAGES["leaseq_chaos"]
LEDGER = PACKAGES["leaseq"] / "ledger"
STORE = sorted((LEDGER / "sql").rglob("*.sql"))
# The module `tasks` runs the statements of three folders.
FOLDERS_OF_TASKS = {"attempts": "tasks", "keys": "tasks"}
LUA = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.lua"))
VERBS = "submit|promote|claim|settle|cancel|redrive"


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _header(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(
        (number for number, line in enumerate(lines) if not line.startswith("--")), len(lines)
    )
    return "\n".join(lines[:end])


@pytest.mark.parametrize("path", [*SQL, *LUA], ids=_name)
def test_the_header_says_something(path: Path) -> None:
    assert len(_header(path).split()) > 4, (
        f"{_name(path)} begins without a comment that says what it does"
    )


@pytest.mark.parametrize("path", LUA, ids=_name)
def test_a_script_says_its_keys_and_its_answer(path: Path) -> None:
    header, text = _header(path), path.read_text(encoding="utf-8")
    for what in ("KEYS[1]", "Returns"):
        assert what in header, f"{_name(path)}: {what}"
    for argument in set(re.findall(r"ARGV\[\d\]", text)):
        assert argument in header, f"{_name(path)} reads {argument} and does not say what it is"


@pytest.mark.parametrize("path", [path for path in SQL if "sql" in path.parts], ids=_name)
def test_a_conditional_write_says_what_no_answer_means(path: Path) -> None:
    header = _header(path)
    statement = path.read_text(encoding="utf-8").removeprefix(header)
    if re.search(r"\bwhere\b.*\breturning\b", statement, re.DOTALL):
        assert re.search(r"[Zz]ero(\n--)? rows|not(\n--)? come back|without a state", header)


@pytest.mark.parametrize(
    "path", [path for path in SQL if re.match(f"({VERBS})_", path.stem)], ids=_name
)
def test_a_verb_names_its_transition(path: Path) -> None:
    verb = path.stem.partition("_")[0]
    assert re.match(rf"-- {verb}: .*(->|→)", _header(path)), (
        f"{_name(path)} does not begin with `{verb}: FROM -> TO`"
    )


def test_every_statement_has_one_wrapper() -> None:
    named = Counter(
        node.value
        for module in services()
        for call in calls(module, "fetch")
        for node in call.args[:1]
        if isinstance(node, ast.Constant)
    )
    named.update(
        node.slice.value
        for module in services()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value) == "STATEMENTS"
        and isinstance(node.slice, ast.Constant)
    )
    assert named == Counter(dict.fromkeys(STATEMENTS, 1))


@pytest.mark.parametrize("path", STORE, ids=_name)
def test_statement_lies_in_the_folder_of_the_module_that_runs_it(path: Path) -> None:
    folder = path.parent.name
    file = LEDGER / f"{FOLDERS_OF_TASKS.get(folder, folder)}.py"
    # Connections of handlers send another statement under the same name (session.py).
    names = {path.stem, path.stem.removeprefix("handler_")}
    assert names & {text for m in services() if m.path == file for _, text in literals(m)}


def test_every_script_has_one_wrapper() -> None:
    named = Counter(
        node.value
        for module in services()
        if module.path.parent == PACKAGES["leaseq"] / "dispatch"
        for call in [*calls(module, "run"), *calls(module, "run_each")]
        for node in call.args[:1]
        if isinstance(node, ast.Constant)
    )
    assert named == Counter(dict.fromkeys(SCRIPTS, 1))


def test_every_statement_file_is_used() -> None:
    read = {path for path in (LEDGER / "sql").glob("*/*.sql") if path.stem in STATEMENTS}
    assert len(read) == len(STATEMENTS)
    read |= {LEDGER / "migrations" / f"{m.version:04}_{m.name}.sql" for m in MIGRATIONS}
    own = (
        "session",
        "plans",
        "read_only",
        "reset",
        "identity",
        "readiness",
        "end_session",
        "probe_session",
        "probe_mark",
        "probe_found",
    )
    read |= {PACKAGES["leaseq"] / "connections" / "sql" / f"{name}.sql" for name in own}
    transaction = ("begin_attempt", "prepare_settle", "identify_transaction", "undo_attempt")
    read |= {
        PACKAGES["leaseq"] / "worker" / "attempt" / "sql" / f"{name}.sql" for name in transaction
    }
    assert {path for path in SQL if CHAOS not in path.parents} == read
    assert set(LUA) == {PACKAGES["leaseq"] / "dispatch" / "lua" / f"{name}.lua" for name in SCRIPTS}


def test_every_statement_of_the_chaos_suite_is_used() -> None:
    named = {
        text for module in shipped() if CHAOS in module.path.parents for _, text in literals(module)
    }
    assert CHAOS_STATEMENTS
    assert set(CHAOS_STATEMENTS) <= named


def test_a_statement_is_given_exactly_what_it_asks_for() -> None:
    """Where the parameters are a dictionary in the call or just above it."""
    checked = 0
    for module in services():
        for function in ast.walk(module.tree):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            given = [node for node in ast.walk(function) if isinstance(node, ast.Dict)]
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if (
                    not (
                        ast.unparse(call.func).endswith(".fetch")
                        and isinstance(call.args[0], ast.Constant)
                    )
                    or len(given) != 1
                ):
                    continue
                keys = {key.value for key in given[0].keys if isinstance(key, ast.Constant)}
                if "arrays" in ast.unparse(function):
                    continue
                checked += 1
                assert keys == _asked(str(call.args[0].value)), f"{module.name}:{call.lineno}"
    assert checked >= 15


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def _asked(name: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", STATEMENTS[name]))
