"""Keys with weights have more tasks in a turn, with many or few free permits."""

from __future__ import annotations

from collections import Counter

import pytest

from leaseq.codec import new_task_id
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import LimitBounds
from support.ledger import RETENTION, submission

NAME = "stripe"
# Of "acme", "b" and "c" in a dozen tasks.
SHARES = {None: (4, 4, 4), "acme": (8, 2, 2), "b": (2, 8, 2), "c": (2, 2, 8)}


@pytest.mark.parametrize("free", [1, 5, 12])
@pytest.mark.parametrize("heavy", [*SHARES])
async def test_a_key_has_its_weight_in_each_turn(
    heavy: str | None, free: int, ledger: TaskLedger, session: Session
) -> None:
    limits = LimitLedger(session)
    weights = None if heavy is None else {heavy: 4}
    keys = {new_task_id(): key for key in ("acme", "b", "c") for _ in range(30)}
    batch = [submission(task_id=id_, limit=NAME, concurrency_key=key) for id_, key in keys.items()]
    await limits.put(LimitBounds(name=NAME, concurrency=free, weights=weights))
    await ledger.submit(batch, retention_seconds=RETENTION)
    order: list[str] = []
    while len(order) < 24:
        admission = await limits.admit(NAME)
        admitted = [id_ for one in admission.lanes for id_ in one.task_ids]
        assert len(admitted) == free
        order += [keys[id_] for id_ in admitted]
        await ledger.cancel(admitted, tenant=None)
    shares = Counter(order)
    wanted = dict(zip(("acme", "b", "c"), SHARES[heavy], strict=True))
    if free == 12:
        assert dict(Counter(order[:12])) == wanted
    for key, share in wanted.items():
        assert abs(shares[key] - share * len(order) / 12) <= 4


async def test_a_key_that_has_no_task_left_ends_its_turn(
    ledger: TaskLedger, session: Session
) -> None:
    limits = LimitLedger(session)
    await limits.put(LimitBounds(name=NAME, concurrency=1, weights={"a": 5}))
    batch = [submission(limit=NAME, concurrency_key=key) for key in ("a", "a", "b", "b")]
    await ledger.submit(batch, retention_seconds=RETENTION)
    for _ in range(4):
        (lane,) = (await limits.admit(NAME)).lanes
        await ledger.cancel(lane.task_ids, tenant=None)
