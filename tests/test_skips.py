"""A skip that is not listed fails the run of CI, and only that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.skips import LISTED
from support.source_tree import ROOT

SKIPS = """
import pytest

def test_runs():
    pass

def test_is_skipped():
    pytest.skip("the reason is {reason}")
"""


@pytest.mark.parametrize(
    ("file", "reason", "listed", "code", "workers"),
    [
        ("test_more.py", "laziness", "listed", 1, "0"),
        ("test_more.py", "laziness", "listed", 1, "1"),
        ("test_more.py", "laziness", "", 0, "0"),
        ("tests/ledger/test_migrate_live.py", "that it has no history", "listed", 0, "0"),
        ("tests/ledger/test_migrate_live.py", "laziness", "listed", 1, "0"),
    ],
)
def test_a_skip_that_is_not_listed_fails_the_run(
    tmp_path: Path, file: str, reason: str, listed: str, code: int, workers: str
) -> None:
    test = tmp_path / file
    test.parent.mkdir(parents=True, exist_ok=True)
    test.write_text(SKIPS.replace("{reason}", reason), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    # Only the plugins that count: the others take longer to import than the rest of the run.
    env = {
        **os.environ,
        "LEASEQ_TEST_SKIPS": listed,
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "xdist",
        "-n",
        workers,
        "-p",
        "support.skips",
        file,
    ]
    ran = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("not listed in tests/support/skips.py" in ran.stdout) is (reason == "laziness"), (
        ran.stdout
    )


def test_listed_skips_exist() -> None:
    for file, _, why in LISTED:
        assert (ROOT / file).is_file(), file
        assert why
