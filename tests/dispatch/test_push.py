"""Deliveries reach their lanes in the background, or the reconciler's."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.model import Lane
from leaseq.observability.telemetry import recorded
from leaseq.operations.push import Pusher
from support.dispatch import KEYS, ids, in_lane
from support.proxy import ProxyTo


async def test_each_goes_to_its_lane_in_order(dispatcher: Dispatcher, valkey: Redis) -> None:
    pusher = Pusher(dispatcher)
    first, second = ids(600), ids(3)

    pusher.offer(("a", Lane.NORMAL, task_id) for task_id in first)
    pusher.offer(
        [*(("a", Lane.NORMAL, task_id) for task_id in second), ("b", Lane.HIGH, second[0])]
    )
    await pusher.aclose()

    assert await in_lane(valkey, queue="a") == first + second
    assert await in_lane(valkey, Lane.HIGH, queue="b") == second[:1]


async def test_push_that_fails_is_logged_and_dropped(
    redis_only: Config, proxy_to: ProxyTo, valkey: Redis
) -> None:
    assert redis_only.redis_url is not None
    proxy = await proxy_to(redis_only.redis_url)
    far = open_redis(Config(redis_url=proxy.url), name="leaseq-test")
    pusher = Pusher(Dispatcher(far, KEYS))
    proxy.refusing = True

    with recorded() as events:
        pusher.offer(("a", Lane.NORMAL, task_id) for task_id in ids(3))
        await pusher.aclose()
    proxy.refusing = False
    (later,) = ids(1)
    pusher.offer([("a", Lane.NORMAL, later)])
    await pusher.aclose()
    await far.aclose()

    assert [(event.name, event.fields["count"]) for event in events] == [("push.failed", 3)]
    assert await in_lane(valkey, queue="a") == [later]


async def test_waiting_items_are_bounded(
    dispatcher: Dispatcher, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.operations.push.CAPACITY", 2)
    pusher = Pusher(dispatcher)
    offered = ids(4)

    with recorded() as events:
        pusher.offer(("a", Lane.NORMAL, task_id) for task_id in offered)
        await pusher.aclose()

    assert await in_lane(valkey, queue="a") == offered[:2]
    assert [event.fields["count"] for event in events if event.name == "push.failed"] == [2]


async def test_refused_push_is_not_counted_and_an_old_task_starts_no_backlog(valkey: Redis) -> None:
    dispatcher = Dispatcher(valkey, KEYS, window=10)
    pusher = Pusher(dispatcher)
    old, fresh = ids(1), ids(10)

    with recorded() as events:
        pusher.offer(("a", Lane.NORMAL, task_id) for task_id in fresh)
        await pusher.aclose()
        pusher.offer([("a", Lane.NORMAL, old[0])], redelivery=True)
        await pusher.aclose()
        pusher.offer(("a", Lane.NORMAL, task_id) for task_id in ids(2))
        await pusher.aclose()

    assert await in_lane(valkey, queue="a") == fresh + old
    assert [event.fields["count"] for event in events if event.name == "delivery.pushed"] == [10, 1]
    assert [event.name for event in events].count("backlog.began") == 1
