"""Sessions of browsers, and requests of other sites."""

from __future__ import annotations

import asyncio
from html import escape
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq_api.security import key_ring, sessions
from leaseq_api.security.failed_attempts import FREE
from leaseq_api.security.sessions import IDLE_SECONDS, LONGEST_SECONDS, NAME, RENEW_SECONDS
from support.api import Api, open_api
from support.keys import issue

SITE = {"Sec-Fetch-Site": "same-origin"}


async def sign_in(api: Api, text: str, **fields: str) -> httpx.Response:
    return await api.client.post("/ui/login", data={"key": text} | fields, headers=SITE)


async def signed_in(api: Api, *scopes: str, tenant: str | None = None) -> dict[str, str]:
    """The Cookie header of a new session."""
    answer = await sign_in(api, (await issue(api, *scopes, tenant=tenant)).text)
    assert answer.status_code == 303
    api.client.cookies.clear()
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def shift(api: Api, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of Postgres be so much later."""
    shared, before = api.service.sessions, api.service.sessions._now

    async def later() -> int:
        return await before() + int(seconds)

    monkeypatch.setattr(shared, "_now", later)


async def test_a_page_leads_to_the_key_and_back(guarded: Api) -> None:
    page = "/ui/tasks?state=FAILED&queue=mail"
    away = await guarded.client.get(page)
    assert away.status_code == 303
    form = await guarded.client.get(away.headers["location"])
    assert f'name="next" value="{escape(page)}"' in form.text
    answer = await sign_in(guarded, (await issue(guarded, "read")).text, next=page)
    assert answer.headers["location"] == page
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{NAME}=v1.")
    for flag in ("Path=/", "HttpOnly", "SameSite=Strict", "Secure", f"Max-Age={LONGEST_SECONDS}"):
        assert f"; {flag}" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/api", "/ui\\x", "/uix", "/ui?a=\r\nb"]
)
async def test_a_session_leads_to_no_other_site(guarded: Api, target: str) -> None:
    text = (await issue(guarded, "read")).text
    assert (await sign_in(guarded, text, next=target)).headers["location"] == "/ui"


async def test_a_session_counts_for_the_dashboard_alone(guarded: Api) -> None:
    cookie = await signed_in(guarded, "read")
    page = await guarded.client.get("/ui", headers=cookie)
    assert page.status_code == 200
    assert "Sign out" in page.text
    assert (await guarded.client.get("/api/queues", headers=cookie)).status_code == 401


async def test_a_session_ends_with_its_key(guarded: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = await issue(guarded, "read")
    cookie = {
        "Cookie": (await sign_in(guarded, issued.text)).headers["set-cookie"].partition(";")[0]
    }
    guarded.client.cookies.clear()
    assert (await guarded.client.get("/ui", headers=cookie)).status_code == 200
    await guarded.service.engine.access.revoke_key(issued.key.id)
    assert key_ring.FRESH_SECONDS <= 5.0
    ring = guarded.service.authenticator.keys
    assert ring is not None
    await ring._refresh()  # which runs every two seconds
    assert (await guarded.client.get("/ui", headers=cookie)).status_code == 303


@pytest.mark.parametrize("seconds", [IDLE_SECONDS + 2, LONGEST_SECONDS + 2])
async def test_a_session_ends_with_time(
    guarded: Api, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    cookie = await signed_in(guarded, "read")
    shift(guarded, monkeypatch, seconds)
    assert (await guarded.client.get("/ui", headers=cookie)).status_code == 303


async def test_a_page_that_a_person_opens_prolongs_the_session_and_a_part_does_not(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await signed_in(guarded, "read")
    assert "set-cookie" not in (await guarded.client.get("/ui", headers=cookie)).headers
    shift(guarded, monkeypatch, RENEW_SECONDS + 2)
    part = await guarded.client.get("/ui?part=queues", headers=cookie)
    assert "set-cookie" not in part.headers
    renewed = (await guarded.client.get("/ui", headers=cookie)).headers["set-cookie"]
    left = int(renewed.partition("Max-Age=")[2].partition(";")[0])
    assert LONGEST_SECONDS - RENEW_SECONDS - 5 < left < LONGEST_SECONDS
    # The session that it renews still ends twelve hours after it began.
    again = {"Cookie": renewed.partition(";")[0]}
    shift(guarded, monkeypatch, LONGEST_SECONDS - RENEW_SECONDS)
    assert (await guarded.client.get("/ui", headers=again)).status_code == 303


async def test_a_changed_cookie_is_no_session(guarded: Api) -> None:
    cookie = (await signed_in(guarded, "read"))["Cookie"]
    other = (await issue(guarded, "read", "operate")).key.id
    parts = cookie.split(".")
    forged = [
        ".".join([parts[0], other, *parts[2:]]),
        ".".join([*parts[:2], str(int(parts[2]) + 9), *parts[3:]]),
        ".".join([*parts[:-1], parts[-1][::-1]]),
        cookie[:-1],
        f"{cookie}x",
        f"{NAME}=",
        f"{NAME}=v1.{'a' * 5000}",
    ]
    for each in forged:
        answer = await guarded.client.get("/ui", headers={"Cookie": each})
        assert answer.status_code == 303, each


async def test_any_process_of_the_ledger_accepts_a_session(config: Config, guarded: Api) -> None:
    cookie = await signed_in(guarded, "read")
    async with open_api(replace(config, api_auth="keys")) as other:
        assert (await other.client.get("/ui", headers=cookie)).status_code == 200


async def test_the_end_of_a_session_removes_its_cookie(guarded: Api) -> None:
    cookie = await signed_in(guarded, "read")
    answer = await guarded.client.post("/ui/logout", data={}, headers=cookie | SITE | FORM)
    assert answer.status_code == 303
    assert f"{NAME}=; Path=/; Max-Age=0" in answer.headers["set-cookie"]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_wrong_keys_are_answered_late(guarded: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("leaseq_api.security.failed_attempts.asyncio.sleep", note)
    for _ in range(FREE + 4):
        answer = await sign_in(guarded, "lq_wrong")
        assert answer.status_code == 401
        assert "Refused" in answer.text
        assert "set-cookie" not in answer.headers
        assert "lq_wrong" not in answer.text
    assert len(slept) == 4
    assert slept == sorted(slept)


async def test_a_key_without_read_begins_no_session(guarded: Api) -> None:
    answer = await sign_in(guarded, (await issue(guarded, "submit")).text)
    assert answer.status_code == 401
    assert "does not have the scope read" in answer.text


async def test_a_cookie_without_tls_is_for_those_who_ask_for_it(config: Config) -> None:
    async with open_api(replace(config, api_auth="keys", api_hosts="queue.example")) as strict:
        far = await strict.client.get("/ui/login", headers={"Host": "queue.example"})
        assert "LEASEQ_UI_COOKIE_INSECURE" in far.text
        assert "LEASEQ_UI_COOKIE_INSECURE" not in (await strict.client.get("/ui/login")).text
    insecure = replace(config, api_auth="keys", ui_cookie_insecure=True)
    async with open_api(insecure) as plain:
        cookie = (await sign_in(plain, (await issue(plain, "read")).text)).headers["set-cookie"]
        assert cookie.startswith(f"{sessions.INSECURE_NAME}=")
        assert "Secure" not in cookie


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_form_of_another_site_changes_nothing(
    guarded: Api, headers: dict[str, str]
) -> None:
    cookie = await signed_in(guarded, "read", "operate")
    await guarded.service.engine.stores.queues.register_queues(["mail"])
    answer = await guarded.client.post(
        "/ui/queues/mail/pause", data={"operation_id": str(uuid4())}, headers=cookie | headers
    )
    assert answer.status_code == 403
    assert not any(each.paused for each in await guarded.service.engine.list_queues())


async def test_a_stream_ends_with_the_key_behind_its_cookie(guarded: Api) -> None:
    issued = await issue(guarded, "read")
    text = (await sign_in(guarded, issued.text)).headers["set-cookie"].partition(";")[0]
    following = asyncio.create_task(guarded.client.get("/ui/live", headers={"Cookie": text}))
    while not guarded.service.held.count:  # noqa: ASYNC110 (the service emits no event)
        await asyncio.sleep(0.01)
    await guarded.service.engine.access.revoke_key(issued.key.id)
    answer = await asyncio.wait_for(following, 60)
    assert answer.status_code == 200
    assert "event: changed" in answer.text
