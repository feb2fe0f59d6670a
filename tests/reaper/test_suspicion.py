"""The reaper suspects exactly the workers whose silence it has watched."""

from __future__ import annotations

import pytest

from leaseq.dispatch.leases import LeaseView
from leaseq_reaper.duties.suspicion import (
    AWAY_LEASES,
    FURTHEST_LEASES,
    TROUBLED_LEASES,
    MassFailureBrake,
    Suspicion,
)
from support.reaper import FakeClock

LEASE = 10.0


class Watch:
    """A suspicion, and the beats it is shown every 2 seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.suspicion = Suspicion(lease_seconds=LEASE, clock=clock)
        self.views: dict[str, list[LeaseView]] = {"q": []}

    def show(self, *views: LeaseView, queue: str = "q") -> None:
        self.views[queue] = list(views)

    def look(self) -> str | None:
        return self.suspicion.look(self.views, asked=self.clock.now)

    def pass_time(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 2)
            self.look()

    def lapsed(self, worker_id: str = "w", queues: tuple[str, ...] = ("q",)) -> bool:
        return self.suspicion.lapsed(worker_id, queues)


@pytest.fixture
def watch(clock: FakeClock) -> Watch:
    return Watch(clock)


def test_reaper_that_has_just_started_suspects_no_worker(watch: Watch) -> None:
    watch.show(LeaseView("w", -50_000, 7))
    watch.look()
    assert not watch.lapsed()


def test_a_beat_that_stands_still_for_a_lease_is_suspected(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.pass_time(LEASE - 0.1)
    assert not watch.lapsed()
    watch.pass_time(0.1)
    assert watch.lapsed()


def test_a_beat_that_moves_is_never_suspected(watch: Watch) -> None:
    for beat in range(20):
        watch.show(LeaseView("w", -1, beat))
        watch.pass_time(2)
        assert not watch.lapsed()


def test_a_lease_longer_than_ours_is_honoured(watch: Watch) -> None:
    watch.show(LeaseView("w", 30_000, 7))
    watch.look()
    watch.pass_time(29.9)
    assert not watch.lapsed()
    watch.pass_time(0.1)
    assert watch.lapsed()


def test_a_clock_of_redis_that_is_set_back_afterwards_moves_nothing(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.show(LeaseView("w", 3_600_000, 7))
    watch.pass_time(LEASE)
    assert watch.lapsed()


def test_a_deadline_from_before_a_clock_was_set_back_binds_only_for_a_few_leases(
    watch: Watch,
) -> None:
    watch.show(LeaseView("w", 3_600_000, 7))
    watch.look()
    watch.pass_time(FURTHEST_LEASES * LEASE)
    assert watch.lapsed()


def test_absence_counts_from_the_disappearance(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.pass_time(60)
    watch.show(LeaseView("w", 9_000, 8))
    watch.pass_time(2)
    watch.show()
    watch.pass_time(LEASE)
    assert not watch.lapsed()  # seen to be gone 2 s into this
    watch.pass_time(2)
    assert watch.lapsed()


def test_absence_from_the_beginning_counts_from_the_first_look(watch: Watch) -> None:
    watch.look()
    assert not watch.lapsed()
    watch.pass_time(LEASE)
    assert watch.lapsed()
    assert watch.suspicion.absent("w", ["q"])


def test_life_in_one_queue_is_life(watch: Watch) -> None:
    watch.show(LeaseView("w", -1, 7), queue="q")
    watch.look()
    for beat in range(20):
        watch.show(LeaseView("w", 9_000, beat), queue="other")
        watch.pass_time(1)
    assert watch.lapsed(queues=("q",))
    assert not watch.lapsed(queues=("q", "other"))


def test_unreadable_queue_proves_nothing_and_restarts_the_count(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.pass_time(LEASE)
    bad = watch.views.pop("q")
    watch.look()
    assert not watch.lapsed()
    watch.views["q"] = bad
    watch.pass_time(LEASE)
    assert not watch.lapsed()
    watch.pass_time(2)
    assert watch.lapsed()


def test_after_a_disturbance_a_whole_lease_is_quiet(watch: Watch) -> None:
    watch.show(LeaseView("w", -1, 7))
    watch.look()
    watch.pass_time(LEASE)
    watch.suspicion.suspend("redis was away")
    assert not watch.lapsed()
    assert watch.look() == "redis was away"
    assert not watch.lapsed()
    watch.pass_time(LEASE - 0.1)
    assert not watch.lapsed()
    watch.pass_time(0.1)
    assert watch.lapsed()
    assert watch.look() is None


def test_a_reaper_that_was_frozen_lets_the_others_speak_first(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.clock.now += 100
    assert watch.look() is not None
    assert not watch.lapsed()
    watch.pass_time(LEASE)
    assert watch.lapsed()


def test_a_reaper_that_is_always_late_judges_after_a_few_leases(watch: Watch) -> None:
    watch.show(LeaseView("dead", 9_000, 7), LeaseView("w", 9_000, 0))
    watch.look()
    quieted, judged, late = [], [], 0.7 * LEASE
    for beat in range(1, 20):
        watch.clock.now += late
        watch.show(LeaseView("dead", -1, 7), LeaseView("w", 9_000, beat))
        quieted.append(watch.look())
        judged.append(watch.lapsed("dead"))
        assert not watch.lapsed("w")
    first = judged.index(True)
    assert TROUBLED_LEASES * LEASE <= (first + 1) * late <= (TROUBLED_LEASES + 2) * LEASE
    assert 2 <= sum(judged) < len(judged) / 3, "after a judgement, the reaper is quiet again"
    assert sum(reason is not None for reason in quieted) <= 1 + sum(judged), (
        "only the beginning is told"
    )


def test_trouble_of_a_store_now_and_then_does_not_keep_the_reaper_quiet_for_ever(
    watch: Watch,
) -> None:
    watch.show(LeaseView("dead", 9_000, 7))
    watch.look()
    began = watch.clock.now
    while not watch.lapsed("dead"):
        watch.suspicion.suspend("redis did not answer")
        watch.pass_time(LEASE / 2)
        assert watch.clock.now - began <= (TROUBLED_LEASES + 1) * LEASE


def test_reaper_after_a_long_absence_suspends_suspicion_again(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    for _ in range(10):
        watch.clock.now += AWAY_LEASES * LEASE + 1
        watch.look()
        assert not watch.lapsed()


def test_trouble_that_was_over_for_a_lease_is_no_longer_counted(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    for _ in range(TROUBLED_LEASES + 1):
        watch.suspicion.suspend("redis was away")
        assert watch.look() == "redis was away"
        assert not watch.lapsed()
        watch.pass_time(LEASE)
        assert watch.lapsed()
        watch.look()


def test_a_slow_answer_is_not_counted_as_silence(watch: Watch) -> None:
    watch.show(LeaseView("w", 9_000, 7))
    watch.look()
    watch.pass_time(LEASE - 2)
    asked = watch.clock.now
    watch.clock.now += 3
    watch.suspicion.look(watch.views, asked=asked)
    assert not watch.lapsed()


def test_the_brake_holds_for_a_lease_and_then_lets_go(clock: FakeClock) -> None:
    brake = MassFailureBrake(lease_seconds=LEASE, clock=clock)
    assert brake.holds(lapsed=3, of=5, hosts=2)
    clock.now += LEASE - 0.1
    assert brake.holds(lapsed=4, of=5, hosts=2)
    clock.now += 0.1
    assert not brake.holds(lapsed=4, of=5, hosts=2)


def test_the_brake_is_ready_again_once_the_outage_is_over(clock: FakeClock) -> None:
    brake = MassFailureBrake(lease_seconds=LEASE, clock=clock)
    brake.holds(lapsed=3, of=5, hosts=2)
    clock.now += LEASE
    assert not brake.holds(lapsed=3, of=5, hosts=2)
    assert not brake.holds(lapsed=0, of=2, hosts=0)
    assert brake.holds(lapsed=3, of=5, hosts=2)


@pytest.mark.parametrize(
    ("lapsed", "of", "hosts"),
    [
        pytest.param(2, 2, 2, id="two are not a mass"),
        pytest.param(3, 6, 3, id="half is not more than half"),
        pytest.param(4, 4, 1, id="one host that died takes all its workers along"),
    ],
)
def test_no_brake_for(lapsed: int, of: int, hosts: int, clock: FakeClock) -> None:
    assert not MassFailureBrake(lease_seconds=LEASE, clock=clock).holds(
        lapsed=lapsed, of=of, hosts=hosts
    )
