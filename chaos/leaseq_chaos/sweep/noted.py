"""Read the effects that plain handlers have noted since the last read."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import msgspec

from leaseq_chaos.history import Event

__all__ = ["Noted"]

_decode = msgspec.json.Decoder(Event).decode


class Noted:
    """Reads on in the histories of the handlers. A torn last line of one that was killed is never
    completed, and never read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}

    def news(self) -> dict[str, list[int]]:
        """By task: the attempts under which it took effect, one for each time."""
        effects: defaultdict[str, list[int]] = defaultdict(list)
        for file in self._directory.glob("handler-*.jsonl"):
            with file.open("rb") as history:
                history.seek(self._read.get(file, 0))
                whole, newline, _ = history.read().rpartition(b"\n")
            self._read[file] = self._read.get(file, 0) + len(whole) + len(newline)
            for event in map(_decode, filter(None, whole.split(b"\n"))):
                if event.op == "effect" and event.task is not None and event.attempt is not None:
                    effects[event.task].append(event.attempt)
        return dict(effects)
