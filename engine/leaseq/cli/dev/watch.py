"""Watch the code for changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

# Editors write a file in several steps, and a checkout changes many files together.
DEBOUNCE_MILLISECONDS = 400


async def changes(stop: asyncio.Event) -> AsyncIterator[str]:
    """One path of each group of .py files below the current directory that changed together."""
    from watchfiles import PythonFilter, awatch  # an optional extra

    here = Path.cwd()
    async for group in awatch(
        here,
        watch_filter=PythonFilter(),
        debounce=DEBOUNCE_MILLISECONDS,
        stop_event=stop,
        raise_interrupt=False,
    ):
        paths = sorted(path for _, path in group)
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        yield paths[0].removeprefix(f"{here}/") + more


__all__ = ["changes"]
