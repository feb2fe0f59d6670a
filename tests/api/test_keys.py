"""API keys: who may do what, and how long."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
from msgspec.structs import replace

from leaseq.api_keys import SCOPES, ApiKey, StoredKey, digest_of, key_id_of, new_key
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Connection
from leaseq.observability.telemetry import recorded
from leaseq_api.http_server.exchange import Application
from leaseq_api.refused import Refused
from leaseq_api.security.failed_attempts import FREE, LONGEST_SECONDS, FailedAttempts, delay_of
from leaseq_api.security.key_ring import FRESH_SECONDS, KeyRing
from leaseq_chaos.pace import Pace
from support.api import Api, problem
from support.keys import bearer, headers_of, issue, open_guarded_api
from support.nemeses import eventually_said
from support.raw_http import serving

READ = "/api/queues"


async def test_a_key_opens_what_its_scopes_name(guarded: Api) -> None:
    own = await headers_of(guarded, ["read"])
    assert (await guarded.client.get(READ, headers=own)).status_code == 200
    answer = await guarded.client.post("/api/queues/q/pause", headers=own)
    problem(answer, "scope_missing")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_without_a_key_only_open_addresses_answer(guarded: Api) -> None:
    answer = await guarded.client.get(READ)
    problem(answer, "key_missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="leaseq"'
    for path in ("/health/live", "/health/ready", "/problems/key_missing", "/schema"):
        assert (await guarded.client.get(path)).status_code == 200


async def test_a_text_that_is_no_key_is_refused(guarded: Api) -> None:
    for text in [
        "",
        "lq_",
        "Bearer",
        "lq_aaaaaaaaaaaa_" + "0" * 49,
        new_key()[1],
        new_key()[1] + "0",
        "lq_\xff" + "a" * 61,
        "a" * 10_000,
    ]:
        for scheme in ("Bearer", "bearer", "Basic", ""):
            header = f"{scheme} {text}".encode("latin-1")
            answer = await guarded.client.get(READ, headers=[(b"Authorization", header)])
            problem(answer, "key_invalid")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            if text:
                assert text not in answer.text


async def test_whitespace_around_the_value_of_a_header_does_not_count(guarded: Api) -> None:
    text = (await issue(guarded, "read", tenant="acme")).text
    headers = [(b"Authorization", b" Bearer  %b\t " % text.encode()), (b"Leaseq-Tenant", b"acme\t")]
    assert (await guarded.client.get(READ, headers=headers)).status_code == 200


async def test_one_changed_character_makes_a_key_invalid(guarded: Api) -> None:
    text = (await issue(guarded, "read")).text
    assert (await guarded.client.get(READ, headers=bearer(text))).status_code == 200
    for place in (3, 20, 58, 64):
        other = "b" if text[place] != "b" else "c"
        changed = text[:place] + other + text[place + 1 :]
        problem(await guarded.client.get(READ, headers=bearer(changed)), "key_invalid")


async def test_an_id_with_another_secret_tells_nothing(guarded: Api, plain: Connection) -> None:
    """Also not that a key was revoked or has expired."""
    key = (await issue(guarded, "read")).key
    await guarded.service.engine.access.revoke_key(key.id)
    forged = new_key()[1]
    text = f"lq_{key.id}{forged[15:59]}"
    problem(await guarded.client.get(READ, headers=bearer(text + "000000")), "key_invalid")


async def test_an_expired_key_is_told_so(guarded: Api, plain: Connection) -> None:
    issued = await issue(guarded, "read", expires_seconds=3600)
    assert (await guarded.client.get(READ, headers=bearer(issued.text))).status_code == 200
    await plain.execute("update leaseq.api_keys set expires_at = now() - interval '1 s'")
    await eventually_said(lambda: _refused_as(guarded, issued.text, "key_expired"))


async def test_a_revoked_key_ends_in_every_process(config: Config, pace: Pace) -> None:
    async with open_guarded_api(config) as one, open_guarded_api(config) as other:
        issued = await issue(one, "read")
        for api in (one, other):
            assert (await api.client.get(READ, headers=bearer(issued.text))).status_code == 200
        loop = asyncio.get_running_loop()
        began = loop.time()
        await one.service.engine.access.revoke_key(issued.key.id)
        for api in (one, other):
            await eventually_said(partial(_refused_as, api, issued.text, "key_revoked"))
        assert loop.time() - began < FRESH_SECONDS * pace.slowness


async def _refused_as(api: Api, text: str, code: str) -> bool:
    answer = await api.client.get(READ, headers=bearer(text))
    return answer.status_code == 401 and answer.json()["code"] == code


class Ledger:
    """The keys of a ledger that can be away."""

    def __init__(self, *stored: StoredKey) -> None:
        self.stored = {each.id: each for each in stored}
        self.is_away = False
        self.reads = 0
        self.during: Callable[[], object] = lambda: None

    async def find_keys(self, key_ids: list[str]) -> list[StoredKey]:
        self.reads += 1
        self.during()
        if self.is_away:
            raise ServerUnreachable("away")
        return [self.stored[key_id] for key_id in key_ids if key_id in self.stored]


def stored_key(key_id: str, text: str) -> StoredKey:
    return StoredKey(
        id=key_id,
        name="test",
        digest=digest_of(text),
        scopes=frozenset({"read"}),
        tenant=None,
        is_revoked=False,
        limit=None,
        seconds_left=None,
    )


async def test_no_key_is_accepted_on_a_record_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key_id, text = new_key()
    ledger = Ledger(stored_key(key_id, text))
    ring = KeyRing(ledger)  # type: ignore[arg-type]
    assert (await ring.check(text)).key_id == key_id
    assert ring.recall(text) is not None
    now = ring._loop.time()
    monkeypatch.setattr(ring, "_loop", _Clock(now + FRESH_SECONDS + 0.1))
    assert ring.recall(text) is None
    ledger.is_away = True
    with pytest.raises(ServerUnreachable):
        await ring.check(text)
    ledger.is_away = False
    ledger.stored[key_id] = replace(ledger.stored[key_id], is_revoked=True)
    with pytest.raises(Refused, match="revoked"):
        await ring.check(text)


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


async def test_a_flood_of_invented_keys_costs_few_reads() -> None:
    ledger = Ledger()
    ring = KeyRing(ledger)  # type: ignore[arg-type]

    async def guess() -> None:
        with pytest.raises(Refused):
            await ring.check(new_key()[1])

    await asyncio.gather(*(guess() for _ in range(1000)))
    assert ledger.reads <= 10


async def test_invented_ids_displace_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaseq_api.security.key_ring.REMEMBERED", 10)
    key_id, text = new_key()
    ring = KeyRing(Ledger(stored_key(key_id, text)))  # type: ignore[arg-type]
    principal = await ring.check(text)
    for _ in range(25):
        with pytest.raises(Refused):
            await ring.check(new_key()[1])
    assert ring.recall(text) == principal
    assert not ring.is_withdrawn(principal)
    assert len(ring._unknown) <= 10


async def test_a_key_is_found_where_more_are_used_than_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leaseq_api.security.key_ring.REMEMBERED", 3)
    keys = [new_key() for _ in range(4)]
    ring = KeyRing(Ledger(*(stored_key(*key) for key in keys)))  # type: ignore[arg-type]
    clock = _Clock(ring._loop.time())
    monkeypatch.setattr(ring, "_loop", clock)
    for _, text in keys[:3]:
        await ring.check(text)
    clock.now += FRESH_SECONDS + 0.1
    oldest_and_new = (keys[0], keys[3])
    found = await asyncio.gather(*(ring.check(text) for _, text in oldest_and_new))
    assert [each.key_id for each in found] == [key_id for key_id, _ in oldest_and_new]


async def test_a_record_that_was_read_for_too_long_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record may be as old as the beginning of the read."""
    key_id, text = new_key()
    ledger = Ledger(stored_key(key_id, text))
    ring = KeyRing(ledger)  # type: ignore[arg-type]
    clock = _Clock(ring._loop.time())
    monkeypatch.setattr(ring, "_loop", clock)
    ledger.during = lambda: setattr(clock, "now", clock.now + FRESH_SECONDS + 0.1)
    with pytest.raises(ServerUnreachable):
        await ring.check(text)


