"""Unusual but valid requests are accepted."""

from __future__ import annotations

from support.api import Api

MEDIA_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/json;charset=UTF-8",
    'Application/JSON; charset="utf-8"',
    "application/json;",
]

BODIES = [
    b' {"payload": {"a": 1, "a": 2}, "type": "add"} \n',
    b'{"type":"sub","type":"add","payload":1}',
    b'{"type":"add","payload":1,"queue":null,"run_at":null,"delay_seconds":null,"priority":null}',
    b'{"type":"A-z_0.9","payload":1,"queue":"-"}',
    b'{"type":"add","payload":1,"run_at":"2001-01-01t00:00:00z"}',
    b'{"type":"add","payload":1,"max_attempts":1000,"timeout_seconds":0.001,"delay_seconds":0}',
    b'{"type":"add","payload":"' + b"a" * (1_048_576 - 27) + b'"}',
]


async def test_json_by_any_of_its_names(api: Api) -> None:
    for media_type in MEDIA_TYPES:
        answer = await api.send(b'{"type":"add","payload":1}', **{"Content-Type": media_type})
        assert answer.status_code == 202, media_type


async def test_submit_accepts_each_valid_body(api: Api) -> None:
    for raw in BODIES:
        assert (await api.send(raw)).status_code == 202, raw[:100]


async def test_a_task_id_in_capitals(api: Api) -> None:
    task_id = await api.submitted()
    assert (await api.get(f"/api/tasks/{task_id.upper()}"))["task_id"] == task_id
