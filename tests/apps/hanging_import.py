"""An app whose import never returns in a child process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from leaseq import Leaseq

app = Leaseq()
marker = Path(os.environ["LEASEQ_TEST_HANGS"])

if marker.exists():
    marker.write_text(str(os.getpid()))
    while True:
        signal.pause()
else:
    marker.touch()


@app.task
def nothing() -> None:
    return