async def test_a_read_that_ends_late_brings_back_no_revoked_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key_id, text = new_key()
    valid = stored_key(key_id, text)
    ledger = Ledger(valid)
    ring = KeyRing(ledger)  # type: ignore[arg-type]
    await ring.check(text)
    clock = _Clock(ring._loop.time())
    monkeypatch.setattr(ring, "_loop", clock)
    found, late = [[valid], [replace(valid, is_revoked=True)]], asyncio.Event()

    async def find_keys(key_ids: list[str]) -> list[StoredKey]:
        records = found.pop(0)
        if not records[0].is_revoked:
            await late.wait()
        return records

    monkeypatch.setattr(ledger, "find_keys", find_keys)
    slow = asyncio.create_task(ring._read([key_id]))
    await asyncio.sleep(0)
    clock.now += 0.1
    await ring._read([key_id])
    late.set()
    await slow
    with pytest.raises(Refused, match="revoked"):
        await ring.check(text)


async def test_guesses_are_slowed_and_a_valid_key_is_not(guarded: Api) -> None:
    own = await headers_of(guarded, ["read"])
    with recorded() as events:
        for _ in range(FREE + 3):
            problem(await guarded.client.get(READ, headers=bearer(new_key()[1])), "key_invalid")
        failed = [event for event in events if event.name == "auth.failed"]
    assert [event.fields["reason"] for event in failed] == ["key_invalid"], "told once a minute"
    assert (await guarded.client.get(READ, headers=own)).status_code == 200
    attempts = guarded.service.authenticator._failed
    assert attempts._held == 0


