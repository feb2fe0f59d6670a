"""The order of the tests in a parallel run: long ones are not among the last.

Each process begins with an equal part of the list, and those that are done take from the ends of
the others' parts. Where long tests stand at the end of the list, most processes wait for the last
one. So the files with tests of whole processes, which take longest, are dealt to all parts. They
come later in each part than in the one before, so that they do not run at the same time. A file
stays in one piece, since its tests may share servers. Tests that were deselected have no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

LONG = {"chaos", "e2e", "failover", "typing"}
LATEST_START = 0.6  # of its part

File = list[pytest.Item]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same list in every process: it depends on the collection and on the number of
    processes."""
    if hasattr(config, "workerinput"):
        items[:] = in_parts(items, config.workerinput["workercount"])


def in_parts(items: Sequence[pytest.Item], count: int) -> list[pytest.Item]:
    """The tests in `count` nearly equal parts, each with its share of the long ones."""
    files = [list(group) for _, group in groupby(items, key=_file_of)]
    parts: list[list[File]] = [[] for _ in range(count)]
    for file in sorted((file for file in files if _is_long(file)), key=len, reverse=True):
        min(parts, key=_size).append(file)
    quick = [file for file in files if not _is_long(file)]
    for number, part in enumerate(parts):
        heavy, light = list(part), list[File]()
        while quick and _size(heavy) + _size(light) < len(items) / count:
            light.append(quick.pop(0))
        start = round(len(light) * LATEST_START * number / count)
        part[:] = light[:start] + heavy + light[start:]
    parts[-1] += quick
    return [item for part in parts for file in part for item in file]


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _is_long(file: File) -> bool:
    return not LONG.isdisjoint(Path(_file_of(file[0])).parts)


def _size(part: Sequence[File]) -> int:
    return sum(map(len, part))
