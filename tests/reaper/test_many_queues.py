"""A reap of a worker that served many queues."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq.model import State
from leaseq.operations.recover import Death
from support.reaper import Stage


async def test_a_worker_of_many_queues_is_taken_back_wherever_it_held_something(
    stage: Stage,
) -> None:
    queues = [f"q{number}" for number in range(20)]
    worker = await stage.worker(queues=queues)
    ids = [(await stage.submit(queue=queue))[0] for queue in ("q3", "q17")]
    for queue in ("q3", "q17"):
        found = await stage.stores.dispatcher.pull(queue, worker_id=worker, limit=5)
        await stage.stores.tasks.claim(found.task_ids, worker_id=worker)
    asked = stage.stores.dispatcher.held
    looks: list[str] = []

    async def held(queue: str, **given: Any) -> Any:
        looks.append(queue)
        return await asked(queue, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.stores.dispatcher, "held", held)
        assert await stage.engine.recovery.recover(
            Death(worker_id=worker, queues=queues, reason="gone", blame=False)
        )
    assert set(looks) == {"q3", "q17"}
    assert [(await stage.task(task_id)).state for task_id in ids] == [State.PENDING] * 2
    assert [await stage.stores.leases.list_leases(queue) for queue in queues] == [[]] * 20
