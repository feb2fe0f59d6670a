"""The rules of the house hold in the whole tree.

Every rule is tried twice: on the whole tree, where it must find nothing, and on a forged module,
where it must find something (a checker that has never failed is not a checker).
"""

from __future__ import annotations

import ast
import gc
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from leaseq.observability.telemetry import EVENTS
from support import tidy_rules as rules
from support.plain_english import asking_header, hidden_subjects, offences, unclear_docstring
from support.prose import all_prose, read_prose
from support.source_tree import (
    PACKAGES,
    ROOT,
    Module,
    calls,
    functions,
    parsed,
    services,
    shipped,
    texts,
    written,
)

Rule = Callable[[Module], Iterator[str]]
Scope = Callable[[], list[Module]]

# Each rule, where it holds, and pieces of code that break it.
RULES: list[tuple[Rule, Scope, list[str]]] = [
    (rules.files_are_short, written, ["x = 1\n" * 401]),
    (rules.functions_are_short, written, ["def f():\n" + "    x = 1\n" * 50]),
    (rules.modules_say_what_they_are_for, written, ["x = 1\n"]),
    (rules.file_names_say_something, written, [""]),
    (rules.annotations_are_real, written, ["if typing.TYPE_CHECKING:\n    pass\n"]),
    (rules.imports_stand_at_the_top, shipped, ["def f():\n    from leaseq.model import Task\n"]),
    (
        rules.no_judgement_goes_by_the_clock_on_the_wall,
        services,
        ["def f():\n    return time.time() > 5\n"],
    ),
    (
        rules.cancellations_are_never_swallowed,
        services,
        [
            "try:\n    x()\nexcept (OSError, asyncio.CancelledError):\n    pass\n",
            "with contextlib.suppress(asyncio.CancelledError):\n    x()\n",
        ],
    ),
    (
        rules.sql_stands_in_sql_files,
        services,
        ["run('update leaseq.tasks set state = null')\n", "run('SELECT 1')\n"],
    ),
    (rules.lua_stands_in_lua_files, services, ["run(\"return redis.call('TIME')\")\n"]),
    (
        rules.redis_keys_come_from_one_file,
        services,
        [
            "key = f'leaseq:{{{queue}}}:ready'\n",
            "key = f'{prefix}:{{{queue}}}:ready'\n",
            "key = f'{prefix}:probe'\n",
        ],
    ),
    (
        rules.names_keep_to_the_vocabulary,
        written,
        [
            "def next_job(): ...\n",
            "class TaskManager: ...\n",
            "send_message = None\n",
            "def f(task_status): ...\n",
        ],
    ),
    (
        rules.events_are_known,
        services,
        [
            "emit('task.finished', task_id=1)\n",
            "emit('queue.paused' if paused else 'queue.unpaused')\n",
        ],
    ),
    (
        rules.events_have_their_fields,
        services,
        [
            "emit('queue.paused')\n",
            "emit('queue.paused', queue='a', by='me')\n",
            "emit('child.exited', pid=1, **about)\n",
        ],
    ),
    (
        rules.tenants_are_bound_at_the_edge,
        services,
        [
            "async def find(task_id, *, tenant='default'): ...\n",
            "def find(task_id, tenant=None): ...\n",
            "class Request(Struct):\n    tenant: str = 'default'\n",
            "client = engine.for_tenant(DEFAULT_TENANT)\n",
        ],
    ),
    (
        rules.stores_stay_behind_the_engine,
        services,
        [
            "async def f(engine):\n    await engine.stores.queues.list_queues()\n",
            "stores = service.engine.stores\n",
        ],
    ),
]
NAMES = [rule.__name__ for rule, _, _ in RULES]

# Spelt in pieces, or this file would be its own offender.
PLACES = re.compile(
    "|".join(
        (
            "/work" + "/",
            "/root" + "/",
            "/home" + r"/\w",
            "/Users" + r"/\w",
            "/tmp" + r"/(?!leaseq-)\w",
        )
    )
)
REGISTRIES = re.compile(
    "|".join(
        (
            "py" + r"pi\.org",
            "python" + "hosted",
            "npm" + r"js\.",
            "arti" + "factory",
            "index" + "-url",
        )
    )
)


