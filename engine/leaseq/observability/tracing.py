"""Decide whether this process traces, and declare its spans.

A process traces if the package `opentelemetry-api` is installed and a provider was set before an
engine is opened. This is found out once. Otherwise there is no `Tracing`, and no code path for a
task calls OpenTelemetry. `spans.py` has the spans; only it imports the package.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from leaseq.config import Config
from leaseq.model import Claim, ClaimedTask, Ending, Settled, Submission, Submitted
from leaseq.trace_context import HeldAttempt

Answers = Sequence[Submitted | BaseException]


class SubmissionSpan(Protocol):
    """The span of one call that submits. An exception that leaves the block is its error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None: ...

    def carried(self) -> list[Submission]:
        """The submissions with the context of this span in their headers."""

    def answered(self, answers: Answers) -> None:
        """Note what became of them."""


class LossSpans(Protocol):
    """The spans of attempts that are settled as lost, and that of their recovery."""

    def headers_after(self, claim: Claim) -> bytes | None:
        """The headers of a task with the context of its lost attempt. None: unchanged."""

    def end(self, settled: Collection[Settled]) -> None:
        """End the spans of the attempts that were settled. The others have no span."""


class Tracing(Protocol):
    """Spans of submissions and attempts. No method raises an exception of OpenTelemetry."""

    def submitting(self, batch: Sequence[Submission]) -> SubmissionSpan:
        """Start the span of a call that submits these, as a child of the span in which it is
        made."""

    def begin_attempt(self, claimed: ClaimedTask) -> None:
        """Start the span of an attempt, and make it current in the context (contextvars) that
        runs."""

    def handler_ended(self, claimed: ClaimedTask, ending: Ending) -> None:
        """Note how its handler ended. The span ends when the ledger has the ending."""

    def headers_after(self, claimed: ClaimedTask) -> bytes | None:
        """The headers of a task whose attempt did not succeed, so that the next one links to it.
        None: unchanged."""

    def settling(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        """The span of a statement that settles attempts of this process."""

    def losing(self, held: Sequence[HeldAttempt], *, reason: str) -> LossSpans:
        """Start the spans of attempts that are about to be settled as lost."""

    def follow_endings(self) -> None:
        """End the spans of attempts from now on, until `close`."""

    async def close(self) -> None:
        """End the spans that are open, and let the provider export what it holds."""


def find_tracing(config: Config) -> Tracing | None:
    """How this process traces; None where it does not.

    A program that has set a provider has imported the package, so nothing is imported to look.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from leaseq.observability.spans import tracing_of

    return tracing_of(parents=config.trace_parent)


__all__ = ["Answers", "LossSpans", "SubmissionSpan", "Tracing", "find_tracing"]
