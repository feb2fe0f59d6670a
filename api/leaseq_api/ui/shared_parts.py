"""Answer the same region of a page once for all who look at it.

Each open page fetches its regions again at each ring of the stream, at the same moment as all others
(live.js). So the number of statements must not follow the number of viewers. A middleware in front
of every page runs one request for a region and answers the others with its answer, while that is
being made and for FRESH_SECONDS. Whole pages are always read again.

Invariants: viewers share only what the same principal would be shown. An answer with a form is never
shared, because the id of an operation belongs to one form. A request that ended without an answer,
or with an error, is no answer to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from leaseq_api.security.principal import principal_of
from leaseq_api.ui.forms import OPERATION_ID

FRESH_SECONDS = 0.5
MOST_KEPT = 512
_PART = b"part="


class Answered(Struct):
    """The answer to one request. `messages` is None until it is there, and where it is not to be
    shared."""

    done: asyncio.Event
    at: float = 0.0
    messages: list[Message] | None = None


class SharedParts:
    """The answers of one process."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, Answered] = {}
        self.shared = 0

    async def answer(
        self, key: Hashable, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request for a region, if possible with what another one was answered."""
        now = asyncio.get_running_loop().time()
        found = self._answers.get(key)
        if found is not None and (not found.done.is_set() or now - found.at < FRESH_SECONDS):
            await found.done.wait()
            if found.messages is not None:
                self.shared += 1
                for message in found.messages:
                    await send(message)
                return
            await app(scope, receive, send)
            return
        self._forget_old(now)
        mine = self._answers[key] = Answered(asyncio.Event())
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)
            await send(message)

        try:
            await app(scope, receive, keep)
            if _may_be_shared(messages):
                mine.messages = messages
        finally:
            mine.at = asyncio.get_running_loop().time()
            mine.done.set()

    def _forget_old(self, now: float) -> None:
        old = [
            key
            for key, each in self._answers.items()
            if each.done.is_set() and now - each.at >= FRESH_SECONDS
        ]
        for key in old:
            del self._answers[key]
        while len(self._answers) >= MOST_KEPT:
            del self._answers[next(iter(self._answers))]


def share_parts(app: ASGIApp) -> ASGIApp:
    """The middleware of the pages."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "GET" or _PART not in scope["query_string"]:
            await app(scope, receive, send)
            return
        shared: SharedParts = scope["litestar_app"].state.shared_parts
        principal = principal_of(scope)
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        who = (principal.name, principal.key_id, principal.tenant, principal.scopes)
        key = (scope["path"], scope["query_string"], known, who)
        await shared.answer(key, app, scope, receive, send)

    return answer


def _may_be_shared(messages: list[Message]) -> bool:
    whole = bool(messages) and messages[0]["type"] == "http.response.start"
    if not whole or messages[0]["status"] not in (200, 304):  # type: ignore[typeddict-item]
        return False
    form = f'name="{OPERATION_ID}"'.encode()
    return not any(form in message.get("body", b"") for message in messages)  # type: ignore[operator]


__all__ = ["FRESH_SECONDS", "SharedParts", "share_parts"]
