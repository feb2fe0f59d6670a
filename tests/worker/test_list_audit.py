"""The list audit distinguishes missing deliveries from those on their way out."""

from __future__ import annotations

import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.worker.intake import list_audit
from support.client import Client
from support.worker import working

NOISE = {"delivery.restored", "delivery.stray", "delivery.skipped"}


@pytest.mark.slow("hundreds of tasks beside the audit")
async def test_a_sweep_in_the_middle_of_work_finds_nothing(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids come and go while it looks; each that it treats as lost is a warning, a claim and a
    release for nothing."""
    monkeypatch.setattr(list_audit, "AUDIT_SECONDS", 0.005)
    # a release takes longer than usual on a busy machine
    monkeypatch.setattr(list_audit, "RECHECK_SECONDS", 1.0)
    app = Leaseq()

    @app.task
    async def quick() -> None:
        return

    with recorded() as events:
        async with working(config, app, concurrency=50):
            tasks = await client.all_ended(await client.submit_many("quick", 1500))
    assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
    noise = [(event.name, event.fields.get("count", 1)) for event in events if event.name in NOISE]
    assert noise == []
