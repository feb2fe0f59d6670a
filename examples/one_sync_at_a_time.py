"""Three task types of which one task is enough: sync, index and alert.

Run it with `leaseq dev examples.one_sync_at_a_time:app`, and submit a few with
`leaseq submit sync '{"account": "acme"}'`: while one is unfinished, each prints the same id.
"""

from __future__ import annotations

import asyncio

from leaseq import Context, Leaseq, UniqueConflict

app = Leaseq()


@app.task(unique_key="sync:{account}")
async def sync(ctx: Context, account: str) -> str:
    """Fetch the news of one account. A second sync of it would fetch the same."""
    await ctx.set_progress({"account": account})
    return f"{account} is in sync"


@app.task(unique_key="{document}", debounce=0.5, max_wait=5)
async def index(document: int, text: str) -> str:
    """Index a document half a second after its last change."""
    return f"document {document}: {len(text.split())} words"


@app.task(unique_key="disk:{host}", throttle=300)
def alert(host: str, used: int) -> str:
    """Tell about a full disk, once in five minutes."""
    return f"the disk of {host} is full to {used} %"


async def edit() -> None:
    """Submit more often than work is needed."""
    async with app:
        first, second = await sync.submit("acme"), await sync.submit("acme")
        print(first.id == second.id, second.deduplicated)
        try:
            await sync.options(on_conflict="refuse").submit("acme")
        except UniqueConflict as refused:
            print("in the way:", refused.task_id)
        for text in ("one", "one two", "one two three"):
            draft = await index.submit(document=7, text=text)
        print(await draft.result(timeout=30))
        alerts = await app.submit_many(alert.bind("db1", used) for used in (91, 92, 93))
        print(len({handle.id for handle in alerts}))


if __name__ == "__main__":
    asyncio.run(edit())
