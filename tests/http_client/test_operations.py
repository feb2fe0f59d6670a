"""Operations on many tasks, with both clients."""

from __future__ import annotations

import pytest

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq_http import OperationConflict, OperationInvalid, OperationNotFound
from leaseq_http.bulk import BulkFilter
from support.bulk import failed, states, waiting
from support.http_clients import Either

MAIL: BulkFilter = {"queue": "mail", "type": "add"}


async def test_an_operation_is_previewed_started_and_followed(
    leaseq: Either, config: Config
) -> None:
    async with open_engine(config) as engine:
        ids = await failed(engine, 30, queue="mail")
        preview = await leaseq.preview_operation("redrive", **MAIL)
        assert (preview.count, preview.exact) == (30, True)
        assert {sample.task_id for sample in preview.samples} <= set(ids)
        later = await failed(engine, 5, queue="mail")
        started = [
            await leaseq.start_operation(
                "redrive",
                filter=MAIL,
                operation_id=preview.operation_id,
                as_of=preview.as_of,
                rate=500.0,
                reason="fixed in 1.4.3",
            )
            for _ in range(2)
        ]
        assert {each.operation_id for each in started} == {preview.operation_id}
        reports = await leaseq.follow_operation(preview.operation_id, every=0.02)
        assert [each.runs for each in reports] == [True] * (len(reports) - 1) + [False]
        done = reports[-1]
        assert (done.state, done.done, done.refused, done.reason) == (
            "done",
            30,
            0,
            "fixed in 1.4.3",
        )
        assert await states(engine, ids) == {State.SCHEDULED: 30}
        assert await states(engine, later) == {State.FAILED: 5}
    with pytest.raises(OperationConflict):
        await leaseq.stop_operation(preview.operation_id)


async def test_an_operation_is_stopped_and_resumed(leaseq: Either, config: Config) -> None:
    async with open_engine(config) as engine:
        ids = await waiting(engine, 5)
        operation_id = new_task_id()
        await leaseq.start_operation(
            "cancel", filter={"ids": ids}, operation_id=operation_id, rate=0.01
        )
        stopped = await leaseq.stop_operation(operation_id)
        assert stopped.state == "stopped"
        assert (await leaseq.follow_operation(operation_id))[-1].state == "stopped"
        assert (await leaseq.resume_operation(operation_id)).runs
        assert (await leaseq.show_operation(operation_id)).filter.ids == 5


async def test_refused_operations_have_their_classes(leaseq: Either) -> None:
    with pytest.raises(OperationInvalid):
        await leaseq.preview_operation("cancel")
    with pytest.raises(OperationNotFound):
        await leaseq.show_operation(new_task_id())