@pytest.mark.parametrize(("rule", "scope"), [(rule, scope) for rule, scope, _ in RULES], ids=NAMES)
def test_the_tree_keeps_the_rule(rule: Rule, scope: Scope) -> None:
    found = [complaint for module in scope() for complaint in rule(module)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(("rule", "codes"), [(rule, codes) for rule, _, codes in RULES], ids=NAMES)
def test_the_rule_finds_what_breaks_it(rule: Rule, codes: list[str]) -> None:
    for code in codes:
        assert list(rule(Module(ROOT / "engine" / "leaseq" / "utils.py", code, ast.parse(code)))), (
            code
        )


def test_allowed_lengths_are_exact_and_over_the_limit() -> None:
    """So that a number shrinks with its file, and an entry goes with it."""
    lengths = {module.name: len(module.text.splitlines()) for module in written()}
    in_functions: dict[str, int] = {}
    for module in written():
        for function in functions(module):
            lines = (function.end_lineno or 0) - function.lineno + 1
            name = f"{module.name} {function.name}"
            in_functions[name] = max(lines, in_functions.get(name, 0))

    assert {name: lengths.get(name) for name in rules.LONGER} == rules.LONGER
    found = {name: in_functions.get(name) for name in rules.LONGER_FUNCTIONS}
    assert found == rules.LONGER_FUNCTIONS
    assert min(rules.LONGER.values()) > rules.SOURCE_LINES
    assert min(rules.LONGER_FUNCTIONS.values()) > rules.FUNCTION_LINES


class ParsesAtItsEnd:
    """The behaviour of Python 3.11 when it logs a task whose exception was never retrieved."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        ast.parse("x = 1")


class Littered:
    """A path that leaves garbage, which the next allocation collects."""

    def read_text(self, *, encoding: str) -> str:
        text = Path(__file__).read_text(encoding=encoding)
        gc.disable()
        for _ in range(100):
            ParsesAtItsEnd()
        gc.set_threshold(1, 1, 1)
        gc.enable()
        return text


def test_garbage_of_earlier_tests_does_not_disturb_the_parser() -> None:
    usual = gc.get_threshold()
    try:
        assert parsed.__wrapped__(cast(Path, Littered())).tree.body
    finally:
        gc.set_threshold(*usual)


def test_every_edge_names_the_default_tenant_once() -> None:
    names = [
        module.name
        for module in services()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name)
        and node.id == "DEFAULT_TENANT"
        and isinstance(node.ctx, ast.Load)
    ]
    assert sorted(names) == sorted(rules.TENANT_EDGES)


def test_modules_that_may_read_the_clock_do() -> None:
    known = {(module.name, function.name) for module in shipped() for function in functions(module)}
    assert set(rules.WALL_CLOCKS) <= known


def test_every_module_of_the_library_stands_on_a_floor() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    (floors,) = [
        contract
        for contract in linter["contracts"]
        if contract["name"] == "Imports go down the floors only"
    ]
    placed = {
        name.strip(" ()")
        for layer in floors["layers"]
        for name in layer.replace("|", ":").split(":")
    }
    rooms = {
        f"leaseq.{path.stem}"
        for path in PACKAGES["leaseq"].iterdir()
        if (path.suffix == ".py" and not path.stem.startswith("__"))
        or (path / "__init__.py").exists()
    }
    assert placed == rooms | {"leaseq_api", "leaseq_reaper"}


def test_every_event_is_emitted_somewhere() -> None:
    asked = {
        id(node)
        for module in services()
        for call in calls(module, "listening")
        for node in ast.walk(call)
    }
    said = {
        node.value
        for module in services()
        if module.path.name != "events.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and id(node) not in asked
    }
    assert EVENTS.keys() - said == set()


@pytest.mark.parametrize("forbidden", [PLACES, REGISTRIES], ids=["places", "registries"])
def test_the_tree_does_not_speak_of_the_machine_it_was_made_on(forbidden: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number} {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, "\n" + "\n".join(found)


def test_prose_is_plain_english() -> None:
    found = offences(all_prose())
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/forged.md", "Whoever has it lets go of it.\n"),
        ("docs/forged.md", "The list is read. What it lacks is put back.\n"),
        ("engine/leaseq/forged.py", "x = 1  # nobody is told at once\n"),
        (
            "engine/leaseq/forged.py",
            '"""A module."""\nraise ValueError("this is taken for what is left")\n',
        ),
        (
            "engine/leaseq/ledger/sql/forged.sql",
            "-- forged: what was there is gone for good\nselect 1\n",
        ),
        ("engine/leaseq/dispatch/lua/forged.lua", "-- forged: begins anew\nreturn 1\n"),
    ],
)
def test_hidden_subject_is_found(name: str, text: str) -> None:
    assert list(hidden_subjects(read_prose(name, text)))


def test_header_that_asks_is_found() -> None:
    name = "engine/leaseq/ledger/sql/tasks/forged.sql"
    assert list(asking_header(read_prose(name, "-- Which tasks are due?\nselect 1\n")))


@pytest.mark.parametrize(
    "docstring",
    ["How does it work?", "Keep leases.\n\nWhy? Because.", "No full stop", f"{'Long ' * 16}."],
)
def test_unclear_docstring_of_a_module_is_found(docstring: str) -> None:
    assert list(unclear_docstring(read_prose("engine/leaseq/forged.py", f'"""{docstring}"""\n')))
