"""Parts of the URLs that a handler, and a program that it starts, can read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from queue import Queue  # the standard library's, not that of the working directory

from leaseq import Leaseq
from leaseq.config import Config

app = Leaseq()
other = Leaseq()
PROGRAM = "import os; print(sorted(os.environ.values()))"


@app.task
def look() -> dict[str, str]:
    Queue[int]().put(1)
    return {
        "environ": str(sorted(os.environ.values())),
        "program": subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        ).stdout,
        "initial": Path("/proc/self/environ").read_text().replace("\0", " "),
        "arguments": Path("/proc/self/cmdline").read_text().replace("\0", " "),
        "config": str(Config.from_env().postgres_url),
        "second program": subprocess.run(
            [sys.executable, "-m", "leaseq", "queues"], capture_output=True, text=True, check=False
        ).stderr,
    }


@other.task
async def noted() -> None:
    return


@app.task
async def submits_elsewhere() -> str:
    async with other:
        return (await noted.submit()).id
