"""The keys that leaseq uses in Redis, and their types.

This is the only module that builds a key. Every key begins with the prefix of the deployment, so
several deployments can share one Redis. All keys of a queue share one hash tag, so its scripts work
on a cluster: one queue lives in one slot. Keys do not expire. An empty key disappears, and the
reconciler removes keys that a crash left behind.
"""

from __future__ import annotations

from msgspec import Struct

from leaseq.model import Lane

READY = {lane: "ready" if lane is Lane.NORMAL else f"ready:{lane.value}" for lane in Lane}

# The type of each key, by the part after its queue or its prefix. A flag may have any type, since
# only its presence counts. A foreign key in place of the owner of a prefix is not ours to remove
# (ownership.py).
LISTS = {"ready": "list", "processing": "list", "parked": "list"}
TYPES = LISTS | {"leases": "zset", "beats": "hash", "backlog": "hash", "epoch": "string"}
DEPLOYMENT_TYPES = {"epoch": "string", "backlogs": "hash"}
# If one of these is removed, deliveries are lost that only the ledger knows.
DELIVERIES = {"ready", "processing", "backlog"}


class Keys(Struct, frozen=True):
    """The keys of one deployment, under its prefix, which `Config` has checked: no brace, no glob
    character."""

    prefix: str

    def ready(self, queue: str, lane: Lane) -> str:
        """LIST of task ids that wait in a lane. `ready` itself (the normal lane) is also the
        doorbell."""
        return f"{self.prefix}:{{{queue}}}:{READY[lane]}"

    def processing(self, queue: str, worker_id: str) -> str:
        """LIST of task ids that one worker has taken and not yet released."""
        return self._of(queue, f"processing:{worker_id}")

    def pattern(self, queue: str) -> str:
        """Glob for every key of a queue. Queue names cannot hold glob characters."""
        return self._of(queue, "*")

    def every(self) -> str:
        """Glob for the keys of all queues."""
        return f"{self.prefix}:{{*"

    def parse(self, key: str) -> tuple[str, str, str] | None:
        """The queue, the kind of the key, and the rest (the worker of a processing list); None for
        a key of no queue."""
        rest = key.removeprefix(f"{self.prefix}:{{")
        queue, brace, what = rest.partition("}:")
        if rest == key or not brace:
            return None
        name, _, detail = what.partition(":")
        return queue, name, detail

    def processing_pattern(self, queue: str) -> str:
        """Glob for the processing lists of a queue."""
        return self._of(queue, "processing:*")

    def leases(self, queue: str) -> str:
        """ZSET of worker id -> lease deadline, in milliseconds of the server's own clock. Also the
        registry of workers."""
        return self._of(queue, "leases")

    def beats(self, queue: str) -> str:
        """HASH of worker id -> number of renewals so far."""
        return self._of(queue, "beats")

    def paused(self, queue: str) -> str:
        """STRING, present while the queue is paused."""
        return self._of(queue, "paused")

    def epoch(self, queue: str) -> str:
        """STRING, a random value. If it is missing or different, Redis has lost data."""
        return self._of(queue, "epoch")

    def backlog(self, queue: str) -> str:
        """HASH of lane -> beginning of the part that waits in the ledger, for lanes that are full
        (backlog.py)."""
        return self._of(queue, "backlog")

    def parked(self, queue: str) -> str:
        """LIST of values that were found in a ready list and are no deliveries; the newest
        1,000."""
        return self._of(queue, "parked")

    def data(self) -> str:
        """STRING, a random value, for all queues together. If it is missing or different, Redis has
        lost data."""
        return f"{self.prefix}:epoch"

    def backlogs(self) -> str:
        """HASH whose fields are the queues that may have a backlog, so that a refill need not read
        every queue."""
        return f"{self.prefix}:backlogs"

    def probe(self) -> str:
        """A key that never exists, to ask whether the server would accept a write."""
        return f"{self.prefix}:probe"

    def ledger(self) -> str:
        """HASH; `ledger` is the identity of the ledger that owns this prefix. `system` and
        `timeline` are the newest known ones of its Postgres (ownership.py)."""
        return f"{self.prefix}:ledger"

    def _of(self, queue: str, what: str) -> str:
        return f"{self.prefix}:{{{queue}}}:{what}"


def type_of(name: str) -> str:
    """The type that a key should have; '' if any type will do."""
    _, brace, what = name.rpartition("}:")
    return (
        TYPES.get(what.partition(":")[0], "")
        if brace
        else DEPLOYMENT_TYPES.get(name.rpartition(":")[2], "")
    )


def epoch_beside(name: str) -> str | None:
    """The dispatch epoch key of the deployment whose deliveries this key holds; None for a key that
    holds none."""
    before, brace, what = name.rpartition("}:")
    if not brace or what.partition(":")[0] not in DELIVERIES:
        return None
    return Keys(before.partition(":{")[0]).data()


__all__ = ["Keys", "epoch_beside", "type_of"]
