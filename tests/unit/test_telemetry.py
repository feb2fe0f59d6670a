"""Events reach every listener of their level, and harm no caller."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from leaseq.observability.telemetry import (
    EVENTS,
    INFO,
    WARNING,
    Event,
    after_burst,
    burst,
    emit,
    listening,
    recorded,
    subscribe,
)


@pytest.fixture(autouse=True)
def with_any_fields(events_as_declared: list[str]) -> Iterator[None]:
    """These tests are about listeners; their events have too few fields."""
    yield
    events_as_declared.clear()


def test_an_event_with_other_fields_than_declared_is_noticed(events_as_declared: list[str]) -> None:
    with recorded():
        emit("queue.paused", queue="a")
        assert events_as_declared == []
        emit("queue.paused", queue="a", by="me")
    assert events_as_declared == ["queue.paused: missing [], unknown ['by']"]


def test_an_event_reaches_its_listeners_with_its_fields() -> None:
    with recorded() as events:
        emit("task.submitted", task_id="t", name="a field may be called name")
    emit("task.submitted", task_id="nobody hears this")

    assert events == [
        Event(
            "task.submitted", logging.DEBUG, {"task_id": "t", "name": "a field may be called name"}
        )
    ]


def test_an_event_that_is_not_in_the_table_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        emit("task.exploded")


def test_listener_receives_its_level_and_above() -> None:
    with recorded(level=WARNING) as loud, recorded(level=INFO) as all_but_debug:
        emit("task.claimed")
        emit("task.cancelled")
        emit("attempt.fenced")

    assert [event.name for event in loud] == ["attempt.fenced"]
    assert [event.name for event in all_but_debug] == ["task.cancelled", "attempt.fenced"]


def test_listening_says_whether_anybody_would_hear() -> None:
    assert not listening("task.claimed")
    with recorded(level=INFO):
        assert not listening("task.claimed")
        assert listening("task.cancelled")
        with recorded():
            assert listening("task.claimed")
    assert not listening("task.cancelled")


def test_failing_listener_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise ValueError(event.name)

    unsubscribe = subscribe(fail)
    with recorded() as events:
        emit("task.claimed")
    unsubscribe()
    unsubscribe()

    assert len(events) == 1
    assert "a listener failed on task.claimed" in caplog.text


def test_a_listener_may_leave_while_it_listens() -> None:
    heard: list[str] = []

    def once(event: Event) -> None:
        heard.append(event.name)
        unsubscribe()

    unsubscribe = subscribe(once)
    with recorded() as events:
        emit("task.claimed")
        emit("task.claimed")

    assert heard == ["task.claimed"]
    assert len(events) == 2


def test_names_are_a_noun_and_what_happened_to_it() -> None:
    for name in EVENTS:
        noun, _, happened = name.partition(".")
        assert noun.isalpha(), name
        assert happened.isalpha(), name


def test_a_burst_is_over_when_its_outermost_block_is() -> None:
    done: list[str] = []
    assert not after_burst(lambda: done.append("too early"))
    with burst():
        with burst():
            assert after_burst(lambda: done.append("once"))
        assert done == []
    assert done == ["once"]
    with burst():
        pass
    assert done == ["once"]


def test_a_burst_that_breaks_is_over_too() -> None:
    done: list[str] = []

    def broken() -> None:
        with burst():
            after_burst(lambda: done.append("once"))
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        broken()
    assert done == ["once"]


def test_a_burst_is_its_own_threads_affair() -> None:
    heard: list[bool] = []
    with burst():
        other = threading.Thread(target=lambda: heard.append(after_burst(lambda: None)))
        other.start()
        other.join()
    assert heard == [False]
