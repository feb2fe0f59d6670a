"""What do the parts of one worker process share?"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any

from msgspec import Struct

from leaseq.backoff import Backoff
from leaseq.config import Config
from leaseq.connect import Pool
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.ownership import Ownership
from leaseq.ledger.fleet import Fleet
from leaseq.ledger.ledger import Ledger
from leaseq.registry import Registry
from leaseq.worker.attempt.deadlines import Deadlines
from leaseq.worker.attempt.outages import Outages
from leaseq.worker.attempt.settle import Releaser, Settler
from leaseq.worker.claim import Claimer
from leaseq.worker.in_flight import InFlight
from leaseq.worker.locked_deliveries import LockedDeliveries
from leaseq.worker.slots import Slots


class Tools(Struct, frozen=True, kw_only=True):
    """One of each, for one incarnation."""

    config: Config
    worker_id: str
    isolated: bool  # serves the suspect lane: one task at a time, and nothing else in the process
    loop: asyncio.AbstractEventLoop
    main: asyncio.Task[Any]  # the process ends with it
    registry: Registry
    ledger: Ledger
    claimer: Claimer
    fleet: Fleet
    dispatcher: Dispatcher
    ownership: Ownership
    pool: Pool  # for handler transactions
    executor: Executor
    slots: Slots
    deadlines: Deadlines
    backoff: Backoff  # of retries
    hand_backs: Backoff
    settler: Settler
    releaser: Releaser
    in_flight: InFlight
    locked: LockedDeliveries
    outages: Outages


__all__ = ["Tools"]
