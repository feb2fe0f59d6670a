"""The documents agree with the code.

Tables that repeat the code are compared with it; links lead somewhere; Python blocks run, named
commands and tests exist.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import pytest
from docs.make_meanings import TARGET, meanings, text

from leaseq import cli
from leaseq.backoff import Backoff
from leaseq.config import FILE_VARIABLES, Config
from leaseq.ledger.statements import STATEMENTS
from leaseq.lifecycle import TRANSITIONS, after
from leaseq.model import Counts, Ending, Outcome, State, TaskError
from leaseq.observability.events import CATALOGUE
from leaseq_chaos.checkers.catalogue import CHECKERS
from support.prose import all_prose, read_prose
from support.references import NUMBERED, dead_references
from support.source_tree import PACKAGES, ROOT
from support.why_cases import FORGED

DOCS = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
LIFECYCLE, OPERATIONS = ROOT / "docs" / "lifecycle.md", ROOT / "docs" / "operations.md"

ASKED = 5.0
FRESH, LAST = Counts(0, 0, 0, 5), Counts(4, 0, 0, 5)
ERROR = TaskError("error", "no")

# The arguments of `after` for each row of the table of outcomes, in its order.
CASES = [
    (Ending(Outcome.SUCCEEDED), FRESH),
    (Ending(Outcome.ERRORED, error=ERROR), FRESH),
    (Ending(Outcome.ERRORED, error=ERROR, delay=ASKED), FRESH),
    (Ending(Outcome.ERRORED, error=ERROR), LAST),
    (Ending(Outcome.ERRORED, error=ERROR, permanent=True), FRESH),
    (Ending(Outcome.TIMED_OUT, error=ERROR), FRESH),
    (Ending(Outcome.TIMED_OUT, error=ERROR), LAST),
    (Ending(Outcome.CANCELLED), FRESH),
    (Ending(Outcome.RELEASED), FRESH),
    (Ending(Outcome.RELEASED, self_caused=True), FRESH),
    (Ending(Outcome.RELEASED, delay=0.0, self_caused=True), FRESH),
    (Ending(Outcome.ERRORED, error=ERROR, self_caused=True), Counts(0, 0, 0, 5, 1)),
    (Ending(Outcome.LOST), FRESH),
    (Ending(Outcome.LOST), Counts(0, 0, 11, 5)),
    (Ending(Outcome.LOST, alone=True), Counts(0, 1, 0, 5)),
    (Ending(Outcome.LOST, alone=True), Counts(0, 2, 0, 5)),
]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _table(path: Path, *titles: str) -> list[list[str]]:
    """The cells of the one table with these titles, without backquotes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = "| " + " | ".join(titles) + " |"
    assert lines.count(head) == 1, f"{_name(path)} has no single table {head}"
    rows = []
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    assert {len(row) for row in rows} == {len(titles)}
    return rows


def test_the_diagram_is_the_table_of_transitions() -> None:
    (diagram,) = re.findall(
        r"```mermaid\nstateDiagram-v2\n(.*?)```", LIFECYCLE.read_text(encoding="utf-8"), re.DOTALL
    )
    arrows = [re.fullmatch(r"\s*(\S+) --> (\w+): (\w+)", line) for line in diagram.splitlines()]
    assert None not in arrows
    drawn = [
        (None if arrow[1] == "[*]" else State(arrow[1]), arrow[3], State(arrow[2]))
        for arrow in arrows
        if arrow
    ]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == TRANSITIONS


def test_the_table_of_verbs_is_the_table_of_transitions() -> None:
    told = set()
    for verb, sources, targets, _, statement, _ in _table(
        LIFECYCLE, "verb", "from", "to", "condition", "statement", "who"
    ):
        assert statement.removesuffix(".sql") in STATEMENTS
        froms = [None if source == "nothing" else State(source) for source in sources.split(", ")]
        told |= {
            (source, verb, State(target)) for source in froms for target in targets.split(", ")
        }
    assert told == TRANSITIONS


def test_every_state_is_explained() -> None:
    assert [row[0] for row in _table(LIFECYCLE, "state", "what it means", "how it ends")] == list(
        State
    )


