"""Payloads that no worker could decode are refused by every interface.

At 16e9784 twelve of these kinds were stored and failed later, and the corrected payload was then
refused under the same key.
"""

from __future__ import annotations

from asyncio import to_thread
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import psycopg
import pytest
from msgspec import Meta, Struct

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.errors import PayloadInvalid
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TypeLedger
from leaseq.operations.open_engine import open_engine
from leaseq.task import AsyncTask
from leaseq.worker.expedite import task_types
from support.api import Api, open_api, problem
from support.servers import admin_url


class Color(Enum):
    RED = "red"


class Cat(Struct, tag=True, forbid_unknown_fields=True):
    lives: int


class Dog(Struct, tag=True):
    name: str


KINDS: dict[str, tuple[Any, Any]] = {
    "an integer written as 1.0": (int, 1.0),
    "a bad datetime": (datetime, "2026-13-01T00:00:00Z"),
    "a datetime without its zone": (Annotated[datetime, Meta(tz=True)], "2026-01-01T00:00:00"),
    "a bad date": (date, "2026-02-30"),
    "a bad time": (time, "25:00:00"),
    "a bad duration": (timedelta, "1 day"),
    "a bad UUID": (UUID, "not-a-uuid"),
    "a bad decimal": (Decimal, "1,5"),
    "bytes that are not base64": (bytes, "a"),
    "too many bytes": (Annotated[bytes, Meta(max_length=2)], "YWJjZA=="),
    "no multiple": (Annotated[int, Meta(multiple_of=3)], 4),
    "a value that is in no enum": (Color, "green"),
    "a value that is no literal": (Literal[1, "x"], 2),
    "a bad key": (dict[int, str], {"x": "y"}),
    "a set with too few values": (Annotated[set[int], Meta(min_length=2)], [1, 1]),
    "a tuple that is too long": (tuple[int, str], [1, "x", 2]),
    "an unknown tag": (Cat | Dog, {"type": "Cow"}),
    "an unknown field": (Cat | Dog, {"type": "Cat", "lives": 9, "name": "x"}),
    "the pattern of a key": (dict[Annotated[str, Meta(pattern="^[a-z]+$")], int], {"A": 1}),
}


def kinds(config: Config | None = None) -> Leaseq:
    """An app with a task type of each kind: `kind-0`, `kind-1` and so on."""
    app = Leaseq(config)
    for n, (annotation, _) in enumerate(KINDS.values()):

        async def handler(value: Any) -> None: ...

        handler.__annotations__["value"] = annotation
        app.task(name=f"kind-{n}")(handler)

    @app.task
    async def free(value: int) -> None: ...

    return app


@pytest.fixture
async def api(config: Config, type_ledger: TypeLedger) -> Any:
    await type_ledger.register_types(task_types(kinds().registry))
    async with open_api(config) as opened:
        yield opened


async def count(plain: Connection) -> int:
    cursor = await plain.execute("select count(*) from leaseq.tasks")
    return int((await cursor.fetchall())[0][0])


async def test_over_http(api: Api, plain: Connection) -> None:
    for n, (kind, (_, value)) in enumerate(KINDS.items()):
        refused = problem(
            await api.submit({"type": f"kind-{n}", "payload": {"value": value}}), "payload_invalid"
        )
        assert refused["pointer"].startswith("/payload/value"), kind
    assert await count(plain) == 0


async def test_a_corrected_payload_is_accepted_under_the_same_key(api: Api) -> None:
    problem(
        await api.submit({"type": "free", "payload": {"value": 1.0}}, Idempotency_Key="k"),
        "payload_invalid",
    )
    answer = await api.submit({"type": "free", "payload": {"value": 1}}, Idempotency_Key="k")
    assert answer.status_code == 202


async def test_from_python(config: Config, plain: Connection) -> None:
    """Alone, in a batch, in a transaction of the caller, and without an event loop."""
    app = kinds()
    async with (
        open_engine(config, name="leaseq test client") as engine,
        await psycopg.AsyncConnection.connect(admin_url(config)) as conn,
    ):
        with app.lend(engine):
            for n, (kind, (_, value)) in enumerate(KINDS.items()):
                task = AsyncTask[..., None](app, app.registry.handlers[f"kind-{n}"])
                within = task.options(connection=conn)
                for submit in (
                    task.submit,
                    within.submit,
                    partial(to_thread, task.sync.submit),
                    partial(to_thread, task.bind),
                ):
                    with pytest.raises(PayloadInvalid) as refused:
                        await submit(value=value)
                    assert refused.value.pointer.startswith("/value"), kind
    assert await count(plain) == 0


async def test_the_same_words_everywhere(config: Config, api: Api) -> None:
    app = kinds(config)
    for n, (_, value) in enumerate(KINDS.values()):
        said = problem(
            await api.submit({"type": f"kind-{n}", "payload": {"value": value}}), "payload_invalid"
        )["detail"]
        with pytest.raises(PayloadInvalid) as refused:
            AsyncTask[..., None](app, app.registry.handlers[f"kind-{n}"]).bind(value=value)
        assert str(refused.value) == said


async def test_the_headers_of_a_task_carry_the_stamp_of_its_shape(
    api: Api, plain: Connection
) -> None:
    answer = await api.submit({"type": "free", "payload": {"value": 1}})
    cursor = await plain.execute(
        "select headers::text from leaseq.tasks where id = %s", (answer.json()["task_id"],)
    )
    stamp = kinds().registry.handlers["free"].stamp
    assert msgspec.json.decode((await cursor.fetchall())[0][0]) == {"shape": stamp}
