"""A real SMTP server that keeps the receipts that it receives."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

# A mail server elsewhere takes its time, and so the workers have their hands full when they are
# killed.
MAIL_SECONDS = 0.4


class Mailbox:
    """Every mail that was accepted, by its Message-ID."""

    def __init__(self, port: int) -> None:
        self.received: Counter[str] = Counter()
        self._controller = Controller(self, hostname="127.0.0.1", port=port)

    @contextmanager
    def serving(self) -> Iterator[Mailbox]:
        """Serve, in a thread of its own."""
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop()

    @property
    def address(self) -> str:
        return f"{self._controller.hostname}:{self._controller.port}"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (the library's name)
        """Take one mail in, and say so a little later: a client that dies in between has sent it
        all the same."""
        content = envelope.original_content or b""
        self.received[str(message_from_bytes(content)["Message-ID"])] += 1
        await asyncio.sleep(MAIL_SECONDS)
        return "250 accepted"
