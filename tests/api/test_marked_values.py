"""No log line and no error shows a payload, an idempotency key or an API key.

Each of them carries a marker here. Every kind of refusal and of failure is provoked, in the API, in
a worker and in the reaper, all of which log everything. Then all output is searched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from leaseq.api_keys import SCOPES
from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.operations.open_engine import open_engine
from support.processes import Services
from support.servers import prepare

PAYLOAD, KEY, BEARER = "mArKeR-of-a-payload", "mArKeR-of-a-key", "mArKeR-of-an-api-key"
MARKERS = (PAYLOAD, KEY, BEARER)
JSON = "application/json"
LINES = "application/x-ndjson"
TYPED = {"Content-Type": JSON}
KEYED = TYPED | {"Idempotency-Key": KEY}
GOOD = json.dumps({"type": "note", "payload": {"n": 1, "s": PAYLOAD}, "queue": "marked"})

# Requests that are refused: method, path, headers, body.
Sent = tuple[str, str, dict[str, str], str | bytes]


def submission(**more: Any) -> str:
    return json.dumps({"type": "any", "payload": {"s": PAYLOAD}} | more)


def refused(task_id: str) -> Iterator[Sent]:
    """Requests for each kind of refusal that a marked value can be a part of."""
    tasks, batch = "/api/tasks", "/api/tasks/batch"
    yield "POST", tasks, KEYED, submission(payload=[PAYLOAD])  # another content
    for body in (
        submission(priority="urgent"),
        submission(delay_seconds="soon"),
        submission(run_at="soon"),
        submission(delay_seconds=-1),
        submission(payload=PAYLOAD + "\0"),
        submission(payload=PAYLOAD + "\ud800"),
        submission()[:-1],
        submission() + PAYLOAD,
        f'{{"type":"any","payload":{PAYLOAD}}}',
        f'{{"type":"any","payload":"{PAYLOAD}\xff"}}'.encode("latin-1"),
        json.dumps([PAYLOAD]),
        json.dumps(PAYLOAD),
        '{"type":"any","payload":' + "[" * 100 + f'"{PAYLOAD}"' + "]" * 100 + "}",
        submission(payload=PAYLOAD * 60_000),
        json.dumps({"type": "note", "payload": {"n": PAYLOAD}}),
        json.dumps({"type": "nap", "payload": {"seconds": [PAYLOAD]}}),
        json.dumps({"type": "nap", "payload": [PAYLOAD]}),
    ):
        yield "POST", tasks, TYPED, body
        yield (
            "POST",
            batch,
            TYPED,
            b"[" + (body if isinstance(body, bytes) else body.encode()) + b"]",
        )
        yield "POST", batch, {"Content-Type": LINES}, body
    for key in (KEY * 20, KEY + ", " + KEY, '"' + KEY, KEY + "\xe9"):
        yield "POST", tasks, TYPED | {"Idempotency-Key": key}, submission()
        item = json.dumps([json.loads(submission(idempotency_key=key))])
        yield "POST", batch, TYPED, item
    yield "POST", batch, KEYED, json.dumps([json.loads(submission())])
    marked = [json.loads(submission(idempotency_key=KEY, payload=n)) for n in (1, 2)]
    yield "POST", batch, TYPED, json.dumps(marked)
    for media_type in ("text/plain", f"{JSON}; charset={PAYLOAD}"):
        yield "POST", tasks, {"Content-Type": media_type}, submission()
    yield "POST", tasks, KEYED | {"Content-Encoding": "gzip"}, submission()
    yield "POST", tasks, KEYED | {"Origin": "http://evil.example"}, submission()
    yield "POST", tasks, KEYED | {"Host": "evil.example"}, submission()
    yield "GET", f"{tasks}?idempotency_key={KEY}%00", {}, b""
    yield "GET", f"{tasks}/{task_id}/none", {}, b""
    for action in ("cancel", "redrive"):
        yield "POST", f"{tasks}/{task_id}/{action}", {}, b""
    yield "DELETE", f"{tasks}/{task_id}/idempotency-key", {}, b""


def unauthorized(valid: str) -> Iterator[dict[str, str]]:
    """Headers with keys that are not valid here."""
    for text in (BEARER, f"lq_{BEARER}", valid + BEARER, valid[:-1], valid.swapcase()):
        for scheme in ("Bearer ", "Basic ", ""):
            yield {"Authorization": scheme + text}
    yield {}


class Output:
    """Everything that clients are answered with a problem, and that processes log."""

    def __init__(self, services: Services, secrets: tuple[str, ...]) -> None:
        self.problems: list[str] = []
        self.codes: set[str] = set()
        self._services = services
        self._secrets = secrets

    def note(self, answer: httpx.Response) -> None:
        """Keep the problem, or the problems of the items of a batch."""
        content = answer.json()
        refusals = (
            [content]
            if answer.status_code >= 400
            else [
                outcome["problem"] for outcome in content.get("items", []) if "problem" in outcome
            ]
        )
        for problem in refusals:
            self.codes.add(problem["code"])
            self.problems.append(f"{problem} {dict(answer.headers)}")

    def search(self) -> None:
        """Insist that no marker is a part of it."""
        logged = [
            str(line) for each in self._services.running for line in [*each.said, *each.other]
        ]
        for text in [*self.problems, *logged]:
            for marker in (*MARKERS, *self._secrets):
                assert marker not in text, text[:2_000]


async def new_keys(config: Config) -> tuple[str, str]:
    """A key with every scope, and one that may only read the lists of a tenant."""
    async with open_engine(config, name="test") as engine:
        await engine.access.create_tenant("acme")
        every = await engine.access.create_key(
            "every", scopes=SCOPES, tenant=None, expires_seconds=None
        )
        some = await engine.access.create_key(
            "some", scopes=["read"], tenant="acme", expires_seconds=None
        )
    return every.text, some.text


async def test_no_output_shows_a_marked_value(
    config: Config, own_postgres: PostgresServer, services: Services
) -> None:
    services.config = config = replace(config, postgres_url=own_postgres.url)
    await prepare(own_postgres.url)
    every, some = await new_keys(config)
    output = Output(services, (every[-40:], some[-40:]))
    await services.worker("--queues", "default,marked")
    await services.reaper()
    api = await services.start("api", "--port", "0", LEASEQ_API_AUTH="keys")
    (said,) = await api.hear("api.started")
    url = f"http://localhost:{said['port']}"
    bearer = {"Authorization": f"Bearer {every}"}
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        first = await client.post(
            "/api/tasks", content=GOOD.replace(f', "s": "{PAYLOAD}"', ""), headers=KEYED | bearer
        )
        assert first.status_code == 202, first.text
        # A payload that only the worker refuses, and a handler that fails.
        unfit = json.dumps({"type": "nap", "payload": {"seconds": 0}, "queue": "marked"})
        assert (
            await client.post("/api/tasks", content=unfit, headers=TYPED | bearer)
        ).status_code == 202
        for method, path, headers, body in refused(first.json()["task_id"]):
            sent = [
                (name.encode(), value.encode("latin-1"))
                for name, value in (headers | bearer).items()
            ]
            output.note(await client.request(method, path, headers=sent, content=body))
        for headers in unauthorized(every):
            output.note(await client.get("/api/tasks", headers=headers))
        few = {"Authorization": f"Bearer {some}"}
        output.note(await client.post("/api/tasks", content=GOOD, headers=KEYED | few))
        output.note(await client.get("/api/tasks", headers=few | {"Leaseq-Tenant": "default"}))
        await asyncio.to_thread(own_postgres.stop, "immediate")
        output.note(await client.post("/api/tasks", content=submission(), headers=KEYED | bearer))
        raw = f"[{submission()}]"
        output.note(await client.post("/api/tasks/batch", content=raw, headers=TYPED | bearer))
    output.search()
    assert all(each.said for each in services.running)
    assert output.codes >= {
        *("submission_invalid", "payload_invalid", "json_invalid", "body_too_large"),
        *("idempotency_key_invalid", "idempotency_key_reused", "media_type_unsupported"),
        *("cross_site", "host_unknown", "parameter_invalid", "not_found", "task_conflict"),
        *("key_missing", "key_invalid", "scope_missing", "tenant_forbidden", "server_unreachable"),
    }


@pytest.mark.parametrize("marker", MARKERS)
def test_the_search_finds_a_marker(services: Services, marker: str) -> None:
    output = Output(services, ())
    output.problems.append(f"the problem is {marker}")
    with pytest.raises(AssertionError):
        output.search()
