"""Replace the sleep of Python under libfaketime.

Not with `clock_nanosleep`: when the monotonic clocks are to stay as they are, libfaketime 0.9.10
hands it a time that the kernel refuses. Every Python process imports this module by its name when
it starts.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    select.select((), (), (), float(seconds))


time.sleep = _sleep
