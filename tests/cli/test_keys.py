"""The commands for API keys and tenants."""

from __future__ import annotations

import msgspec
import pytest

from leaseq.api_keys import key_id_of
from support.cli import Command


def created(leaseq: Command, *options: str) -> tuple[str, str]:
    """A new key: its text and its id."""
    result = leaseq("keys", "create", "shop", "--scopes", "submit,read", *options)
    assert result.exit_code == 0, result.output
    text = result.stdout.strip()
    key_id = key_id_of(text)
    assert key_id is not None
    assert key_id in result.stderr
    return text, key_id


def test_a_key_is_shown_once(leaseq: Command) -> None:
    text, key_id = created(leaseq, "--expires", "90d")
    listed = leaseq("keys").stdout
    assert key_id in listed
    assert text[16:] not in listed
    assert "submit,read" in listed


def test_keys_for_scripts(leaseq: Command) -> None:
    assert leaseq("tenants", "create", "acme").stdout == "tenant acme is created\n"
    assert leaseq("tenants", "create", "acme").stdout == "tenant acme is known already\n"
    result = leaseq(*("keys", "create", "shop", "--scopes", "submit", "--tenant", "acme", "--json"))
    issued = msgspec.json.decode(result.stdout)
    assert key_id_of(issued["text"]) == issued["key"]["id"]
    assert (issued["key"]["tenant"], issued["key"]["expires_at"]) == ("acme", None)
    assert [key["id"] for key in msgspec.json.decode(leaseq("keys", "--json").stdout)] == [
        issued["key"]["id"]
    ]
    assert {each["name"] for each in msgspec.json.decode(leaseq("tenants", "--json").stdout)} == {
        "acme",
        "default",
    }


def test_rotate_and_revoke(leaseq: Command) -> None:
    _, key_id = created(leaseq)
    rotated = leaseq("keys", "rotate", key_id, "--overlap", "1h")
    assert key_id_of(rotated.stdout.strip()) not in (None, key_id)
    assert leaseq("keys", "rotate", key_id).exit_code == 3
    assert leaseq("keys", "revoke", key_id).stdout == f"key {key_id} (shop) is revoked\n"
    assert key_id not in leaseq("keys").stdout
    assert key_id in leaseq("keys", "--ended").stdout


def test_a_key_that_has_leaked_is_revoked_by_its_text(leaseq: Command) -> None:
    text, key_id = created(leaseq)
    refused = leaseq("keys", "revoke", text[:-1])
    assert refused.exit_code == 2
    assert text[:20] not in refused.output, "no part of the secret is repeated"
    assert leaseq("keys", "revoke", text).stdout == f"key {key_id} (shop) is revoked\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "shop"], 2, "--scopes"),
        (["create", "shop", "--scopes", "root"], 2, "submit, read, payloads"),
        (["create", "shop", "--scopes", ""], 2, "needs a scope"),
        (["create", "shop", "--scopes", "read", "--tenant", "nowhere"], 2, "leaseq tenants create"),
        (["create", "shop", "--scopes", "admin", "--tenant", "default"], 2, "bound to none"),
        (["create", "shop", "--scopes", "read", "--expires", "soon"], 2, "90d"),
        (["revoke", "shop"], 2, "not the id of a key"),
        (["revoke", "a" * 12], 3, "no key"),
    ],
)
def test_what_is_not_valid_is_refused_with_the_reason(
    leaseq: Command, arguments: list[str], code: int, said: str
) -> None:
    result = leaseq("keys", *arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_quotas_of_a_tenant(leaseq: Command) -> None:
    leaseq("tenants", "create", "acme")
    done = leaseq("tenants", "limit", "acme", "--unfinished", "10", "--unfinished-per-queue", "0")
    assert done.stdout == "tenant acme: unfinished 10, per queue 0, bytes a day -\n"
    done = leaseq(
        *("tenants", "limit", "acme", "--unfinished", "none", "--payload-bytes-per-day", "7"),
        "--json",
    )
    tenant = msgspec.json.decode(done.stdout)
    assert (tenant["unfinished"], tenant["unfinished_per_queue"]) == (None, 0)
    assert tenant["payload_bytes_per_day"] == 7
    (line,) = [each for each in leaseq("tenants").stdout.splitlines() if "acme" in each]
    assert line.split()[-3:] == ["-", "0", "7"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["acme"], 2, "name a quota"),
        (["acme", "--unfinished", "many"], 2, "'many' is not a whole number"),
        (["acme", "--unfinished", "1e3"], 2, "'1e3' is not a whole number"),
        (["acme", "--unfinished", "-1"], 2, "unfinished is between 0"),
        (["acme", "--payload-bytes-per-day", "9" * 30], 2, "payload_bytes_per_day is between 0"),
        (["nowhere", "--unfinished", "1"], 3, "there is no tenant 'nowhere'"),
    ],
)
def test_bad_quotas_are_refused_in_one_line(
    leaseq: Command, arguments: list[str], exit_code: int, told: str
) -> None:
    leaseq("tenants", "create", "acme")
    result = leaseq("tenants", "limit", *arguments)
    assert result.exit_code == exit_code, result.output
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
