"""Keep files of test servers in memory, and skip old objects in collections.

The files of a server belong to a test process; a cluster that all processes of a run copy belongs
to the one that distributes the tests. A database for each test is some hundred files, which
Postgres makes, syncs and removes: on a disk two thirds of the time of such a test. A test process
holds all tests and all that they import, so a full collection takes 0.4 s, and a worker begins with
one.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30  # a server takes 60 to 300 MB, and about twenty run at a time
PREFIX = "leaseq-tests-"
_numbers = count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Hold off collections of garbage while the tests are imported: they found little, and took a
    fifth of the time. A process that only distributes tests imports none."""
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Remove the files of this process, and those of processes that were killed."""
    for path in MEMORY.glob(f"{PREFIX}*"):
        pid = int(path.name.split("-")[2])
        if pid == os.getpid() or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


def in_memory(directory: Path) -> Path:
    """A directory that takes the place of `directory`, which is returned itself where memory does
    not hold enough files."""
    home = _home()
    return home / f"{next(_numbers)}-{directory.name}" if home else directory


@cache
def shared_memory() -> Path | None:
    """A directory for all processes of this run; None where memory does not hold enough files."""
    if not _is_enough():
        return None
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    home = MEMORY / f"{PREFIX}{owner}-shared"
    home.mkdir(mode=0o711, exist_ok=True)
    return home


@cache
def _home() -> Path | None:
    """The directory of this process: an account that servers run under may walk through it."""
    if not _is_enough():
        return None
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    home.chmod(0o711)
    return home


def _is_enough() -> bool:
    return MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
