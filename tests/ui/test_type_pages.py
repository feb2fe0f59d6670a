"""The pages Types, Due and Check, and the form that submits a task."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Literal
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq_api.ui.payload_form import fields_of, filled, payload_of, with_error
from support.api import Api, open_api
from support.worker import working

HOSTILE = '"><img src=x onerror=document.title=1>{{7*7}}'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def charged(config: Config, api: Api) -> AsyncIterator[Api]:
    """An application whose workers have registered a type."""
    app = Leaseq(config)

    @app.task(name="charge")
    async def charge(
        cents: int, currency: Literal["EUR", "USD"], note: str = HOSTILE, urgent: bool = False
    ) -> None: ...

    async with working(config, app, registers=True):
        await api.service.types.refresh()
        yield api


async def send(api: Api, key: str, **fields: str) -> httpx.Response:
    """Send the form of `charge`."""
    values = {f"field.{name}": value for name, value in fields.items()}
    return await api.client.post("/ui/types/charge/submit", data={"operation_id": key} | values)


async def count_tasks(api: Api) -> int:
    return len((await api.get("/api/tasks"))["tasks"])


async def test_the_form_has_a_field_for_each_property(charged: Api) -> None:
    text = (await charged.client.get("/ui/types/charge")).text
    assert 'name="field.cents" type="text" inputmode="decimal"' in text
    assert "<option>USD</option>" in text
    assert 'name="field.urgent" type="checkbox"' in text
    assert "<img src=x" not in text
    assert re.search(r'name="operation_id" value="[0-9a-f-]{36}"', text)


async def test_a_form_that_is_sent_twice_makes_one_task(charged: Api) -> None:
    key = str(uuid4())
    answers = await asyncio.gather(
        *(send(charged, key, cents="5", currency="EUR", urgent="on") for _ in range(2))
    )
    assert [answer.status_code for answer in answers] == [303, 303]
    (address,) = {answer.headers["location"] for answer in answers}
    task = await charged.get(f"/api/tasks/{address.rpartition('/')[2]}")
    assert task["payload"] == {"cents": 5, "currency": "EUR", "urgent": True}
    assert await count_tasks(charged) == 1


@pytest.mark.parametrize(
    ("cents", "said"), [("many", "Expected `int`"), ("", "missing required field `cents`")]
)
async def test_an_error_stands_at_its_field_and_nothing_is_stored(
    charged: Api, cents: str, said: str
) -> None:
    answer = await send(charged, str(uuid4()), cents=cents, currency="USD", note=HOSTILE)
    assert answer.status_code == 422
    field = answer.text[answer.text.index('name="field.cents"') :]
    assert 'aria-invalid="true"' in field[: field.index(">")]
    assert said in field[: field.index("</div>")]
    assert "<img src=x" not in answer.text
    assert "selected>USD" in answer.text
    assert await count_tasks(charged) == 0


async def test_the_form_is_refused_in_read_only_mode_and_without_its_scope(
    charged: Api, config: Config
) -> None:
    async with open_api(replace(config, ui_read_only=True)) as reading:
        assert "/submit" not in (await reading.client.get("/ui/types/charge")).text
        assert (await send(reading, str(uuid4()), cents="1", currency="EUR")).status_code == 403


async def test_another_form_with_the_same_key_is_told(charged: Api) -> None:
    key = str(uuid4())
    await send(charged, key, cents="1", currency="EUR")
    answer = await send(charged, key, cents="2", currency="EUR")
    assert answer.status_code == 409
    assert key not in answer.text


@pytest.mark.parametrize("schema", [{}, True, {"type": "array"}, {"$ref": "#/none"}])
def test_a_schema_without_fields_has_one_for_json(schema: object) -> None:
    (field,) = fields_of(schema)
    assert (field.kind, field.key) == ("json", None)
    assert payload_of(filled([field], {"payload": "[1]"})) == b"[1]"
    with pytest.raises(ValueError, match="not JSON"):
        payload_of(filled([field], {"payload": "{"}))


def test_numbers_are_sent_as_they_were_written() -> None:
    schema = {
        "$ref": "#/$defs/T",
        "$defs": {
            "T": {
                "type": "object",
                "properties": {
                    "big": {"type": "integer"},
                    "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "more": {"type": "array"},
                },
            }
        },
    }
    fields = fields_of(schema)
    assert [field.kind for field in fields] == ["number", "number", "json"]
    form = {"field.big": "123456789012345678901", "field.maybe": "", "field.more": "[1]"}
    assert payload_of(filled(fields, form)) == b'{"big":123456789012345678901,"more":[1]}'
    marked, rest = with_error(fields, "Expected `array` - at `$.more`")
    assert (marked[2].error != "", rest) == (True, "")
    assert with_error(fields, "too large")[1] == "too large"


async def test_due_shows_the_picture_and_the_numbers(api: Api) -> None:
    assert "No task is due within the next hour" in (await api.client.get("/ui/due")).text
    await api.submitted({"type": "send", "payload": 1, "delay_seconds": 90})
    text = (await api.client.get("/ui/due")).text
    assert text.count('class="bar-fill"') == 1
    assert "submitted for later" in text
    assert "At most 1 in a minute" in text


async def test_check_shows_what_the_command_reports(api: Api) -> None:
    text = (await api.client.get("/ui/check")).text
    assert "<code>LEASEQ_POSTGRES_URL</code>" in text
    assert str(api.service.config.postgres_url) not in text
