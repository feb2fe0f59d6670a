"""The parts of a worker that all its attempts share."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from leaseq.worker.attempt.attempt_handle import HandleServices
from leaseq.worker.attempt.commit import Committer
from leaseq.worker.attempt.decide import Decider
from leaseq.worker.attempt.run_handler import HandlerRunner
from leaseq.worker.attempt.settle import Settler
from leaseq.worker.in_flight import InFlight
from leaseq.worker.release import Releaser
from leaseq.worker.slots import Slots


class AttemptServices(Struct, frozen=True, kw_only=True):
    """The parts of a worker that an attempt needs."""

    loop: asyncio.AbstractEventLoop
    handlers: HandlerRunner
    handle: HandleServices
    decider: Decider
    committer: Committer
    settler: Settler
    releaser: Releaser
    slots: Slots
    in_flight: InFlight


__all__ = ["AttemptServices"]
