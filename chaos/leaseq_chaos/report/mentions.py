"""Collect all evidence about given tasks.

One walk through each part of the evidence, for any number of tasks. A submission that was not
answered names no task: it belongs to the task of its idempotency key. A log line belongs to a task
whose id stands in it, anywhere; lines about the beginning and the end of a worker belong to every
task that this worker has held.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from leaseq_chaos.evidence import Commit, Evidence, Heard
from leaseq_chaos.history import Event

__all__ = ["Mentions"]

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_LENGTH = 36


class Mentions:
    """By task, each list in the order of the evidence."""

    def __init__(self, evidence: Evidence, tasks: set[str]) -> None:
        self.events: defaultdict[str, list[Event]] = defaultdict(list)
        self.commits: defaultdict[str, list[Commit]] = defaultdict(list)
        self.logs: defaultdict[str, list[Heard]] = defaultdict(list)
        self.ends: defaultdict[str, list[Heard]] = defaultdict(list)  # of the workers that held it
        keys = _keys(evidence, tasks)
        for event in evidence.events:
            task = (
                event.task
                if event.task in tasks
                else keys.get(event.key or "")
                if event.op == "submit"
                else None
            )
            if task is not None:
                self.events[task].append(event)
        holders: defaultdict[str, set[str]] = defaultdict(set)
        for commit in evidence.commits:
            task = commit.row.get("task_id")
            if task in tasks:
                self.commits[task].append(commit)
                if commit.row.get("worker_id"):
                    holders[str(commit.row["worker_id"])].add(task)
        for heard in evidence.logs:
            self._hear(heard, tasks, holders)

    def _hear(self, heard: Heard, tasks: set[str], holders: dict[str, set[str]]) -> None:
        for task in sorted(tasks & set(_ids(heard.said))):
            self.logs[task].append(heard)
        if str(heard.said.get("event", "")).startswith(("worker.", "child.")):
            for task in sorted(holders.get(str(heard.said.get("worker_id")), ())):
                self.ends[task].append(heard)


def _keys(evidence: Evidence, tasks: set[str]) -> dict[str, str]:
    """Idempotency key -> task."""
    keys = {
        str(row["key"]): str(row["task_id"])
        for row in evidence.snapshot.keys
        if str(row["task_id"]) in tasks
    }
    answered = (
        event
        for event in evidence.events
        if event.op == "submit" and event.key is not None and event.task in tasks
    )
    return keys | {
        event.key: event.task
        for event in answered
        if event.key is not None and event.task is not None
    }


def _ids(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        if len(said) >= _ID_LENGTH:
            yield from _ID.findall(said)
    elif isinstance(said, dict):
        for value in said.values():
            yield from _ids(value)
    elif isinstance(said, list):
        for value in said:
            yield from _ids(value)