def test_the_table_of_outcomes_is_what_the_code_decides() -> None:
    told = [
        [row[0], row[2], row[3], row[4]]
        for row in _table(LIFECYCLE, "outcome", "when", "state", "delay", "adds")
    ]
    assert told == [_decided(ending, counts) for ending, counts in CASES]
    assert {row[0] for row in told} == set(Outcome)


def _decided(ending: Ending, counts: Counts) -> list[str]:
    disposition = after(
        ending,
        counts,
        backoff=Backoff(3600.0, 3600.0),
        max_crashes=3,
        hand_backs=Backoff(300.0, 300.0),
    )
    delay = {0.0: "none", ASKED: "as asked"}.get(disposition.delay, "backoff")
    charged = {
        "a retry": disposition.retries,
        "a crash": disposition.crashes,
        "a loss": disposition.losses,
    }
    charged["a hand-back"] = (disposition.hand_backs or 0) > counts.hand_back_count
    adds = " and ".join(what for what, number in charged.items() if number) or "nothing"
    return [ending.outcome.value, disposition.state.value, delay, adds]


def test_every_event_is_explained() -> None:
    told = {
        row[0]: (row[1], row[2])
        for row in _table(OPERATIONS, "event", "level", "fields", "what it means, and what to do")
    }
    assert told == {
        name: (
            logging.getLevelName(kind.level).lower(),
            ", ".join([*kind.required.split(), *_bracketed(kind.optional)]),
        )
        for name, kind in CATALOGUE.items()
    }


def test_the_diary_has_the_meanings_of_the_page() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "run `make generated`"
    assert meanings().keys() == CATALOGUE.keys()
    assert all(count % 2 == 0 for count in (each.count("`") for each in meanings().values()))


def _bracketed(names: str) -> list[str]:
    return [f"[{name}]" for name in names.split()]


def test_every_setting_is_explained_with_its_default() -> None:
    told = {row[0]: row[1] for row in _table(OPERATIONS, "setting", "default", "unit", "meaning")}
    defaults = {name: getattr(Config(), name) for name in Config.__struct_fields__}
    shown = {
        name: f"{value:.12g}" if isinstance(value, float) else str(value)
        for name, value in defaults.items()
    }
    shown |= {name: "embedded" for name, value in defaults.items() if value is None}
    none = dict.fromkeys(
        (
            *("api_hosts", "api_proxies", "api_tls_cert", "api_tls_key"),
            *("app_version", "metrics_port", "ui_label"),
        ),
        "none",
    )
    shown |= {"handler_postgres_url": "postgres_url"} | none
    shown |= {
        name: str(value).lower() for name, value in defaults.items() if isinstance(value, bool)
    }
    assert told == shown


def test_a_setting_in_seconds_or_bytes_says_so() -> None:
    for name, _, unit, _ in _table(OPERATIONS, "setting", "default", "unit", "meaning"):
        assert (unit == "s") == name.endswith("_seconds"), name
        assert (unit == "bytes") == name.endswith("_bytes"), name


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if re.match(r"https?:|mailto:", target):
            continue
        there = path if not file else (path.parent / file).resolve()
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    assert broken == []


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_files_and_variables_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    known = {f"LEASEQ_{name.upper()}" for name in Config.__struct_fields__} | FILE_VARIABLES
    variables = set(re.findall(r"\bLEASEQ_[A-Z_]*[A-Z]\b", text)) - known
    assert {
        name
        for name in variables
        if not name.startswith(("LEASEQ_TEST_", "LEASEQ_BENCH_", "LEASEQ_CHAOS_"))
    } == set()
    files = re.findall(
        r"`((?:engine|api|reaper|chaos|tests|docs|bench|deploy|examples)/[\w./-]+)`", text
    )
    assert [file for file in files if not (ROOT / file).exists()] == []
    statements = {
        path.name
        for folder in PACKAGES.values()
        for kind in ("*.sql", "*.lua")
        for path in folder.rglob(kind)
    }
    told = set(re.findall(r"`(\w+\.(?:sql|lua))`", text))
    assert told - statements - {path.name for path in (ROOT / "examples").rglob("*.sql")} == set()


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_tests_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert re.search(
            rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE
        ), f"{file}::{name}"


