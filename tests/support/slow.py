"""The tests that `make test` leaves out: few, each with a reason.

`@pytest.mark.slow("reason")` marks a test that starts whole fleets of processes, or waits for
outages, for tens of seconds. `make test-slow` runs these alone and `make test-all` every test;
`.ci/run` calls `make test` and `make test-slow`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LARGEST_SHARE = 0.03
WHOLE_SUITE = 2000  # a run that collects fewer tests is one of a part


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Check the marks before any is used to deselect."""
    if complaints := wrong_marks(items):
        raise pytest.UsageError("\n".join(complaints))


def wrong_marks(items: Sequence[pytest.Item]) -> list[str]:
    """Marks without a reason, and a share of slow tests that is too large."""
    marked = [(item.nodeid, mark.args) for item in items for mark in item.iter_markers("slow")]
    complaints = [
        f'{name}: write @pytest.mark.slow("reason")'
        for name, args in marked
        if [type(arg) for arg in args] != [str] or not args[0].strip()
    ]
    if len(items) >= WHOLE_SUITE and len(marked) > LARGEST_SHARE * len(items):
        complaints.append(
            f"{len(marked)} of {len(items)} tests are marked slow; at most"
            f" {LARGEST_SHARE:.0%} may be, or make test proves too little"
        )
    return complaints
