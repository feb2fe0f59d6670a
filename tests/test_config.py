"""LEASEQ_* variables are parsed correctly or refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.config import Config, hide_secrets, split_secrets
from leaseq.errors import ConfigInvalid


def refusal(env: dict[str, str]) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        Config.from_env(env)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    config = Config.from_env({"PATH": "/bin", "LEASEQUEUE": "not ours"})
    assert config == Config()
    assert (config.postgres_url, config.redis_url, config.data_dir) == (None, None, Path(".leaseq"))
    assert config.task_retention_seconds < config.idempotency_retention_seconds


def test_every_kind_of_value_is_read() -> None:
    config = Config.from_env(
        {
            "LEASEQ_POSTGRES_URL": "postgresql://db/leaseq",
            "LEASEQ_REDIS_URL": "unix:///run/valkey.sock",
            "LEASEQ_DATA_DIR": "/srv/leaseq",
            "LEASEQ_LEASE_SECONDS": "1.5",
            "LEASEQ_HEARTBEAT_SECONDS": ".5",
            "LEASEQ_CONCURRENCY": "7",
            "LEASEQ_REQUIRE_IDEMPOTENCY_KEY": "true",
            "LEASEQ_LOG_FORMAT": "json",
        }
    )
    assert config.postgres_url == "postgresql://db/leaseq"
    assert config.redis_url == "unix:///run/valkey.sock"
    assert config.data_dir == Path("/srv/leaseq")
    assert (config.lease_seconds, config.heartbeat_seconds, config.concurrency) == (1.5, 0.5, 7)
    assert config.require_idempotency_key is True
    assert config.log_format == "json"


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)]
)
def test_boolean_setting_is_read(text: str, value: bool) -> None:
    assert Config.from_env({"LEASEQ_STRICT_TYPES": text}).strict_types is value


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("LEASEQ_STRICT_TYPES", "maybe", "true, false, 1 or 0"),
        ("LEASEQ_CONCURRENCY", "1.5", "a whole number"),
        ("LEASEQ_CONCURRENCY", "0", "positive"),
        ("LEASEQ_LEASE_SECONDS", "ten", "a number"),
        ("LEASEQ_LEASE_SECONDS", "nan", "positive"),
        ("LEASEQ_LEASE_SECONDS", "inf", "positive"),
        ("LEASEQ_TIMEOUT_SECONDS", "-1", "positive"),
        ("LEASEQ_DISPATCH_WINDOW", "9", "at least 10 deliveries"),
        ("LEASEQ_API_PORT", "65536", "between 0 and 65535"),
        ("LEASEQ_API_HOST", "a..b", "is not an address"),
        ("LEASEQ_LOG_LEVEL", "loud", "one of critical, debug, error, info, warning"),
        ("LEASEQ_LOG_FORMAT", "xml", "one of auto, console, json"),
        ("LEASEQ_POSTGRES_URL", "mysql://db/x", "postgresql://"),
        ("LEASEQ_REDIS_URL", "localhost:6379", "redis://"),
        ("LEASEQ_REDIS_URL", "null", "redis://"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(variable: str, text: str, said: str) -> None:
    sentence = refusal({variable: text})
    assert variable in sentence
    assert (text in sentence) != variable.endswith("_URL"), "nothing of a URL is shown"
    assert said in sentence


@pytest.mark.parametrize("prefix", ["leaseq", "a", "team-a.prod_2", "prod:leaseq", "1", "x" * 64])
def test_a_prefix_of_keys_is_read(prefix: str) -> None:
    assert Config.from_env({"LEASEQ_REDIS_PREFIX": prefix}).redis_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    [
        *(
            "{a}",
            "a{b",
            "a}b",
            "a*",
            "a?",
            "a[b]",
            "a]",
            "a\\",
            "a^b",
            "a~",
            "a,b",
            "a/b",
            "a'b",
            'a"b',
        ),
        *("a b", " a", "a ", "\ta", "a\n", "a\x00b", "a\x1bb", "a\x7f"),
        *("a:", ":a", "a::b", ":", "größe", "\u0430", "a\u00a0b", "a\u202eb", "\ud800", "x" * 65),
    ],
)
def test_a_prefix_that_no_key_can_begin_with_is_refused_by_rule(prefix: str) -> None:
    sentence = refusal({"LEASEQ_REDIS_PREFIX": prefix})
    assert "LEASEQ_REDIS_PREFIX=" in sentence
    assert "1 to 64 characters of A-Z a-z 0-9 _ . -" in sentence
    assert sentence.isprintable()


def test_an_empty_prefix_is_refused_however_it_comes() -> None:
    assert "LEASEQ_REDIS_PREFIX is set but empty" in refusal({"LEASEQ_REDIS_PREFIX": " "})
    with pytest.raises(ConfigInvalid, match="1 to 64 characters"):
        Config(redis_prefix="")


def test_a_child_process_reads_the_same_configuration_from_its_environment() -> None:
    parent = Config(
        redis_url="redis://:p@cache/0",
        data_dir=Path("/srv/leaseq"),
        strict_types=True,
        lease_seconds=7.5,
    )
    assert Config.from_env(parent.to_env()) == parent


def test_an_empty_url_does_not_silently_mean_the_embedded_server() -> None:
    assert "LEASEQ_POSTGRES_URL is set but empty" in refusal({"LEASEQ_POSTGRES_URL": ""})


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"LEASEQ_LEASE_SECONDS": "5"}, "three heartbeats must fit a lease"),
        ({"LEASEQ_BACKOFF_CAP_SECONDS": "0.5"}, "the base must not exceed the cap"),
        ({"LEASEQ_TASK_RETENTION_SECONDS": "9999999"}, "a key must outlive its finished task"),
        ({"LEASEQ_LOOP_STALL_SECONDS": "1"}, "stalled"),
    ],
)
def test_relations_hold(env: dict[str, str], said: str) -> None:
    sentence = refusal(env)
    assert said in sentence
    for variable, text in env.items():
        assert f"{variable}={text}" in sentence


def test_relations_hold_however_a_config_is_made() -> None:
    with pytest.raises(ConfigInvalid):
        Config(lease_seconds=1)
    with pytest.raises(ConfigInvalid):
        msgspec.structs.replace(Config(), lease_seconds=1)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("LEASEQ_LEASE_SECS", "LEASEQ_LEASE_SECONDS"),
        ("LEASEQ_POSTGRESQL_URL", "LEASEQ_POSTGRES_URL"),
        ("LEASEQ_api_port", "LEASEQ_API_PORT"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_right_one(wrong: str, right: str) -> None:
    assert refusal({wrong: "1"}) == f"{wrong} is not a known variable: did you mean {right}?"


def test_a_name_near_to_nothing_points_to_the_list() -> None:
    assert "leaseq check" in refusal({"LEASEQ_XYZZY": "1"})


def test_the_variables_of_the_tests_are_left_alone() -> None:
    assert Config.from_env({"LEASEQ_TEST_CONTAINERS": "1"}) == Config()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/x", "postgresql://***"),
        ("postgres://me:s3/c@ret@db/x", "postgres://***"),
        ("postgresql://db/x?user=me&password=s3cret&sslmode=require", "postgresql://***"),
        ("postgresql://s3cret", "postgresql://***"),
    ],
)
def test_urls_are_hidden_but_for_their_scheme(url: str, shown: str) -> None:
    config = Config(postgres_url=url, redis_url="redis://:s3cret@cache:6379/0")
    assert config.redacted()["postgres_url"] == shown
    assert config.redacted()["redis_url"] == "redis://***"
    assert "s3cret" not in repr(config)


def test_a_refused_url_does_not_leak_its_password() -> None:
    assert "s3cret" not in refusal({"LEASEQ_REDIS_URL": "http://:s3cret@cache"})


@given(
    st.dictionaries(
        st.sampled_from([f"LEASEQ_{n.upper()}" for n in Config.__struct_fields__]),
        st.text(max_size=8),
    )
)
def test_any_text_is_read_or_refused_but_never_blows_up(env: dict[str, str]) -> None:
    outcome: Any
    try:
        outcome = Config.from_env(env)
    except ConfigInvalid as refused:
        outcome = str(refused)
        assert "LEASEQ_" in outcome
    assert outcome


def test_a_configuration_survives_the_environment() -> None:
    config = Config(
        redis_url="redis://x/0",
        strict_types=True,
        concurrency=7,
        lease_seconds=9.25,
        log_level="debug",
    )
    again = Config.from_env(config.to_env())
    assert again == msgspec.structs.replace(config, data_dir=config.data_dir.absolute())
    assert "LEASEQ_POSTGRES_URL" not in config.to_env()


@pytest.mark.parametrize(
    "name", ["LEASEQ_POSTGRES_URL", "LEASEQ_HANDLER_POSTGRES_URL", "LEASEQ_REDIS_URL"]
)
def test_a_url_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    """As a secret of Docker, Kubernetes or systemd comes."""
    file = tmp_path / "secret"
    url = "redis://:p@cache/0" if "REDIS" in name else "postgresql://u:p@db/x"
    env = {f"{name}_FILE": f"{file}"} | ({"LEASEQ_POSTGRES_URL": url} if "HANDLER" in name else {})
    for ending in ("", "\n", "\r\n", "\n# a second line says nothing\n"):
        file.write_text(url + ending)
        config = Config.from_env(env)
        assert getattr(config, name.removeprefix("LEASEQ_").lower()) == url
    assert "are both set" in refusal(env | {name: url})
    assert config.to_env() == Config.from_env(config.to_env()).to_env()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is set but empty"),
        (b"\n", "is set but empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"hunter2", "must begin with"),
        (b"postgresql://" + b"x" * 1_000_000, "longer than"),
    ],
)
def test_a_file_without_a_url_is_refused_without_its_content(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    sentence = refusal({"LEASEQ_POSTGRES_URL_FILE": str(file)})
    assert said in sentence
    assert "LEASEQ_POSTGRES_URL" in sentence
    assert "hunter2" not in sentence
    assert len(sentence) < 300


def test_other_variables_have_no_file() -> None:
    assert "is not a known variable" in refusal({"LEASEQ_CONCURRENCY_FILE": "/x"})


def test_an_environment_for_other_programs_has_no_url_and_starts_no_server_of_its_own() -> None:
    config = Config(postgres_url="postgresql://u:p@db/x", redis_url="redis://:p@cache/0")
    values, secrets = split_secrets(config)
    assert set(secrets) == {"LEASEQ_POSTGRES_URL", "LEASEQ_REDIS_URL"}
    hidden = hide_secrets({"PATH": "/bin", **config.to_env()}, secrets)
    assert hidden == {"PATH": "/bin", **values, "LEASEQ_POSTGRES_URL": "", "LEASEQ_REDIS_URL": ""}
    assert "a worker empties it" in refusal(hidden)
    from_file = hide_secrets(
        {"LEASEQ_POSTGRES_URL_FILE": "/run/secret", "LEASEQ_REDIS_URL": "redis://:p@cache/0"},
        secrets,
    )
    assert from_file == {"LEASEQ_POSTGRES_URL_FILE": "/run/secret", "LEASEQ_REDIS_URL": ""}


@pytest.mark.parametrize("version", ["x" * 65, "1.4\x1b[2J"])
def test_version_of_the_application_can_be_shown(version: str) -> None:
    assert "is not a version" in refusal({"LEASEQ_APP_VERSION": version})
    assert Config(app_version="1.4.2 (a1b2c3)").app_version == "1.4.2 (a1b2c3)"
