"""Sentences that replace the text of a driver."""

from __future__ import annotations

import socket
import ssl

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.errors import ServerUnreachable
from leaseq.safe_text.unreachable import UNKNOWN, postgres_reason, redis_reason

AT = 'connection failed: connection to server at "s3cret", port 5432 failed: '

POSTGRES = [
    (
        AT
        + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
        "Connection refused",
    ),
    (
        AT + 'FATAL:  password authentication failed for user "s3cret"',
        "the user or the password is wrong",
    ),
    (AT + "fe_sendauth: no password supplied", "it requires a password, and none was given"),
    (AT + 'FATAL:  role "s3cret" does not exist', "there is no such role"),
    (AT + 'FATAL:  database "s3cret" does not exist', "there is no such database"),
    (
        AT
        + 'FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "s3cret", database "d", no encryption',
        "pg_hba.conf does not admit",
    ),
    (AT + "FATAL:  sorry, too many clients already", "too many connections"),
    (
        AT
        + "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "too many connections",
    ),
    (AT + "FATAL:  the database system is starting up", "the database system is starting up"),
    (AT + "FATAL:  the database system is in recovery mode", "the database system is in recovery"),
    (AT + "server does not support SSL, but SSL was required", "TLS failed"),
    (AT + "SSL error: certificate verify failed", "TLS failed"),
    (AT + "timeout expired", "no answer in time"),
    (AT + "FATAL:  query_wait_timeout", "no answer in time"),
    (
        AT
        + "server closed the connection unexpectedly\n\tThis probably means the server terminated",
        "the server closed the connection",
    ),
    (AT + "FATAL:  session is not read-only", "target_session_attrs"),
    (
        "failed to resolve host 's3cret': [Errno -2] Name or service not known",
        "its host name is not known",
    ),
    ("[Errno -3] Temporary failure in name resolution", "its host name is not known"),
    (
        'connection to server on socket "/s3cret/.s.PGSQL.5432" failed: No such file or directory',
        "there is no such socket",
    ),
    ('invalid sslmode value: "s3cret"', "TLS failed"),
    (
        'invalid integer value "s3cret" for connection option "connect_timeout"',
        "a part of the URL is not valid",
    ),
    ("FATAL: unsupported startup parameter: s3cret", "a pooler refuses a parameter"),
    ("Verbindung zum Server fehlgeschlagen: s3cret", UNKNOWN),
    (
        'could not translate host name "timeout SSL certificate" to address: Name or service not known',
        "its host name is not known",
    ),
]


@pytest.mark.parametrize(("text", "said"), POSTGRES)
def test_a_reason_of_postgres_is_recognized_without_its_names(text: str, said: str) -> None:
    reason = postgres_reason(text)
    assert reason.startswith(said)
    assert "s3cret" not in reason


def test_several_hosts_have_several_reasons() -> None:
    lines = "Multiple connection attempts failed.\n- host: 's3cret': Connection refused\n- host: 'b': timeout expired"
    assert postgres_reason(lines) == "Connection refused; no answer in time"


def with_cause(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


REDIS = [
    (
        with_cause(
            RedisConnectionError("Error 111 connecting to s3cret:6379."),
            ConnectionRefusedError(111, "x"),
        ),
        "Connection refused",
    ),
    (
        with_cause(RedisConnectionError("Error connecting to s3cret."), socket.gaierror(-2, "x")),
        "its host name is not known",
    ),
    (
        with_cause(RedisConnectionError("Error 1 connecting to s3cret."), ssl.SSLError(1, "x")),
        "TLS failed",
    ),
    (
        with_cause(
            RedisConnectionError("Error 2 connecting to unix socket: s3cret."),
            FileNotFoundError(2, "x"),
        ),
        "there is no such socket",
    ),
    (RedisTimeoutError("Timeout reading from s3cret:6379"), "no answer in time"),
    (
        RedisConnectionError(
            "Error while reading from s3cret:6379 : (104, 'Connection reset by peer')"
        ),
        "the server closed",
    ),
    (RedisConnectionError("No connection available."), "the connection failed"),
    (
        AuthenticationError("invalid username-password pair or user is disabled."),
        "the user or the password is wrong",
    ),
    (AuthenticationError("Authentication required."), "it requires a password, and none was given"),
    (BusyLoadingError("Redis is loading the dataset in memory"), "it is loading its data"),
    (
        NoPermissionError("User s3cret has no permissions to run the 'eval' command"),
        "its user has no permissions to run the 'eval'",
    ),
    (
        ResponseError("OOM command not allowed when used memory > 'maxmemory'.\nmore"),
        "OOM command not allowed",
    ),
    (UnicodeError("encoding s3cret with 'idna' codec failed"), "its host name is not valid"),
]


@pytest.mark.parametrize(("error", "said"), REDIS)
def test_a_reason_of_redis_is_recognized_without_its_names(error: Exception, said: str) -> None:
    reason = redis_reason(error)
    assert reason.startswith(said)
    assert "s3cret" not in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user": "nobody_at_all"}, ("there is no such role", "the user or the password is wrong")),
        ({"dbname": "nowhere_at_all"}, ("there is no such database",)),
    ],
)
async def test_a_real_server_is_understood(
    change: dict[str, str], said: tuple[str, ...], config: Config
) -> None:
    params = psycopg.conninfo.conninfo_to_dict(make_conninfo(str(config.postgres_url), **change))
    query = "&".join(f"{name}={value}" for name, value in params.items())
    with pytest.raises(ServerUnreachable) as caught:
        await open_pool(Config(postgres_url=f"postgresql://?{query}"), name="test", max_size=1)
    assert str(caught.value) in [f"Postgres cannot be reached: {reason}" for reason in said]
