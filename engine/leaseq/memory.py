"""What need the garbage collector not look at?

A process of ours imports some hundred thousand objects that live as long as it does, and then makes short-lived ones at a high
rate. Each full collection goes through all of them: measured, a sixth of what a task costs its worker.
"""

from __future__ import annotations

import gc


def spare_the_collector() -> None:
    """What is there now stays out of every later collection. Called once, when a process has begun its work."""
    gc.collect()
    gc.freeze()


__all__ = ["spare_the_collector"]
