"""Contents of an app with a codec are readable in the app, and nowhere else."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq import CodecMismatch, Context, Fail, IdempotencyKeyReused, Leaseq, TaskFailed
from leaseq.codec import fingerprint
from leaseq.config import Config
from leaseq.errors import PayloadNotEncoded, PayloadTooLarge
from leaseq.model import DEFAULT_TENANT, Outcome, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.submission import accept
from leaseq.safe_text.fingerprint import of_code
from leaseq.task import AsyncTask
from support.api import open_api, problem
from support.client import Client
from support.requests import request_of
from support.toy_codec import ToyCodec
from support.worker import promoting, until, working

MARKER = "ada@example.org"
EVERYTHING = """
select t::text from leaseq.tasks t union all select a::text from leaseq.attempts a
union all select k::text from leaseq.idempotency_keys k
"""


class Written(Exception):
    """An error of a handler."""


def mail_app(config: Config, codec: Any = None) -> Leaseq:
    app = Leaseq(config, codec=codec)

    @app.task(max_attempts=2)
    async def mail(ctx: Context, to: str, fails: str = "") -> dict[str, str]:
        await ctx.set_progress({"sending": to})
        if fails == "once" and ctx.attempt == 1:
            raise Written(f"no route to {to}")
        if fails == "for good":
            raise Fail(f"refused by {to}")
        if fails == "in a transaction":
            async with ctx.transaction() as tx:
                await tx.execute("select 1")
        return {"sent": to}

    return app


def task_of(app: Leaseq) -> Any:
    """The task type, with options."""
    return AsyncTask[..., dict[str, str]](app, app.registry.handlers["mail"])


def code_of(error: bytes | None) -> str:
    return str(msgspec.json.decode(error or b"{}")["code"])


async def is_scheduled(client: Client, task_id: str) -> bool:
    return (await client.find(task_id)).state is State.SCHEDULED


@pytest.mark.parametrize("fails", ["", "once", "in a transaction"])
async def test_nothing_readable_is_in_the_ledger_or_in_a_log(
    config: Config, client: Client, fails: str
) -> None:
    config = replace(config, backoff_base_seconds=0.01, backoff_cap_seconds=0.01)
    app = mail_app(config, ToyCodec())
    with recorded() as events:
        async with promoting(client.engine), working(config, app, registers=True), app:
            handle = await task_of(app).options(idempotency_key="k").submit(to=MARKER, fails=fails)
            assert await handle.result() == {"sent": MARKER}
            found = await handle.find()
    ledger = "\n".join(row[0] for row in await client.rows(EVERYTHING))
    log = "\n".join(str(event.fields) for event in events)
    for text in (MARKER, MARKER.replace("@", "\\u0040"), b64encode(MARKER.encode()).decode()[:12]):
        assert text not in ledger
        assert text not in log
    assert (found.payload, found.result, found.progress) == (
        json.dumps({"to": MARKER, "fails": fails}, separators=(",", ":")).encode(),
        json.dumps({"sent": MARKER}, separators=(",", ":")).encode(),
        json.dumps({"sending": MARKER}, separators=(",", ":")).encode(),
    )
    stored = await client.find(handle.id)
    for raw in (stored.payload, stored.result, stored.progress):
        assert msgspec.json.decode(raw or b"").keys() == {"leaseq_codec", "data"}
    # No hash of the content without a key.
    fields = ["mail", json.loads(found.payload), None, None, None, None, None, None, None]
    assert fingerprint(fields).hex() not in ledger
    if fails == "once":
        (attempt,) = await client.attempts(handle.id)
        error = msgspec.json.decode(attempt.error or b"")
        assert (error["code"], error["type"]) == ("error", "Written")
        assert error["message"] == "encoded by the codec of the app"
        assert "traceback" not in error


async def test_the_reason_of_a_failure_is_readable_in_the_app(
    config: Config, client: Client
) -> None:
    app = mail_app(config, ToyCodec())
    async with working(config, app), app:
        handle = await task_of(app).submit(to=MARKER, fails="for good")
        with pytest.raises(TaskFailed, match=f"refused by {MARKER}"):
            await handle.result()
        error = msgspec.json.decode((await handle.find()).error or b"")
    assert error.pop("frame").endswith(":mail_app.<locals>.mail")
    assert error == {
        "code": "failed",
        "message": f"refused by {MARKER}",
        "type": "Fail",
        "fingerprint": of_code("failed", "Fail"),  # nothing of the message
    }
    assert MARKER.encode() not in ((await client.find(handle.id)).error or b"")


async def test_a_key_compares_contents_before_they_are_encoded(
    config: Config, client: Client
) -> None:
    app = mail_app(config, ToyCodec())
    rotated = mail_app(config, ToyCodec({1: b"first", 2: b"second"}))
    async with app, rotated:
        first = await task_of(app).options(idempotency_key="k").submit(to=MARKER)
        again = await task_of(app).options(idempotency_key="k").submit(to=MARKER)
        after = await task_of(rotated).options(idempotency_key="k").submit(to=MARKER)
        assert (again.id, again.replayed, after.id) == (first.id, True, first.id)
        with pytest.raises(IdempotencyKeyReused):
            await task_of(app).options(idempotency_key="k").submit(to="grace@example.org")
        many = await app.submit_many(task_of(app).bind(to=MARKER) for _ in range(3))
        assert MARKER not in str(await client.rows(EVERYTHING))
    assert len({handle.id for handle in many}) == 3


async def test_old_keys_are_read_and_content_from_before_the_codec_too(
    config: Config, client: Client
) -> None:
    before, old = mail_app(config), mail_app(config, ToyCodec())
    async with before, old:
        tasks = [await task_of(app).submit(to=MARKER) for app in (before, old)]
    rotated = mail_app(config, ToyCodec({1: b"first", 2: b"second"}))
    async with working(config, rotated), rotated:
        for task in tasks:
            assert await (await rotated.find(task.id)).result() == {"sent": MARKER}
    with pytest.raises(CodecMismatch, match="it raised KeyError"):
        async with old:
            await (await old.find(tasks[0].id)).result()
    with pytest.raises(CodecMismatch, match="this app has no codec"):
        async with before:
            await (await before.find(tasks[0].id)).result()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (None, "the payload is encoded, and the app of this worker has no codec"),
        ({2: b"second"}, "the codec of this app cannot decode the content: it raised KeyError"),
    ],
)
async def test_a_worker_without_the_codec_or_its_key_hands_the_task_back(
    config: Config, client: Client, wrong: dict[int, bytes] | None, said: str
) -> None:
    config = replace(config, hand_back_base_seconds=300.0, hand_back_cap_seconds=300.0)
    other = mail_app(config, None if wrong is None else ToyCodec(wrong))
    app = mail_app(config, ToyCodec({1: b"first", 2: b"second"} if wrong else None))
    sender = mail_app(config, ToyCodec())
    async with promoting(client.engine), working(config, other, registers=True), sender:
        handle = await task_of(sender).submit(to=MARKER)
        await until(lambda: is_scheduled(client, handle.id), seconds=30)
    task = await client.find(handle.id)
    error = msgspec.json.decode(task.error or b"")
    assert error == {
        "code": "other_version",
        "message": said,
        "type": "CodecMismatch",
        "fingerprint": of_code("other_version", "CodecMismatch"),
    }
    (attempt,) = await client.attempts(handle.id)
    assert (attempt.outcome, task.retry_count, task.hand_back_count) == (Outcome.RELEASED, 0, 1)
    # A worker that can decode it makes it due immediately.
    async with promoting(client.engine), working(config, app, registers=True), app:
        assert await (await app.find(handle.id)).result() == {"sent": MARKER}


class Broken(ToyCodec):
    """It cannot encode: its key is not there."""

    def encode(self, data: bytes) -> bytes:
        raise OSError(f"cannot encode {data!r}")


async def test_a_codec_that_cannot_encode_ends_no_task_in_success_and_tells_nothing(
    config: Config, client: Client
) -> None:
    config = replace(config, backoff_base_seconds=0.01, backoff_cap_seconds=0.01)
    sender = mail_app(config, ToyCodec())
    app = Leaseq(config, codec=Broken())

    @app.task(max_attempts=2)
    async def mail(to: str, fails: str = "") -> str:
        return to

    with recorded() as events:
        async with promoting(client.engine), working(config, app), sender:
            task = await client.ended((await task_of(sender).submit(to=MARKER)).id)
    assert (task.state, task.attempt, task.result) == (State.FAILED, 2, None)
    error = msgspec.json.decode(task.error or b"")
    assert error.pop("frame").endswith(":Broken.encode")
    assert len(error.pop("fingerprint")) == 12
    assert error == {
        "code": "error",
        "message": "not kept, because the codec of the app raised OSError",
        "type": "OSError",
    }
    assert MARKER not in str([event.fields for event in events])
    async with app:
        with pytest.raises(OSError, match="cannot encode"):
            await mail.submit(to=MARKER)


async def test_a_payload_that_grows_beyond_the_limit_is_refused(config: Config) -> None:
    app = mail_app(replace(config, payload_max_bytes=1000), ToyCodec())
    async with app:
        await task_of(app).submit(to="x" * 600)
        with pytest.raises(PayloadTooLarge, match="in its encoded form; the limit is 1000"):
            await task_of(app).submit(to="x" * 800)


async def registered(config: Config, app: Leaseq) -> None:
    async with working(config, app, registers=True):
        pass


def envelope(content: Any, **more: Any) -> dict[str, Any]:
    data = b64encode(ToyCodec().encode(msgspec.json.encode(content))).decode()
    return {"leaseq_codec": "v1", "data": data, **more}


async def test_http_takes_envelopes_only_for_a_type_with_a_codec(
    config: Config, client: Client
) -> None:
    app = mail_app(config, ToyCodec())
    await registered(config, app)
    async with open_api(config) as api:
        refused: list[Any] = [
            {"to": MARKER},
            {"leaseq_codec": "v1"},
            envelope({"to": MARKER}, more=1),
            {"leaseq_codec": "v1", "data": "no base64!"},
            [],
        ]
        for payload in refused:
            answer = problem(
                await api.submit({"type": "mail", "payload": payload}), "payload_not_encoded"
            )
            assert answer["pointer"] == "/payload"
            assert MARKER not in json.dumps(answer)
        batch = [
            {"type": "mail", "payload": payload}
            for payload in ({"to": MARKER}, envelope({"to": MARKER}))
        ]
        outcomes = (await api.client.post("/api/tasks/batch", json=batch)).json()
        assert [outcome["status"] for outcome in outcomes["items"]] == [422, 202]
        assert outcomes["items"][0]["problem"]["code"] == "payload_not_encoded"
        good, wrong, later = [
            await api.submitted({"type": "mail", "payload": payload})
            for payload in (
                envelope({"to": MARKER}),
                envelope({"from": MARKER}),
                envelope({"to": MARKER}) | {"leaseq_codec": "v9"},
            )
        ]
        async with working(config, app), app:
            assert await (await app.find(good)).result() == {"sent": MARKER}
            task = await client.ended(wrong)
            await until(lambda: is_scheduled(client, later), seconds=30)
        shown = await api.get(f"/api/tasks/{good}")
    assert (task.state, code_of(task.error), task.attempt) == (State.FAILED, "payload_invalid", 1)
    assert shown["result"].keys() == {"leaseq_codec", "data"}
    assert MARKER not in str(await client.rows(EVERYTHING))
    known = client.engine.known_types()
    await known.refresh()
    request = request_of(type="mail", payload=b'{"to":"a"}')
    with pytest.raises(PayloadNotEncoded):
        accept(request, config, tenant=DEFAULT_TENANT, known=known.known("mail"))


async def test_the_newest_version_of_a_type_decides_whether_it_is_encoded(
    config: Config, client: Client
) -> None:
    plain, encoded = mail_app(config), mail_app(config, ToyCodec())
    body = {"type": "mail", "payload": {"to": MARKER}}
    secret = {"type": "mail", "payload": envelope({"to": MARKER})}
    async with working(config, plain, registers=True), open_api(config) as api:
        await api.submitted(body)
        problem(await api.submit(secret), "payload_invalid")
        async with working(config, encoded, registers=True):
            await api.service.types.refresh()
            problem(await api.submit(body), "payload_not_encoded")
            await api.submitted(secret)
