"""Count the answers that are held: waits for a task, and streams.

A held answer occupies a connection, so all of them together get a share of the connections. A tenant
gets another one only while it holds fewer than are still free, so that one tenant never takes the
last: alone it gets half of the share, and beside another one with half a quarter.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from litestar.types import Scope

from leaseq_api.http_server.admission import step_aside
from leaseq_api.refused import Refused
from leaseq_api.security.principal import Principal, principal_of

# Of all connections. The others are for requests that are answered without waiting.
HELD_SHARE = 0.75


class HeldAnswer:
    """One held answer. Its request waits for `news`, and then looks whether it may go on."""

    __slots__ = ("news", "principal")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.news: asyncio.Event | None = None


class Held:
    """The held answers of one process."""

    def __init__(self, connections: int) -> None:
        self.count = 0
        self._limit = max(int(connections * HELD_SHARE), 1)
        self._of_tenants: Counter[str] = Counter()
        self._answers: set[HeldAnswer] = set()

    def wake(self, is_over: Callable[[Principal], bool]) -> None:
        """Wake the requests of these principals."""
        for answer in self._answers:
            if answer.news is not None and is_over(answer.principal):
                answer.news.set()

    @contextmanager
    def hold(self, scope: Scope) -> Iterator[HeldAnswer]:
        """Hold the answer to a request within the block. It is not one that is worked on any more.
        Raises `Refused`."""
        answer = HeldAnswer(principal_of(scope))
        tenant = answer.principal.tenant
        free = self._limit - self.count
        if free <= 0 or (tenant is not None and self._of_tenants[tenant] >= free):
            raise Refused(
                "overloaded",
                "too many requests wait for tasks or follow them: send the request without wait, or try again later",
            )
        step_aside(scope)
        self._answers.add(answer)
        self.count += 1
        if tenant is not None:
            self._of_tenants[tenant] += 1
        try:
            yield answer
        finally:
            self._answers.discard(answer)
            self.count -= 1
            if tenant is not None:
                self._of_tenants[tenant] -= 1
                if not self._of_tenants[tenant]:
                    del self._of_tenants[tenant]


__all__ = ["HELD_SHARE", "Held", "HeldAnswer"]
