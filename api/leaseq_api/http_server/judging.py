"""Judge a request with a large body by its head, while the body is held back.

The application is called when the whole body has arrived, so that a slow client occupies none. But
a request without a valid API key must not hold bytes of others until then. So the checks that need
only the head are made early: when a large body is announced and has not arrived with its head, or
when the first part of one has arrived. Until they are done, no more of it is read. The application
checks all of it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from traceback import format_tb
from typing import Any

from leaseq.observability.telemetry import emit
from leaseq_api.http_server.exchange import Exchange, closing_answer
from leaseq_api.http_server.state import Judge, ServerState

Judged = Callable[[Exchange, bytes | None], None]


def begin_judging(
    exchange: Exchange, server: ServerState, addresses: Mapping[str, Any], judged: Judged
) -> None:
    """Call `judged`, once for each request, with the refusal, or with None if the body is wanted."""
    if exchange.is_judged:
        return
    exchange.is_judged = True
    if server.judge is None:
        judged(exchange, None)
        return
    judging = _judge(exchange, server, server.judge, addresses, judged)
    exchange.judging = asyncio.get_running_loop().create_task(judging)


async def _judge(
    exchange: Exchange,
    server: ServerState,
    judge: Judge,
    addresses: Mapping[str, Any],
    judged: Judged,
) -> None:
    refusal = None
    try:
        refusal = await judge(exchange.scope(addresses))
    except Exception as error:  # the application meets it again, and answers 500
        where = "".join(format_tb(error.__traceback__)[-5:])
        emit("request.failed", method=exchange.method, error=type(error).__name__, traceback=where)
    exchange.judging = None
    is_head = exchange.method == "HEAD"
    lines = server.common_lines
    judged(
        exchange, None if refusal is None else closing_answer(refusal, lines=lines, head=is_head)
    )


__all__ = ["begin_judging"]
