"""Show where the asyncio tasks of a test stood when it timed out."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator
from typing import Any

import pytest

TIME_IS_UP = "from pytest-timeout"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except pytest.fail.Exception as failure:
        if TIME_IS_UP in str(failure):
            item.add_report_section("call", "asyncio tasks", "\n\n".join(unfinished()))
        raise


def unfinished() -> list[str]:
    """Each task of any event loop that has not ended, with the calls that wait for each other in
    it."""
    tasks = [
        found for found in gc.get_objects() if isinstance(found, asyncio.Task) and not found.done()
    ]
    return [
        f"{task.get_name()}\n" + "\n".join(f"  {call}" for call in _calls(task.get_coro()))
        for task in tasks
    ]


def _calls(waiting: Any) -> list[str]:
    calls: list[str] = []
    while waiting is not None:
        frame = (
            getattr(waiting, "cr_frame", None)
            or getattr(waiting, "gi_frame", None)
            or getattr(waiting, "ag_frame", None)
        )
        calls.append(
            f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
            if frame
            else repr(waiting)
        )
        waiting = (
            getattr(waiting, "cr_await", None)
            or getattr(waiting, "gi_yieldfrom", None)
            or getattr(waiting, "ag_await", None)
        )
    return calls
