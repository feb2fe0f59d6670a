"""A repeated settlement recognizes its own effect."""

from __future__ import annotations

import pytest

from leaseq.model import Claim, Disposition, Ending, Lane, Outcome, Settlement, State, TaskSnapshot
from leaseq.worker.attempt.settle import _ended


@pytest.mark.parametrize(
    ("wanted", "attempt", "found", "ours"),
    [
        (State.SUCCESS, 3, State.SUCCESS, True),
        (State.SCHEDULED, 3, State.SCHEDULED, True),
        (State.SCHEDULED, 3, State.CANCELLED, True),  # settle honoured a cancel request
        (State.PENDING, 3, State.CANCELLED, True),
        (State.SUCCESS, 3, State.CANCELLED, False),  # a success is never turned into that
        (State.FAILED, 3, State.CANCELLED, False),
        (State.SUCCESS, 3, State.PENDING, False),  # taken back as lost
        (State.SUCCESS, 4, State.SUCCESS, False),  # another attempt did it
        (State.PENDING, 3, State.PROCESSING, False),
    ],
)
def test_ending_counts_as_ours_under_the_same_claim(
    wanted: State, attempt: int, found: State, ours: bool
) -> None:
    settlement = Settlement(Claim("id", 3, "me"), Ending(Outcome.RELEASED), Disposition(wanted))
    ended = _ended(settlement, TaskSnapshot("id", "default", found, attempt, None, Lane.NORMAL))
    assert (ended is not None) == ours
    assert ended is None or ended.state is found


def test_a_task_that_is_gone_is_not_ours() -> None:
    assert (
        _ended(
            Settlement(Claim("id", 3, "me"), Ending(Outcome.SUCCEEDED), Disposition(State.SUCCESS)),
            None,
        )
        is None
    )
