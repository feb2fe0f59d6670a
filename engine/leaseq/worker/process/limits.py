"""The limits of a worker process, which its handlers share.

A handler that sets a limit for itself (`resource.setrlimit`, to bound its memory, for example) sets
it for every other attempt in the process, and for the worker: they find no memory or no thread, or
cannot open a file. Nothing undoes it when the handler has returned.

Invariant: limits that were changed after the app was imported are restored within a moment. Where
that is not allowed, because the hard limit was lowered, the process is to be replaced.
"""

from __future__ import annotations

import resource
import sys

# The depth of calls in the interpreter. A handler that needs more may go on with that; one that
# lowers it lowers it for all.
DEPTH = "recursion"
# RLIMIT_OFILE is an older name of another one.
NAMES = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]


class Limits:
    """The limits of this process at the time when this is made."""

    def __init__(self) -> None:
        self._kept = limits()
        self._depth = sys.getrecursionlimit()

    def changed(self) -> list[str]:
        """The names of the limits that are different now."""
        now = limits()
        names = (
            [] if now == self._kept else [name for name in NAMES if now[name] != self._kept[name]]
        )
        return [*names, DEPTH] if sys.getrecursionlimit() < self._depth else names

    def restore(self, names: list[str]) -> bool:
        """Restore these. False where this process may not."""
        try:
            for name in names:
                if name == DEPTH:
                    sys.setrecursionlimit(self._depth)
                else:
                    resource.setrlimit(getattr(resource, name), self._kept[name])
        except (OSError, ValueError):
            return False
        return True


def limits() -> dict[str, tuple[int, int]]:
    """The limits of this process. Beyond them the kernel ends it, or refuses it memory, files or
    processes."""
    return {name: resource.getrlimit(getattr(resource, name)) for name in NAMES}


__all__ = ["Limits", "limits"]
