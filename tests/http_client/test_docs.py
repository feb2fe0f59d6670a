"""The Python of docs/http-clients.md does what the page shows."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from leaseq_http import Client
from support.processes import Services
from support.source_tree import ROOT

PAGE = (ROOT / "docs" / "http-clients.md").read_text(encoding="utf-8")


def defined(address: str) -> dict[str, Any]:
    """The definitions of all blocks, at another address."""
    found: dict[str, Any] = {"__name__": "docs"}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(block.replace("http://127.0.0.1:8000", address), found)
    return found


async def test_blocks_run(
    address: str, services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = defined(address)
    services.directory = ROOT
    env = {"ORDERS_REPORTS": str(tmp_path)}
    worker = await services.start("worker", "examples.orders:app", "--processes", "1", **env)
    await worker.hear("worker.opened")
    await asyncio.to_thread(page["main"])
    await page["report"]("2026-09")
    with Client(address) as client:
        await asyncio.to_thread(page["refund"], client, 7)
        await asyncio.to_thread(page["charge_all"], client, [8, 9])
        (eighth,) = await asyncio.to_thread(lambda: [*client.list_tasks(idempotency_key="order-8")])
        await asyncio.to_thread(page["show"], client, eighth.task_id)
    charged, report, refused, *shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "SUCCESS 1"
    assert re.fullmatch(r"\{'charge_id': 1, 'order_id': 7, 'balance_cents': -1250\}", charged)
    assert report == f"Report(file='{tmp_path}/report-2026-09.csv', orders=120)"
    assert refused.startswith("/payload/cents Expected `int` >= 1")
