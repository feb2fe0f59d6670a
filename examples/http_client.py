"""Submit a task over HTTP from a program without leaseq, and lose none.

Three rules: give every submission a key that follows from what it is about, never from the attempt
to send it; send it again, unchanged, until there is an answer; take a 4xx other than 409 and 429 as
final. A client that keeps these rules gets each task exactly once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

AGAIN = frozenset({409, 429, 500, 502, 503, 504})
PAUSE_SECONDS = 0.2


async def submit(
    client: httpx.AsyncClient,
    task_type: str,
    payload: dict[str, Any],
    *,
    key: str,
    seconds: float = 60.0,
) -> httpx.Response:
    """Submit until it is acknowledged with 202. Raises `httpx.HTTPStatusError` for a refusal,
    `TimeoutError` after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            pause = PAUSE_SECONDS
            try:
                answer = await client.post(
                    "/api/tasks",
                    json={"type": task_type, "payload": payload},
                    headers={"Idempotency-Key": key},
                )
                if answer.status_code not in AGAIN:
                    return answer.raise_for_status()
                pause = float(answer.headers.get("Retry-After", PAUSE_SECONDS))
            except httpx.TransportError:
                pass  # perhaps it was recorded, perhaps not: the key makes asking again safe
            await asyncio.sleep(pause)


async def wait(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    """The task, once it has ended."""
    while True:
        answer = await client.get(f"/api/tasks/{task_id}", params={"wait": 30}, timeout=40)
        task: dict[str, Any] = answer.raise_for_status().json()
        if task["finished_at"] is not None:
            return task


async def main() -> None:
    """Charge order 7, twice as far as this program knows, once as far as the customer does."""
    async with httpx.AsyncClient(base_url="http://127.0.0.1:8000") as client:
        payload = {"order_id": 7, "customer": "ada@example.com", "cents": 1250}
        for _ in range(2):
            answer = await submit(client, "charge", payload, key="charge-order-7")
            print(
                answer.json()["task_id"],
                "replayed:",
                answer.headers.get("Idempotent-Replayed", "false"),
            )
        task = await wait(client, answer.json()["task_id"])
        print(task["state"], task["result"])


if __name__ == "__main__":
    asyncio.run(main())
