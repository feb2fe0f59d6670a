"""All keys of a queue share one cluster slot, and each has one meaning."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from leaseq.dispatch.keys import Keys
from leaseq.model import Lane
from support.dispatch import KEYS


def _all_keys(queue: str, keys: Keys = KEYS) -> list[str]:
    return [
        *(keys.ready(queue, lane) for lane in Lane),
        keys.processing(queue, "w1"),
        keys.processing(queue, "w2"),
        keys.leases(queue),
        keys.beats(queue),
        keys.paused(queue),
        keys.epoch(queue),
        keys.parked(queue),
    ]


@pytest.mark.parametrize("queue", ["default", "a", "ready", "a.b-c_D", "q" * 128])
def test_one_slot_for_a_queue(queue: str) -> None:
    assert {key_slot(key.encode()) for key in _all_keys(queue)} == {key_slot(queue.encode())}


def test_no_two_keys_are_the_same() -> None:
    named = [key for queue in ("a", "b", "a.b") for key in _all_keys(queue)]
    assert len(set(named)) == len(named)


def test_queues_spread_over_slots() -> None:
    assert len({key_slot(KEYS.ready(f"q{n}", Lane.NORMAL).encode()) for n in range(100)}) > 90


@pytest.mark.parametrize("prefix", ["leaseq", "team-a.prod", "prod:leaseq"])
def test_every_key_begins_with_the_prefix_and_keeps_the_tag_of_its_queue(prefix: str) -> None:
    keys = Keys(prefix)
    named = [
        *_all_keys("q", keys),
        keys.backlog("q"),
        keys.pattern("q"),
        keys.processing_pattern("q"),
    ]
    assert all(name.startswith(f"{prefix}:{{q}}:") for name in named)
    assert keys.probe() == f"{prefix}:probe"


def test_two_prefixes_share_no_key() -> None:
    named = [set(_all_keys("q", Keys(prefix))) for prefix in ("a", "a:b", "b", "a.b")]
    assert len(set().union(*named)) == sum(map(len, named))
