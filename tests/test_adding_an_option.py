"""Count the edits of one new submission option, for docs/adding-an-option.md.

A file that lists every recorded option is a file that the next one has to be added to.
"""

from __future__ import annotations

import re

from leaseq.options import SubmitOptions
from leaseq.uniqueness import UniqueOptions
from support.source_tree import PACKAGES, ROOT

# The options that a task keeps under their own names, as code and SQL write them. A delay is kept
# as the moment `run_at`.
RECORDED = {
    "queue": r"\bqueues?\b",
    "priority": r"\bpriorit(y|ies)\b",
    "run_at": r"\brun_ats?\b",
    "max_attempts": r"\bmax_attempts\b",
    "timeout_seconds": r"\btimeout_seconds\b",
    "expires_at": r"\bexpires_ats?\b",
}
# Options that a task does not keep under their own names. Labels are rows of a separate table, which
# parts of these statements write, and a key is for the few tasks that have a limit or a unique key.
UNIQUE = {"unique_key", *UniqueOptions.__struct_fields__}
LEFT_OUT = {"delay_seconds", "labels", "concurrency_key", *UNIQUE}
# Options that workers get with their claim.
HANDED = {"queue", "max_attempts", "timeout_seconds"}
MOST_EDITS = 5


def _lists_all(text: str) -> bool:
    return all(re.search(form, text) for form in RECORDED.values())


def _places() -> set[str]:
    """The files of the product that list every recorded option. A migration is written once for
    each option anyway."""
    found = set()
    for name in ("leaseq", "leaseq_api", "leaseq_reaper"):
        for path in PACKAGES[name].rglob("*"):
            if (
                path.suffix in (".py", ".sql")
                and path.parent.name != "migrations"
                and _lists_all(path.read_text(encoding="utf-8"))
            ):
                found.add(path.relative_to(ROOT).as_posix())
    return found


def _tables() -> dict[str, set[str]]:
    """The files in the table of each section of the page."""
    text = (ROOT / "docs" / "adding-an-option.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
        for section in sections
    }


def test_options_recorded_with_a_task_are_those_of_the_sample() -> None:
    assert set(SubmitOptions.__struct_fields__) - LEFT_OUT == set(RECORDED)


def test_edits_of_a_new_option_are_those_of_the_page() -> None:
    tables = _tables()
    handed = tables.pop("To hand it to workers")
    assert _places() == set().union(*tables.values())
    for place in handed:
        text = (ROOT / place).read_text(encoding="utf-8")
        assert all(re.search(RECORDED[name], text) for name in HANDED), place


def test_recording_a_new_option_costs_at_most_five_edits() -> None:
    assert 0 < len(_tables()["To record it"]) <= MOST_EDITS


def test_a_file_that_lists_the_options_again_is_found() -> None:
    copied = "\n".join(f"    {name}: Any = None" for name in RECORDED)
    assert _lists_all(copied)
    assert not _lists_all(copied.replace("expires_at", "other"))
