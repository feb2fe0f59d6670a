"""Which keys does leaseq use in Redis, of which type?

All keys of a queue share one hash tag, so that its scripts work on a cluster: one queue lives in one slot. Nothing expires:
every key goes when it is empty, and the reconciler removes what a crash left.
"""

from __future__ import annotations

from leaseq.model import Lane


def ready(queue: str, lane: Lane) -> str:
    """LIST of task ids that wait in a lane; `ready` itself (the normal lane) doubles as the doorbell."""
    return f"leaseq:{{{queue}}}:ready" if lane is Lane.NORMAL else f"leaseq:{{{queue}}}:ready:{lane.value}"


def processing(queue: str, worker_id: str) -> str:
    """LIST of task ids that one incarnation has taken and not yet released."""
    return f"leaseq:{{{queue}}}:processing:{worker_id}"


def processing_pattern(queue: str) -> str:
    """Glob for the processing lists of a queue; queue names cannot hold glob characters."""
    return f"leaseq:{{{queue}}}:processing:*"


def leases(queue: str) -> str:
    """ZSET of worker id -> lease deadline, in milliseconds of the server's own clock. Also the registry of workers."""
    return f"leaseq:{{{queue}}}:leases"


def beats(queue: str) -> str:
    """HASH of worker id -> number of renewals so far."""
    return f"leaseq:{{{queue}}}:beats"


def paused(queue: str) -> str:
    """STRING, present while the queue is paused."""
    return f"leaseq:{{{queue}}}:paused"


def epoch(queue: str) -> str:
    """STRING, a random value. Missing or changed: Redis has lost data since."""
    return f"leaseq:{{{queue}}}:epoch"


def backlog(queue: str) -> str:
    """HASH of lane -> where the part of it begins that waits in the ledger, for the lanes that are full (backlog.py)."""
    return f"leaseq:{{{queue}}}:backlog"


def probe() -> str:
    """Never there: to ask whether a server that answers would take a write."""
    return "leaseq:probe"


def parked(queue: str) -> str:
    """LIST of what was found in a ready list and is no delivery; the newest 1,000."""
    return f"leaseq:{{{queue}}}:parked"