def test_references_in_prose_exist() -> None:
    dead = [reference for prose in all_prose() for reference in dead_references(prose)]
    assert not dead, "\n" + "\n".join(dead)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engine/leaseq/forged.py", '"""A bound (P99)."""\n'),
        ("engine/leaseq/forged.py", "x = 1  # as docs/pitfalls.md#p99 says\n"),
        ("engine/leaseq/forged.py", "x = 1  # docs/pitfalls.md#p1 to #p99\n"),
        ("engine/leaseq/forged.py", '"""A checker (I99)."""\n'),
        ("engine/leaseq/ledger/sql/forged.sql", "-- forged: see settle_nothing.sql\nselect 1\n"),
        ("engine/leaseq/dispatch/lua/forged.lua", "-- forged: see nothing.py\nreturn 1\n"),
        ("docs/forged.md", "As G99 promises.\n"),
        ("docs/forged.md", "See `dispatch/lua/nothing.lua`.\n"),
    ],
)
def test_reference_to_nothing_is_found(name: str, text: str) -> None:
    assert list(dead_references(read_prose(name, text)))


def test_every_checker_has_a_numbered_invariant() -> None:
    rows = _table(ROOT / "docs" / "chaos.md", "number", "invariant", "checker")
    assert {row[2] for row in rows} == set(CHECKERS)
    for number, _, checker in rows:
        (prose,) = [
            prose
            for prose in all_prose()
            if prose.name == f"chaos/leaseq_chaos/checkers/{checker}.py"
        ]
        assert re.search(rf"\b{number}\b", prose.text), f"{prose.name} does not name {number}"


def test_every_pitfall_is_cited() -> None:
    file, form = NUMBERED["P"]
    pitfalls = re.findall(form, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    cited = {
        number
        for prose in all_prose()
        if prose.name.endswith((".py", ".sql", ".lua"))
        for number in _cited(prose.text)
    }
    assert set(pitfalls) == cited


def _cited(text: str) -> set[str]:
    found = set()
    for first, joint, last in re.findall(
        r"docs/pitfalls\.md#p(\d+)(?:(, | to |\nto )#p(\d+))?", text
    ):
        numbers = (
            range(int(first), int(last) + 1) if "to" in joint else {int(first), int(last or first)}
        )
        found |= {f"P{number}" for number in numbers}
    return found


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_python_blocks_run(path: Path) -> None:
    """Definitions are executed; what waits for something is only compiled, since it needs
    servers."""
    for block in re.findall(
        r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        code = compile(block, f"{_name(path)}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waits = bool(code.co_flags & 0x80)  # inspect.CO_COROUTINE
        if not waits:
            exec(code, {"__name__": "docs"})


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_json_blocks_are_json(path: Path) -> None:
    for block in re.findall(
        r"^```json\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        json.loads(block)


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_commands_that_are_named_exist(path: Path) -> None:
    known = {name for commands in cli.COMMANDS.values() for name in commands}
    text = path.read_text(encoding="utf-8")
    told = set(re.findall(r"`leaseq ([a-z][a-z-]*)", text)) | set(
        re.findall(r"^(?:\$ )?leaseq ([a-z][a-z-]*)", _shell(text), re.MULTILINE)
    )
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert told - known == set()
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) - targets == set()


def _shell(text: str) -> str:
    return "\n".join(
        re.findall(r"^```(?:sh|console|shell)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    )


def test_every_document_is_in_the_index() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    decided = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    numbers = re.findall(r"^\| \[(\d+)\]\((\d{4})-", decided, re.MULTILINE)
    assert [int(shown) for shown, _ in numbers] == sorted({int(file) for _, file in numbers})
    for path in DOCS:
        if path.parent.name == "docs" and path.name != "README.md":
            assert f"({path.name})" in listed, path.name
        if path.parent.name == "decisions" and path.name != "README.md":
            assert f"({path.name})" in decided, path.name
            assert path.read_text(encoding="utf-8").startswith(f"# {int(path.name[:4])}. "), (
                path.name
            )


def test_why_lists_every_case_with_its_states() -> None:
    text = (ROOT / "docs" / "why.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    states: dict[str, set[str]] = {}
    for forged in FORGED:
        state = "none" if forged.facts.task is None else forged.facts.task.state.value
        states.setdefault(forged.case, set()).add(state)
    assert {case: set(listed.split(", ")) for case, listed in told.items()} == states
