"""Each test runs in `make test` or in `make test-slow`, in one of them only."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any, cast

import pytest

from support.slow import LARGEST_SHARE, WHOLE_SUITE, wrong_marks
from support.source_tree import ROOT


class Item:
    """A test with a mark, or without one."""

    nodeid = "tests/test_more.py::test_more"

    def __init__(self, *args: Any, slow: bool = True) -> None:
        self.marks = [pytest.mark.slow(*args).mark] if slow else []

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        assert name == "slow"
        return self.marks


def complaints(*items: Item) -> list[str]:
    return wrong_marks(cast("list[pytest.Item]", [*items]))


def pytest_command(target: str) -> list[str]:
    """The arguments that a target gives to pytest."""
    made = subprocess.run(
        ["make", "--dry-run", target, "ARGS=--own"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in made.stdout.splitlines() if "-m pytest" in line]
    return shlex.split(line)


def test_the_two_targets_differ_in_the_selection_alone() -> None:
    whole = pytest_command("test-all")
    assert whole[-1] == "--own"
    common = whole[:-1]
    assert pytest_command("test") == [*common, "-m", "not slow", "--own"]
    assert pytest_command("test-slow") == [*common, "-m", "slow", "--own"]
    assert not [word for word in common[3:] if word.startswith(("-k", "--deselect", "--ignore"))]


def test_continuous_integration_runs_both() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"make test", line)] == [
        "make test",
        "make test-slow",
    ]


def test_mark_with_a_reason_is_accepted() -> None:
    assert complaints(Item("it plays the whole demo"), Item(slow=False)) == []


@pytest.mark.parametrize("args", [(), ("",), (" ",), (5,), ("one", "two")])
def test_mark_without_a_reason_is_refused(args: tuple[Any, ...]) -> None:
    (said,) = complaints(Item(*args))
    assert "reason" in said


def test_too_many_slow_tests_are_refused() -> None:
    most = int(LARGEST_SHARE * WHOLE_SUITE)
    quick = [Item(slow=False)] * (WHOLE_SUITE - most)
    assert complaints(*[Item("it is long")] * most, *quick) == []
    (said,) = complaints(*[Item("it is long")] * (most + 1), *quick)
    assert "too little" in said
