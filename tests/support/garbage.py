"""Collect garbage less often than Python's default, in the processes of the tests.

A test of the API makes an application of a hundred thousand objects. A tenth of the time of these
tests went into collections of the youngest of them.
"""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 100)


def pytest_configure() -> None:
    gc.set_threshold(*THRESHOLDS)
