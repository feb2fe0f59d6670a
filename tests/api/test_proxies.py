"""Headers about a client count only from the proxies of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.observability.telemetry import recorded
from leaseq_api.address import keys_required
from leaseq_api.refused import Refused
from leaseq_api.security.proxies import Client, Proxies
from support.api import open_api, problem

PROXY = "10.0.0.1"
PROXIES = Proxies(Config(api_proxies="10.0.0.0/8, 192.0.2.7,fd00::/8"))


def judge(*headers: tuple[str, str], peer: str = PROXY) -> Client | None:
    return PROXIES.judge(
        peer, [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    )


# Headers, the farthest hop first -> address, scheme and host of the client.
NAMED: dict[str, tuple[list[tuple[str, str]], tuple[str, str | None, str | None]]] = {
    "one hop": ([("X-Forwarded-For", "203.0.113.5")], ("203.0.113.5", None, None)),
    "with a port": ([("X-Forwarded-For", "203.0.113.5:4711")], ("203.0.113.5", None, None)),
    "IPv6": ([("X-Forwarded-For", "2001:db8::1")], ("2001:db8::1", None, None)),
    "IPv6 with a port": ([("X-Forwarded-For", "[2001:db8::1]:443")], ("2001:db8::1", None, None)),
    "a mapped address": ([("X-Forwarded-For", "::ffff:203.0.113.5")], ("203.0.113.5", None, None)),
    "the client wrote the first": (
        [("X-Forwarded-For", "1.1.1.1, 203.0.113.5")],
        ("203.0.113.5", None, None),
    ),
    "the client wrote a proxy's address": (
        [("X-Forwarded-For", "10.9.9.9, 203.0.113.5")],
        ("203.0.113.5", None, None),
    ),
    "two headers": (
        [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.5")],
        ("203.0.113.5", None, None),
    ),
    "two proxies": (
        [("X-Forwarded-For", "1.1.1.1, 203.0.113.5, 192.0.2.7")],
        ("203.0.113.5", None, None),
    ),
    "only proxies": ([("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], ("10.0.0.3", None, None)),
    "scheme and host": (
        [
            ("X-Forwarded-For", "203.0.113.5"),
            ("X-Forwarded-Proto", "HTTPS"),
            ("X-Forwarded-Host", "queue.example.org"),
        ],
        ("203.0.113.5", "https", "queue.example.org"),
    ),
    "a scheme only": ([("X-Forwarded-Proto", "https")], (PROXY, "https", None)),
    "a scheme of each hop": (
        [
            ("X-Forwarded-For", "203.0.113.5, 10.0.0.2"),
            ("X-Forwarded-Proto", "https, http"),
        ],
        ("203.0.113.5", "https", None),
    ),
    "more schemes than hops": (
        [("X-Forwarded-For", "203.0.113.5"), ("X-Forwarded-Proto", "http, https")],
        ("203.0.113.5", "https", None),
    ),
    "another scheme": (
        [("X-Forwarded-For", "203.0.113.5"), ("X-Forwarded-Proto", "javascript")],
        ("203.0.113.5", None, None),
    ),
    "a host that is none": (
        [("X-Forwarded-For", "203.0.113.5"), ("X-Forwarded-Host", 'a b"<')],
        ("203.0.113.5", None, None),
    ),
    "Forwarded": (
        [("Forwarded", 'for="[2001:db8::1]:4711";Proto=https;host=queue.example.org;by=10.0.0.1')],
        ("2001:db8::1", "https", "queue.example.org"),
    ),
    "Forwarded by two": (
        [("Forwarded", "for=1.1.1.1;proto=http, FOR=203.0.113.5;proto=https, for=10.0.0.2")],
        ("203.0.113.5", "https", None),
    ),
    "both, and they agree": (
        [("Forwarded", "for=203.0.113.5"), ("X-Forwarded-For", "203.0.113.5")],
        ("203.0.113.5", None, None),
    ),
    "a quotation that the client left open": (
        [("Forwarded", 'for="1.1.1.1'), ("Forwarded", "for=203.0.113.5")],
        ("203.0.113.5", None, None),
    ),
    "an open quotation before a quoted one": (
        [("Forwarded", 'for="1.1.1.1, for="[2001:db8::1]"')],
        ("2001:db8::1", None, None),
    ),
}
# Values at whose place an address should be: the last proxy counts as the client.
UNREADABLE = [
    "",
    "unknown",
    "_hidden",
    "garbage",
    "1.2.3",
    "1.2.3.4.5",
    "[::1",
    "1.1.1.1:x",
    "\xe9",
]


@pytest.mark.parametrize("name", NAMED)
def test_a_proxy_names_the_client(name: str) -> None:
    headers, (address, scheme, host) = NAMED[name]
    assert judge(*headers) == Client(address, scheme, host)


@pytest.mark.parametrize("name", NAMED)
def test_the_same_headers_of_anyone_else_change_nothing(name: str) -> None:
    headers, _ = NAMED[name]
    assert judge(*headers, peer="203.0.113.77") is None
    assert judge(*headers, peer="no address") is None
    raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in headers]
    assert Proxies(Config()).judge(PROXY, raw) is None


@pytest.mark.parametrize("value", UNREADABLE)
def test_an_address_that_cannot_be_read_leaves_the_last_proxy(value: str) -> None:
    found = judge(("X-Forwarded-For", f"1.1.1.1, {value}"))
    assert found is not None
    assert found.address == PROXY
    found = judge(("Forwarded", f'for=1.1.1.1, for="{value}"'))
    assert found is not None
    assert found.address == PROXY
    found = judge(("X-Forwarded-For", f"{value}, 10.0.0.2"))
    assert found is not None
    assert found.address == "10.0.0.2"


def test_headers_that_name_different_clients_are_refused() -> None:
    with pytest.raises(Refused) as raised:
        judge(("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "203.0.113.5"))
    assert raised.value.code == "forwarded_conflict"


_TEXT = st.text(st.sampled_from('for=;,:"\\[]0123456789abcdef. \t_proto'), max_size=60)


@given(written=_TEXT, x_written=_TEXT)
def test_what_a_client_writes_never_hides_it(written: str, x_written: str) -> None:
    """Its proxy appends the true address."""
    found = judge(("X-Forwarded-For", f"{x_written},203.0.113.5"))
    assert found is not None
    assert found.address == "203.0.113.5"
    for own in ("for=203.0.113.5", 'for="203.0.113.5:80";proto=https'):
        found = judge(("Forwarded", written), ("Forwarded", own))
        assert found is not None
        assert found.address == "203.0.113.5", (written, found)


async def test_the_client_that_a_proxy_names_is_the_one_that_is_slowed_down(
    config: Config,
) -> None:
    spoofed: dict[str, Any] = {"X-Forwarded-For": "203.0.113.5", "Authorization": "Bearer x"}
    for proxies, address in (("127.0.0.1", "203.0.113.5"), ("192.0.2.1", "127.0.0.1")):
        changed = replace(config, api_proxies=proxies, api_auth="keys")
        async with open_api(changed) as api:
            with recorded() as events:
                answer = await api.client.get("/api/tasks", headers=spoofed)
            assert answer.status_code == 401
            (failed,) = [event for event in events if event.name == "auth.failed"]
            assert failed.fields["address"] == address


async def test_a_forwarded_host_is_judged_as_the_host_of_the_request(config: Config) -> None:
    submission = {"type": "add", "payload": 1}
    own, public = {"Origin": "https://queue.example.org"}, "queue.example.org"
    trusting = replace(config, api_proxies="127.0.0.1", api_hosts=public, api_auth="off")
    async with open_api(trusting) as api:
        headers = {"X-Forwarded-Host": public, "X-Forwarded-Proto": "https", **own}
        answer = await api.client.post("/api/tasks", json=submission, headers=headers)
        assert answer.status_code == 202
        elsewhere = {"X-Forwarded-Host": "evil.example"}
        problem(await api.client.get("/api/tasks", headers=elsewhere), "host_unknown")
        both = {"Forwarded": "for=1.1.1.1", "X-Forwarded-For": "2.2.2.2"}
        problem(await api.client.get("/api/tasks", headers=both), "forwarded_conflict")
    async with open_api(replace(config, api_hosts=public)) as api:
        assert (await api.client.get("/api/tasks", headers=elsewhere)).status_code == 200
        assert (await api.client.get("/api/tasks", headers=both)).status_code == 200


def test_an_api_behind_a_proxy_asks_for_keys() -> None:
    assert not keys_required(Config())
    assert keys_required(Config(api_proxies="127.0.0.1"))


@pytest.mark.parametrize("value", ["10.0.0.1/8", "proxy", "10.0.0.1,", "10.0.0.256", "a/8", ","])
def test_what_is_no_address_and_no_network_is_refused(value: str) -> None:
    with pytest.raises(ConfigInvalid, match="LEASEQ_API_PROXIES"):
        Config(api_proxies=value)
