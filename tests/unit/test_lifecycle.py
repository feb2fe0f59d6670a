"""Every ending leads to one disposition with the right cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.backoff import Backoff
from leaseq.lifecycle import (
    MAX_DELAY_SECONDS,
    PROMPT_LOSSES,
    SUSPECT_CRASHES,
    TRANSITIONS,
    after,
    is_suspect,
    lane_of,
)
from leaseq.model import TERMINAL, Counts, Ending, Lane, Outcome, Priority, State, TaskError

ERROR = TaskError("error", "it did not work")
BACKOFF = Backoff(1.0, 60.0)

small = st.integers(min_value=0, max_value=10)
counts = st.builds(Counts, small, small, small, st.integers(min_value=1, max_value=10))
endings = st.builds(
    Ending,
    st.sampled_from(Outcome),
    error=st.none() | st.just(ERROR),
    permanent=st.booleans(),
    delay=st.none() | st.floats(),
    alone=st.booleans(),
)


@given(endings, counts, st.integers(min_value=1, max_value=5))
def test_every_ending_has_a_disposition_that_the_ledger_can_apply(
    ending: Ending, used: Counts, max_crashes: int
) -> None:
    then = after(ending, used, backoff=BACKOFF, max_crashes=max_crashes)

    assert (State.PROCESSING, "settle", then.state) in TRANSITIONS
    assert math.isfinite(then.delay)
    assert 0 <= then.delay <= MAX_DELAY_SECONDS
    assert then.delay == 0 or then.state is State.SCHEDULED
    assert (then.state is State.SUCCESS) == (ending.outcome is Outcome.SUCCEEDED)
    assert (then.state is State.CANCELLED) == (ending.outcome is Outcome.CANCELLED)
    # One currency for each kind of trouble.
    cost = (then.retries, then.crashes, then.losses)
    errored = ending.outcome in (Outcome.ERRORED, Outcome.TIMED_OUT)
    lost = ending.outcome is Outcome.LOST
    assert cost == (
        errored and then.state is State.SCHEDULED,
        lost and ending.alone,
        lost and not ending.alone,
    )


@given(endings, counts)
def test_nothing_goes_round_for_ever(ending: Ending, used: Counts) -> None:
    """Repeated, an ending that is charged leads to FAILED within the limits."""
    if ending.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.RELEASED):
        return
    if ending.outcome is Outcome.LOST and not ending.alone:
        return  # no fault of the task; SUSPECT_CRASHES of them, and the task runs alone
    for _ in range(30):
        then = after(ending, used, backoff=BACKOFF, max_crashes=3)
        if then.state is State.FAILED:
            return
        used = Counts(
            used.retry_count + then.retries,
            used.crash_count + then.crashes,
            used.loss_count + then.losses,
            used.max_attempts,
        )
    pytest.fail("it went round 30 times")


@pytest.mark.parametrize(
    ("retries", "state"), [(0, State.SCHEDULED), (3, State.SCHEDULED), (4, State.FAILED)]
)
def test_max_attempts_counts_the_first_attempt_too(retries: int, state: State) -> None:
    then = after(
        Ending(Outcome.ERRORED, error=ERROR),
        Counts(retries, 0, 0, 5),
        backoff=BACKOFF,
        max_crashes=3,
    )
    assert then.state is state
    assert then.error == ERROR


def test_a_permanent_error_is_final_at_once() -> None:
    then = after(
        Ending(Outcome.ERRORED, permanent=True), Counts(0, 0, 0, 5), backoff=BACKOFF, max_crashes=3
    )
    assert then.state is State.FAILED


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        (5.0, 5.0),
        (0.0, 0.0),
        (-1.0, 0.0),
        (math.inf, MAX_DELAY_SECONDS),
        (-math.inf, 0.0),
        (math.nan, 0.0),
    ],
)
def test_a_handler_may_ask_for_any_delay(asked: float, given_: float) -> None:
    for outcome in (Outcome.ERRORED, Outcome.RELEASED):
        then = after(
            Ending(outcome, delay=asked), Counts(0, 0, 0, 5), backoff=BACKOFF, max_crashes=3
        )
        assert then.delay == given_


def test_the_third_crash_alone_is_the_last() -> None:
    for crashes, state in ((0, State.PENDING), (1, State.PENDING), (2, State.FAILED)):
        then = after(
            Ending(Outcome.LOST, alone=True),
            Counts(0, crashes, 0, 5),
            backoff=BACKOFF,
            max_crashes=3,
        )
        assert then.state is state
    assert then.error is not None
    assert then.error.code == "crashed"


def test_losses_that_never_end_slow_down_to_minutes_with_their_reason() -> None:
    """A task that takes its whole host along leaves no evidence, and no loss is ever charged to
    it."""
    reason = TaskError("lost", "silent for more than 10 s")
    delays = []
    for losses in range(PROMPT_LOSSES + 70):
        then = after(
            Ending(Outcome.LOST, error=reason),
            Counts(0, 0, losses, 5),
            backoff=BACKOFF,
            max_crashes=3,
        )
        delays.append(then.delay)
        assert then.error == (reason if then.delay else None)
    assert delays[: PROMPT_LOSSES + 1] == [0.0] * (PROMPT_LOSSES + 1), "lost workers delay no task"
    assert delays[PROMPT_LOSSES + 1 :] == sorted(delays[PROMPT_LOSSES + 1 :])
    assert delays[-1] == 300.0


@given(counts)
def test_a_loss_in_company_is_never_fatal(used: Counts) -> None:
    assert after(Ending(Outcome.LOST), used, backoff=BACKOFF, max_crashes=1).state is State.PENDING


@given(counts, st.sampled_from(Priority))
def test_the_lane_follows_suspicion_first_and_priority_second(
    used: Counts, priority: Priority
) -> None:
    lane = lane_of(priority, crash_count=used.crash_count, loss_count=used.loss_count)
    assert (lane is Lane.SUSPECT) == is_suspect(used)
    assert is_suspect(used) == (used.crash_count + used.loss_count >= SUSPECT_CRASHES)
    if not is_suspect(used):
        assert lane.value == priority.name.lower()


def test_terminal_states_are_left_by_an_operator_only() -> None:
    assert {verb for source, verb, _ in TRANSITIONS if source in TERMINAL} == {"redrive"}
    assert State.SUCCESS not in {source for source, _, _ in TRANSITIONS}


def test_every_state_can_be_reached_and_every_task_can_end() -> None:
    reached: set[State | None] = {None}
    while more := {to for source, _, to in TRANSITIONS if source in reached} - reached:
        reached |= more
    assert reached == {None, *State}
    ends = set(TERMINAL)
    while (
        more_ends := {source for source, _, to in TRANSITIONS if to in ends and source is not None}
        - ends
    ):
        ends |= more_ends
    assert ends == set(State)


def test_one_door_in_and_one_door_out_of_processing() -> None:
    assert {(source, verb) for source, verb, to in TRANSITIONS if to is State.PROCESSING} == {
        (State.PENDING, "claim")
    }
    assert {verb for source, verb, _ in TRANSITIONS if source is State.PROCESSING} == {"settle"}


def test_repeated_hand_back_waits_longer_each_time() -> None:
    """But for the first hand-back without a delay, which is free."""
    released = Ending(Outcome.RELEASED, self_caused=True)
    hand_backs = Backoff(1.0, 300.0)
    most = []
    for count in range(1, 12):
        counts = Counts(
            retry_count=0, crash_count=0, loss_count=0, max_attempts=5, hand_back_count=count
        )
        disposition = after(
            released, counts, backoff=Backoff(1.0, 10.0), max_crashes=3, hand_backs=hand_backs
        )
        assert (disposition.state, disposition.hand_backs) == (State.SCHEDULED, count + 1)
        most.append(disposition.delay)
    assert min(most) > 0
    assert max(most[6:]) > 30
    assert max(most) <= 300