async def test_failures_are_counted_by_address_and_by_key() -> None:
    attempts = FailedAttempts()
    for number in range(FREE):
        await attempts.slow_down(address=f"192.0.2.{number}", key_id="a" * 12, reason="key_invalid")
    waiting = asyncio.create_task(
        attempts.slow_down(address="192.0.2.99", key_id="a" * 12, reason="key_invalid")
    )
    await asyncio.sleep(0)
    assert attempts._held == 1, "the sixth failure of this id is held back"
    await waiting
    assert [delay_of(count) for count in (1, FREE)] == [0, 0]
    assert 0 < delay_of(FREE + 1) < delay_of(FREE + 2) <= delay_of(10**9) == LONGEST_SECONDS


async def test_too_many_refusals_at_a_time_are_not_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leaseq_api.security.failed_attempts.HELD", 0)
    attempts = FailedAttempts()
    for _ in range(FREE):
        await attempts.slow_down(address="192.0.2.1", key_id=None, reason="key_invalid")
    with pytest.raises(Refused) as refused:
        await attempts.slow_down(address="192.0.2.1", key_id=None, reason="key_invalid")
    assert refused.value.code == "too_many_attempts"


async def test_refusals_that_are_held_back_take_the_place_of_no_request(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq_api.security.failed_attempts.delay_of", lambda count: 600.0)
    own = (await issue(guarded, "read")).text
    attempts = guarded.service.authenticator._failed

    def request(text: str) -> bytes:
        return f"GET {READ} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\r\n\r\n".encode()

    async with serving(cast(Application, guarded.app), working=1) as served:
        guessing = await served.connect()
        guessing.send(request(new_key()[1]))
        await served.until(lambda: attempts._held == 1)
        client = await served.connect()
        assert (await client.ask(request(own))).status == 200
        guessing.close()


async def test_counts_of_failures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaseq_api.security.failed_attempts.COUNTED", 100)
    attempts = FailedAttempts()
    for number in range(1_000):
        await attempts.slow_down(
            address=f"192.0.2.{number}", key_id=new_key()[0], reason="key_invalid"
        )
    assert len(attempts._counts) <= 100
    assert len(attempts._told) <= 100


async def test_the_addresses_of_one_ipv6_network_are_counted_together() -> None:
    """A client has all addresses of its network, which are 2^64."""
    attempts = FailedAttempts()
    with recorded() as events:
        for number in range(FREE):
            address = f"2001:db8:1:2::{number:x}"
            await attempts.slow_down(address=address, key_id=None, reason="key_invalid")
        await attempts.slow_down(address="2001:db8:1:3::1", key_id=None, reason="key_invalid")
        told = [event.fields["address"] for event in events if event.name == "auth.failed"]
    assert told == ["2001:db8:1:2::/64", "2001:db8:1:3::/64"]
    waiting = asyncio.create_task(
        attempts.slow_down(address="2001:db8:1:2:ffff::", key_id=None, reason="key_invalid")
    )
    await asyncio.sleep(0)
    assert attempts._held == 1
    await waiting


async def test_the_ledger_has_no_text_of_a_key(guarded: Api, plain: Connection) -> None:
    issued = await issue(guarded, "read")
    ((row,),) = await (
        await plain.execute("select to_json(k)::text from leaseq.api_keys k")
    ).fetchall()
    assert issued.key.id in row
    assert issued.text[16:] not in row
    assert issued.text not in repr(issued.key)


async def test_last_use_is_noted(guarded: Api) -> None:
    issued = await issue(guarded, "read")
    await guarded.client.get(READ, headers=bearer(issued.text))
    ring = guarded.service.authenticator.keys
    assert ring is not None
    await ring._touch()
    (listed,) = await guarded.service.engine.access.list_keys(ended=False)
    assert listed.last_used_at is not None


# Over HTTP.


async def test_an_administrator_creates_rotates_and_revokes(guarded: Api) -> None:
    admin = await headers_of(guarded, ["admin", "submit", "read"])
    answer = await guarded.client.post("/api/tenants", json={"name": "acme"}, headers=admin)
    assert answer.json() == {"name": "acme", "created": True}
    body = {"name": "shop", "scopes": ["submit", "read"], "tenant": "acme"}
    created = (await guarded.client.post("/api/keys", json=body, headers=admin)).json()
    assert key_id_of(created["text"]) == created["key"]["id"]
    own = bearer(created["text"])
    assert (await guarded.client.get("/api/tasks", headers=own)).json()["tasks"] == []
    path = f"/api/keys/{created['key']['id']}"
    rotated = await guarded.client.post(
        f"{path}/rotate", json={"overlap_seconds": 3600}, headers=admin
    )
    assert rotated.status_code == 201
    for text in (created["text"], rotated.json()["text"]):
        assert (await guarded.client.get("/api/tasks", headers=bearer(text))).status_code == 200
    again = await guarded.client.post(f"{path}/rotate", json={}, headers=admin)
    problem(again, "api_key_not_found")
    revoked = await guarded.client.delete(path, headers=admin)
    assert revoked.json()["revoked_at"] is not None
    listed = (await guarded.client.get("/api/keys", headers=admin)).json()["keys"]
    assert {each["name"] for each in listed} == {"test", "shop"}
    assert created["text"] not in str(listed)
    everything = (await guarded.client.get("/api/keys?ended=true", headers=admin)).json()["keys"]
    assert len(everything) == len(listed) + 1


async def test_an_administrator_gives_only_scopes_of_its_own(guarded: Api) -> None:
    admin = await headers_of(guarded, ["admin"])
    body = {"name": "shop", "scopes": ["payloads"], "tenant": None}
    problem(await guarded.client.post("/api/keys", json=body, headers=admin), "scope_missing")
    other = (await issue(guarded, "payloads")).key.id
    answer = await guarded.client.post(f"/api/keys/{other}/rotate", json={}, headers=admin)
    problem(answer, "scope_missing")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "", "scopes": ["read"], "tenant": None}, "access_invalid"),
        ({"name": "a\n", "scopes": ["read"], "tenant": None}, "access_invalid"),
        ({"name": "n" * 129, "scopes": ["read"], "tenant": None}, "access_invalid"),
        ({"name": "a", "scopes": [], "tenant": None}, "access_invalid"),
        ({"name": "a", "scopes": ["root"], "tenant": None}, "access_invalid"),
        ({"name": "a", "scopes": ["read"], "tenant": "nowhere"}, "access_invalid"),
        ({"name": "a", "scopes": ["read"], "tenant": "no where"}, "access_invalid"),
        ({"name": "a", "scopes": ["admin"], "tenant": "default"}, "access_invalid"),
        (
            {"name": "a", "scopes": ["read"], "tenant": None, "expires_seconds": -1},
            "access_invalid",
        ),
        ({"name": "a", "scopes": ["read"]}, "access_invalid"),
        ({"name": "a", "scopes": ["read"], "tenant": None, "more": 1}, "access_invalid"),
    ],
)
async def test_a_key_that_is_not_valid_is_not_created(
    guarded: Api, body: dict[str, object], code: str
) -> None:
    admin = await headers_of(guarded, SCOPES)
    problem(await guarded.client.post("/api/keys", json=body, headers=admin), code)
    assert len(await guarded.service.engine.access.list_keys(ended=True)) == 1


async def test_two_rotations_of_one_key_make_one(guarded: Api) -> None:
    key: ApiKey = (await issue(guarded, "read")).key
    access = guarded.service.engine.access
    outcomes = await asyncio.gather(
        *(access.rotate_key(key.id, overlap_seconds=60) for _ in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(each, BaseException) for each in outcomes) == 1
    assert len(await access.list_keys(ended=True)) == 2


def test_the_text_of_a_key_is_recognized() -> None:
    texts = {new_key()[1] for _ in range(200)}
    assert len(texts) == 200
    for text in texts:
        assert re.fullmatch(r"lq_[a-z0-9]{12}_[A-Za-z0-9]{49}", text)
        assert key_id_of(text) == text[3:15]
        assert key_id_of(text[:-1] + ("0" if text[-1] != "0" else "1")) is None
        assert key_id_of(text.upper()) is None
