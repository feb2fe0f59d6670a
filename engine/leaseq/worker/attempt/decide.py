"""Decide what follows from the ending of an attempt, as this worker is configured."""

from __future__ import annotations

from msgspec.structs import replace

from leaseq.backoff import Backoff
from leaseq.config import Config
from leaseq.lifecycle import after, hand_back
from leaseq.model import ClaimedTask, Ending, Outcome, Settlement, TaskError
from leaseq.observability.tracing import Tracing
from leaseq.payloads.payload_codec import ContentCodec, is_own
from leaseq.worker.attempt.outages import Outages


class Decider:
    """Applies `lifecycle` with the configuration of one worker, and with what the worker knows of
    outages."""

    def __init__(
        self,
        config: Config,
        outages: Outages,
        *,
        codec: ContentCodec | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._outages = outages
        self._tracing = tracing
        self._codec = codec
        # of retries
        self._backoff = Backoff(config.backoff_base_seconds, config.backoff_cap_seconds)
        self._hand_backs = Backoff(config.hand_back_base_seconds, config.hand_back_cap_seconds)
        self._max_crashes = config.max_crashes

    def settlement(self, claimed: ClaimedTask, ending: Ending) -> Settlement:
        """The ending with the next step of its task, to be written."""
        if self._codec is not None and ending.error is not None:
            ending = replace(ending, error=self._codec.encode_error(ending.error))
        disposition = after(
            ending,
            claimed.counts,
            backoff=self._backoff,
            max_crashes=self._max_crashes,
            hand_backs=self._hand_backs,
        )
        if self._tracing is not None and ending.outcome is not Outcome.SUCCEEDED:
            headers = self._tracing.headers_after(claimed)
            return Settlement(claimed.claim, ending, disposition, headers)
        return Settlement(claimed.claim, ending, disposition)

    def loggable(self, error: TaskError) -> str:
        """The text of an error for the log: only its class where the app has a codec."""
        if self._codec is None or is_own(error):
            return error.message
        return error.type or error.code

    async def charge(
        self, claimed: ClaimedTask, ending: Ending, *, began: float, silent: bool
    ) -> Ending:
        """Hand the task back, or charge it, after the attempt has lost its connection or reports
        that a store is away.

        `began`: the start of the attempt (monotonic). `silent`: the session ended without a message
        of Postgres.
        """
        outage = await self._outages.seen_since(began)
        return hand_back(ending, claimed.counts, outage=outage, silent=silent)


__all__ = ["Decider"]
