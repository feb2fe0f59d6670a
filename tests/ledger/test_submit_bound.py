"""A bulk submission records each task as if it were alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import psycopg
import pytest

from leaseq import (
    IdempotencyKeyReused,
    Leaseq,
    PayloadInvalid,
    State,
    SubmissionInvalid,
    TaskHandle,
    TypedTask,
)
from leaseq.config import Config


class Shop(NamedTuple):
    app: Leaseq
    label: TypedTask[..., None]
    mail: TypedTask[..., str]


@pytest.fixture
async def shop(config: Config) -> AsyncIterator[Shop]:
    app = Leaseq(config)

    @app.task(queue="labels", max_attempts=7)
    async def label(order_id: int, text: str = "") -> None: ...

    @app.task
    async def mail(to: str) -> str:
        return to

    async with app:
        yield Shop(app, label, mail)


async def test_more_than_fits_into_one_transaction_comes_back_in_order(shop: Shop) -> None:
    handles = await shop.app.submit_many(shop.label.bind(number) for number in range(1_200))
    assert len({handle.id for handle in handles}) == 1_200
    for number in (0, 499, 500, 1_199):
        task = await handles[number].find()
        assert (task.payload, task.queue, task.max_attempts) == (
            b'{"order_id":%d,"text":""}' % number,
            "labels",
            7,
        )


async def test_types_and_options_may_be_mixed(shop: Shop) -> None:
    later = shop.mail.options(delay=60, priority="high", idempotency_key="mail-1")
    first, second, third = await shop.app.submit_many(
        [shop.label.bind(1), later.bind("a@b.example"), later.bind("a@b.example")]
    )
    assert [await handle.state() for handle in (first, second)] == [State.PENDING, State.SCHEDULED]
    assert (second.id, second.replayed, third.replayed) == (third.id, False, True)


async def test_submit_many_of_nothing_returns_nothing(shop: Shop) -> None:
    assert await shop.app.submit_many([]) == []


async def test_a_refusal_is_raised_and_the_others_are_recorded(shop: Shop) -> None:
    await shop.label.options(idempotency_key="taken").submit(1)
    bulk = [
        shop.mail.bind("before"),
        shop.label.options(idempotency_key="taken").bind(2),
        shop.mail.bind("after"),
    ]
    with pytest.raises(IdempotencyKeyReused):
        await shop.app.submit_many(bulk)
    before, refused, after = await shop.app.submit_many(bulk, return_exceptions=True)
    assert isinstance(refused, IdempotencyKeyReused)
    assert isinstance(before, TaskHandle)
    assert isinstance(after, TaskHandle)
    # The same bulk again is the same tasks.
    assert [before.id, after.id] == [bulk[0].submission.task_id, bulk[2].submission.task_id]
    assert (await after.find()).payload == b'{"to":"after"}'


async def test_wrong_options_are_refused_where_they_are_bound(shop: Shop, config: Config) -> None:
    with pytest.raises(TypeError):
        shop.label.bind(1, 2, 3)
    with pytest.raises(SubmissionInvalid, match="priority"):
        shop.label.options(priority="urgent").bind(1)
    with pytest.raises(PayloadInvalid):
        shop.mail.bind("\0")
    async with await psycopg.AsyncConnection.connect(config.postgres_url or "") as conn:
        with pytest.raises(SubmissionInvalid, match="cannot use"):
            shop.label.options(connection=conn).bind(1)
