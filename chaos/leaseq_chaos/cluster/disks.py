"""A small tmpfs for one run, whose disk can be filled without harm.

It exists only where this process may mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["small_disk"]


@contextmanager
def small_disk(mount_point: Path, *, mebibytes: int) -> Iterator[str | None]:
    """Mount a small disk for as long as the block lasts. Yields None, or the reason why this
    machine does not let us."""
    mount_point.mkdir(mode=0o711)
    command = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={mebibytes}m,mode=711",
        "leaseq-chaos",
        str(mount_point),
    ]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = (
            None
            if mounted.returncode == 0
            else f"no small disk can be mounted: {mounted.stderr.strip()}"
        )
    except FileNotFoundError:
        reason = "no small disk can be mounted: there is no mount command"
    try:
        yield reason
    finally:
        if reason is None:
            # Lazily: a server that was killed a moment ago may still be holding a file.
            subprocess.run(["umount", "--lazy", str(mount_point)], capture_output=True, check=False)
