"""leaseq itself, by the same rules: a worker and a reaper, started as documented."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import KEY_LIMIT, LIMIT, LIMITED, POSTGRES_URL
from leaseq import Leaseq
from leaseq.ledger.schema import migrate

app = Leaseq()


@app.task
async def noop(order_id: int, t: int, note: str) -> None:
    handlers.noop({"order_id": order_id, "t": t, "note": note})


@app.task
async def nap(order_id: int, t: int, note: str) -> None:
    await handlers.nap_in_loop({"order_id": order_id, "t": t, "note": note})


TASKS = {"noop": noop, "nap": nap}

if LIMITED:
    app.limit("fleet", concurrency=LIMIT)
    app.limit("keys", concurrency=LIMIT, key_concurrency=KEY_LIMIT)

    @app.task(limit="fleet")
    async def brief(order_id: int, t: int, note: str) -> None:
        await handlers.brief_in_loop({"order_id": order_id, "t": t, "note": note})

    @app.task(limit="keys", key=lambda order_id, **_: handlers.key_of(order_id))
    async def keyed(order_id: int, t: int, note: str) -> None:
        await handlers.brief_in_loop({"order_id": order_id, "t": t, "note": note})

    @app.task(limit="fleet")
    async def hold(order_id: int, t: int, note: str) -> None:
        await handlers.hold_in_loop({"order_id": order_id, "t": t, "note": note})

    TASKS |= {"brief": brief, "keyed": keyed, "hold": hold}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        await TASKS[task].submit(**payload)

    async def many(task: str, payloads: list[Payload]) -> None:
        await app.submit_many(TASKS[task].bind(**payload) for payload in payloads)

    async with app:
        yield Client(one, many)


async def prepare() -> None:
    await migrate(POSTGRES_URL)


if __name__ == "__main__":
    play(client, prepare=prepare)
