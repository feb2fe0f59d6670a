"""`leaseq demo` runs the demo of a clone, or reports that there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from leaseq.cli import main


def test_its_options_are_those_of_the_demo() -> None:
    """The number of tasks is refused by the demo itself: so it was reached. The demo as such is
    played in tests/e2e."""
    result = CliRunner().invoke(main, ["demo", "--tasks", "1"])
    assert result.exit_code == 2
    assert "--tasks" in result.output


def test_outside_a_clone_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "path", [entry for entry in sys.path if not (Path(entry) / "examples").is_dir()]
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "examples"]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 2
    assert (
        result.output
        == "leaseq: there is no directory examples/demo here: run `leaseq demo` in a clone of the repository\n"
    )
