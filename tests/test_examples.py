"""The handlers of examples/orders.py when external services refuse."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from examples import orders
from leaseq import Context, Fail
from leaseq.model import Claim, ClaimedTask, Counts
from support.servers import free_port


class Refusing:
    """A mail server without mailboxes."""

    def __init__(self, reply: str) -> None:
        self.reply = reply

    async def handle_RCPT(self, *_: Any) -> str:  # noqa: N802 (the library's name)
        return self.reply


@contextmanager
def mail_server(reply: str) -> Iterator[str]:
    server = Controller(Refusing(reply), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop()


def context(attempt: int) -> Context:
    """One attempt at a task, for handlers that ask for no more than who they are."""
    nothing: Any = None
    task = ClaimedTask(
        claim=Claim("0199", attempt, "worker"),
        tenant="default",
        queue="mail",
        type="send_receipt",
        payload=b"{}",
        counts=Counts(0, 0, 0, 5),
        timeout_seconds=60,
        headers=None,
        expired=False,
    )
    return Context(task, nothing)


def send() -> Any:
    return orders.send_receipt.handler.function(
        context(1), order_id=1, to="ada@example.com", cents=500
    )


def test_a_mailbox_that_does_not_exist_is_no_reason_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with mail_server("550 no such mailbox") as address:
        monkeypatch.setattr(orders, "SMTP", address)
        with pytest.raises(Fail, match=r"refused ada@example\.com: 550 no such mailbox"):
            send()


def test_a_mailbox_that_is_full_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server("452 full") as address:
        monkeypatch.setattr(orders, "SMTP", address)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send()


def test_a_month_without_orders_fails_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "DATA", tmp_path)
    with pytest.raises(Fail, match="no orders for 1999-01"):
        orders.monthly_report.handler.function(context(1), month="1999-01")


def test_a_report_is_the_same_however_often_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "REPORTS", tmp_path / "reports")
    first = orders.monthly_report.handler.function(context(1), month="2026-09")
    text = Path(first.file).read_text(encoding="utf-8")
    second = orders.monthly_report.handler.function(context(2), month="2026-09")
    assert (first, text) == (second, Path(second.file).read_text(encoding="utf-8"))
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["report-2026-09.csv"]
    lines = text.splitlines()
    assert lines[0] == "product,orders,cents"
    assert sum(int(line.split(",")[1]) for line in lines[1:]) == first.orders == 120


@pytest.mark.parametrize("month", ["../2026", "2026-9", "2026-09/../x"])
def test_a_month_cannot_lead_elsewhere(month: str) -> None:
    with pytest.raises(ValueError, match="month"):
        orders.monthly_report.handler.decode(b'{"month": "%s"}' % month.encode())
