"""What do the parts of one worker process share?"""

from __future__ import annotations

from msgspec import Struct

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.ownership import Ownership
from leaseq.ledger.fleet import Fleet
from leaseq.ledger.ledger import Ledger
from leaseq.registry import Registry
from leaseq.worker.attempt.outages import Outages
from leaseq.worker.attempt.release import Releaser
from leaseq.worker.attempt.services import AttemptServices
from leaseq.worker.claim import Claimer
from leaseq.worker.in_flight import InFlight
from leaseq.worker.locked_deliveries import LockedDeliveries
from leaseq.worker.slots import Slots


class Tools(Struct, frozen=True, kw_only=True):
    """One of each, for one incarnation."""

    worker_id: str
    isolated: bool  # serves the suspect lane: one task at a time, and nothing else in the process
    registry: Registry
    ledger: Ledger
    claimer: Claimer
    fleet: Fleet
    dispatcher: Dispatcher
    ownership: Ownership
    slots: Slots
    attempts: AttemptServices
    releaser: Releaser
    in_flight: InFlight
    locked: LockedDeliveries
    outages: Outages


__all__ = ["Tools"]
