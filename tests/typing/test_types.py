"""Type checkers see the signatures of tasks.

mypy always; pyright where there is a `node` to run it (its wheel brings the rest, nothing is
fetched).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from mypy import api

from support.source_tree import ROOT

RIGHT, WRONG = (Path(__file__).with_name(name) for name in ("right.py", "wrong.py"))
MISTAKES = {
    number
    for number, line in enumerate(WRONG.read_text(encoding="utf-8").splitlines(), 1)
    if line.endswith("# wrong")
}


@pytest.mark.slow("mypy without a cache")
def test_mypy_finds_the_mistakes_and_nothing_else(tmp_path: Path) -> None:
    asked = [
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(tmp_path),
        "--no-error-summary",
    ]
    said, trouble, _ = api.run([*asked, str(RIGHT), str(WRONG)])
    assert trouble == ""
    assert _lines(re.findall(r"^(\S+?):(\d+): error:", said, re.MULTILINE)) == {
        WRONG.name: MISTAKES
    }, said


@pytest.mark.slow("pyright")
@pytest.mark.skipif(
    shutil.which("node") is None, reason="pyright needs a node to run on, and there is none"
)
def test_pyright_finds_the_mistakes_and_nothing_else(tmp_path: Path) -> None:
    # Copies, in a project of their own: ours leaves the file with the mistakes out.
    for path in (RIGHT, WRONG):
        shutil.copy(path, tmp_path)
    settings = {
        "extraPaths": [str(ROOT / "engine"), str(ROOT / "api" / "leaseq-http")],
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--project",
        str(tmp_path),
        "--pythonpath",
        sys.executable,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(run.stdout)["generalDiagnostics"]
    places = [
        (str(each["file"]), int(each["range"]["start"]["line"]) + 1)
        for each in found
        if each["severity"] == "error"
    ]
    assert _lines(places) == {WRONG.name: MISTAKES}, run.stdout


def _lines(places: Iterable[tuple[str, str | int]]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, line in places:
        found.setdefault(Path(name).name, set()).add(int(line))
    return found
