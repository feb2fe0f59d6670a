"""The list of allowed skips; the CI run fails on any other.

With LEASEQ_TEST_SKIPS=listed (`.ci/run` sets it) a skip that LISTED does not name makes the run
fail. Without it the skip is only named at the end, so that a machine without PgBouncer, say, can
run the rest.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

# The file of the test, a part of the reason, and why CI can live with it.
LISTED = [
    ("tests/typing/test_types.py", "pyright needs a node", "mypy checks the same files"),
    (
        "tests/chaos/test_nemeses.py",
        "",
        "a nemesis names the right that it lacks; chaos runs report it too",
    ),
    (
        "tests/chaos/test_report.py",
        "the report cannot be looked at",
        "a browser is large; the report's text is tested without",
    ),
    (
        "tests/api/test_docs_page.py",
        "the page cannot be looked at",
        "a browser is large; the files and the policy of the page are tested without",
    ),
    (
        "tests/ui/test_in_browser.py",
        "the page cannot be looked at",
        "a browser is large; the pages are tested without, too",
    ),
    (
        "tests/ui/test_live_in_browser.py",
        "the page cannot be looked at",
        "as the file above",
    ),
    ("tests/unit/test_bench_page.py", "only the extra `bench`", "pictures of the benchmark"),
    (
        "tests/unit/test_start_task.py",
        "this Python starts every task",
        "Python 3.11 has no eager tasks",
    ),
    ("tests/ledger/test_migrate_live.py", "has no history", "a source archive has no old revision"),
    (
        "tests/test_embedded_directories.py",
        "",
        "one half is for root, the other for everybody else",
    ),
    (
        "tests/test_deploy.py",
        "compose-spec has wheels",
        "other systems cannot read Compose's grammar",
    ),
]

_unlisted: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _unlisted:
        terminalreporter.write_line(
            f"skipped, and not listed in tests/support/skips.py: {line}", yellow=True
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (
        _unlisted
        and os.environ.get("LEASEQ_TEST_SKIPS") == "listed"
        and session.exitstatus == pytest.ExitCode.OK
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(report.nodeid.startswith(file) and part in said for file, part, _ in LISTED):
        _unlisted.append(f"{report.nodeid} ({said})")
