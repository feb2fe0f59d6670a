"""Checks before routing: host, origin, path and method."""

from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.ledger.session import Connection
from leaseq_api.app import create_app
from support.api import JSON, Api, open_api, problem

HERE = "localhost"
EVIL = "https://evil.example"

# Host -> served.
LOOPBACK = [
    "localhost",
    "LOCALHOST:8000",
    "localhost:80",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.9.9.9:1",
    "[::1]",
    "[::1]:8000",
]
ELSEWHERE = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "evil.localhost",
    "127.0.0.1.evil.example",
    "128.0.0.1",
    "0.0.0.0",
    "0.0.0.0:8000",
    "[::]",
    "[::2]:8000",
    "10.0.0.1",
    "2130706433",
    "0x7f.1",
    "queue.example.org.evil.example",
]
NO_HOST = [
    "",
    " ",
    "a b",
    "a,b",
    "a/b",
    "a@localhost",
    "localhost.",
    "localhost:",
    "localhost:x",
    "localhost:123456",
]
NO_HOST += ["[::1", "::1", "[::1]x", "a\tb", "é"]

# Sent by a web page, as browsers of today and of yesterday say so.
OF_A_PAGE = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://localhost:8000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "file://"},
    {"Origin": "http://localhost, http://localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Same-Origin"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "same-origin", "Origin": EVIL},
]
OWN = [
    {},
    {"Origin": "http://localhost"},
    {"Origin": "http://localhost:80"},
    {"Origin": "HTTP://LOCALHOST"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
]


async def test_only_listed_hosts_are_served(config: Config) -> None:
    async with open_api(replace(config, api_hosts="queue.example.org, api:8000,[fd00::1]")) as api:
        for host in [
            *LOOPBACK,
            "queue.example.org",
            "Queue.Example.org:443",
            "api:8000",
            "[fd00::1]:8000",
        ]:
            assert (
                await api.client.get("/api/queues", headers={"Host": host})
            ).status_code == 200, host
        for host in [*ELSEWHERE, "api", "api:8001", "[fd00::2]"]:
            for method, path in (
                ("GET", "/api/queues"),
                ("POST", "/api/tasks"),
                ("GET", "/schema"),
                ("OPTIONS", "/api/tasks"),
            ):
                body = problem(
                    await api.client.request(method, path, headers={"Host": host}), "host_unknown"
                )
                assert "LEASEQ_API_HOSTS" in body["detail"]
            for path in ("/health/live", "/health/ready"):  # probes send addresses
                assert (await api.client.get(path, headers={"Host": host})).status_code == 200, host
            for path in (
                "/health",
                "/health/",
                "/healthy",
                "/health/../api/queues",
                "//health/live",
            ):
                assert (
                    await api.client.get(httpx.URL(f"http://a{path}"), headers={"Host": host})
                ).status_code in (404, 421)


async def test_the_address_that_the_service_listens_on_is_listed_but_every_address_is_not(
    config: Config,
) -> None:
    for own, host, served in (
        ("192.0.2.7", "192.0.2.7:8000", True),
        ("fd00::7", "[fd00::7]", True),
        ("0.0.0.0", "0.0.0.0", False),
    ):
        async with open_api(replace(config, api_host=own, api_auth="off")) as api:
            assert (
                (await api.client.get("/api/queues", headers={"Host": host})).status_code == 200
            ) == served


async def test_there_is_exactly_one_host(api: Api) -> None:
    for path in ("/api/queues", "/health/live", "/nowhere"):
        for host in NO_HOST:
            problem(await api.client.get(path, headers=[(b"Host", host.encode())]), "host_invalid")
        problem(
            await api.client.get(path, headers=[("Host", HERE), ("Host", HERE)]), "host_invalid"
        )
        request = api.client.build_request("GET", path)
        del request.headers["host"]
        problem(await api.client.send(request), "host_invalid")


async def test_a_web_page_of_another_site_changes_nothing(api: Api, plain: Connection) -> None:
    task_id = await api.submitted()
    changes = [
        "/api/tasks",
        f"/api/tasks/{task_id}/cancel",
        f"/api/tasks/{task_id}/redrive",
        "/api/queues/default/pause",
        "/api/queues/default/resume",
        "/nowhere",
    ]
    for sent in OF_A_PAGE:
        for path in changes:
            for more in ({}, {"Content-Type": "text/plain"}, JSON):
                answer = await api.client.post(
                    path, headers=sent | more, content=b'{"type":"add","payload":1}'
                )
                problem(answer, "cross_site")
    for method in ("PUT", "PATCH", "DELETE"):
        problem(
            await api.client.request(method, "/api/tasks", headers={"Origin": EVIL}), "cross_site"
        )
    cursor = await plain.execute(
        "select count(*), bool_or(cancel_requested_at is not null) from leaseq.tasks"
    )
    assert await cursor.fetchall() == [(1, False)]
    cursor = await plain.execute("select count(*) from leaseq.queues where paused")
    assert await cursor.fetchall() == [(0,)]
    # which the page may not read
    assert (await api.client.get("/api/queues", headers={"Origin": EVIL})).status_code == 200
    for sent in OWN:
        assert (
            await api.client.post("/api/queues/default/pause", headers=sent)
        ).status_code == 200, sent
        assert (
            await api.client.post("/api/queues/default/resume", headers=sent)
        ).status_code == 200, sent


async def test_the_origin_behind_a_proxy_is_a_listed_host(config: Config) -> None:
    async with open_api(replace(config, api_hosts="queue.example.org,other:8443")) as api:
        for origin, host, allowed in (
            ("https://queue.example.org", "localhost:8000", True),
            ("https://queue.example.org:443", "queue.example.org", True),
            ("https://other:8443", "localhost", True),
            ("https://other", "localhost", False),
            ("http://queue.example.org:8080", "localhost", False),
            ("http://queue.example.org:8080", "queue.example.org:8080", True),
            ("ftp://queue.example.org", "queue.example.org", False),
        ):
            answer = await api.client.post(
                "/api/queues/none/resume", headers={"Origin": origin, "Host": host}
            )
            assert (answer.status_code == 200) == allowed, origin


async def test_a_path_has_one_spelling(api: Api) -> None:
    task_id = await api.submitted()
    plain = [
        "/api/tasks",
        f"/api/tasks/{task_id}",
        f"/api/tasks/{task_id}/attempts",
        "/api/queues",
        "/health/live",
        "/schema",
    ]
    for path in plain:
        assert (await api.client.get(path)).status_code == 200
        first = path[1:]
        others = [
            f"/{path}",
            f"{path}/",
            f"{path}//",
            f"/.{path}",
            f"/..{path}",
            f"{path}/.",
            f"{path}/..",
            f"{path}/x/..",
            f"/x/..{path}",
            f"/%2e{path}",
            f"/%2E%2e{path}",
            f"/%2F{first}",
            f"/%{ord(first[0]):02x}{first[1:]}",
            f"{path}%2f",
            f"{path}%00",
            f"{path}%20",
            f"{path}%3fx",
            f"{path};x=1",
            f"{path};",
            f"{path}\\",
            f"/\\{first}",
            f"{path.upper()}",
            path.replace("/", "//"),
            path.replace("/", "/./"),
            "/" + first.replace("/", "%2F"),
            "/" + first.replace("/", "\\"),
        ]
        for other in set(others) - {path}:
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                # As a client writes it, and not as httpx would.
                request = api.client.build_request(method, "/")
                request.url = _Spelled(other.encode())
                answer = await api.client.send(request)
                assert answer.status_code == 404, (method, other)
    request = api.client.build_request("POST", "/")
    request.url = _Spelled(b"/api/queues/%64efault/pause")
    problem(await api.client.send(request), "not_found")


class _Spelled(httpx.URL):
    """An address whose path is not tidied up."""

    def __init__(self, path: bytes) -> None:
        super().__init__("http://localhost/")
        self._path = path

    @property
    def raw_path(self) -> bytes:
        return self._path

    @property
    def path(self) -> str:
        return httpx.URL("http://localhost" + self._path.decode()).path


async def test_head_is_get_without_content(api: Api) -> None:
    task_id = await api.submitted()
    paths = [
        "/api/tasks",
        f"/api/tasks/{task_id}",
        f"/api/tasks/{task_id}?wait=0.01",
        f"/api/tasks/{task_id}/attempts",
    ]
    paths += [
        "/api/queues",
        "/api/operations",
        "/api/workers",
        "/health/live",
        "/schema",
        "/schema/openapi.json",
        "/problems",
    ]
    paths += [f"/api/tasks/{new_task_id()}", "/nowhere", "/api/tasks?limit=0", "/api//tasks"]
    for path in paths:
        got, head = await api.client.get(path), await api.client.head(path)
        assert head.content == b""
        assert head.status_code == got.status_code
        assert {**head.headers} == {**got.headers}, path
    problem_of_post = await api.client.head(f"/api/tasks/{task_id}/cancel")
    assert (problem_of_post.status_code, problem_of_post.headers["allow"]) == (405, "OPTIONS, POST")


async def test_options_and_405_name_the_methods_of_an_address(api: Api) -> None:
    task_id = await api.submitted()
    for path, allowed in (
        ("/api/tasks", "GET, HEAD, OPTIONS, POST"),
        (f"/api/tasks/{task_id}", "DELETE, GET, HEAD, OPTIONS"),
        (f"/api/tasks/{task_id}/cancel", "OPTIONS, POST"),
        ("/api/queues", "GET, HEAD, OPTIONS"),
        ("/api/queues/a/pause", "OPTIONS, POST"),
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/schema", "GET, HEAD, OPTIONS"),
    ):
        answer = await api.client.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
        for method in {"PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - {*allowed.split(", ")}:
            refused = await api.client.request(method, path)
            problem(refused, "method_not_allowed")
            assert refused.headers["allow"] == allowed
    problem(await api.client.options("/nowhere"), "not_found")
    assert not any(
        name.startswith("access-control-")
        for name in (await api.client.options("/api/tasks")).headers
    )


async def test_headers_that_may_come_once_come_once(api: Api) -> None:
    body = b'{"type":"add","payload":1}'
    for name, first, second in (
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Type", "application/json", "application/json"),
        ("Content-Encoding", "identity", "gzip"),
        ("Origin", "http://localhost", EVIL),
        ("Sec-Fetch-Site", "same-origin", "cross-site"),
        ("Authorization", "Bearer a", "Bearer b"),
    ):
        headers = [("Host", HERE), (name, first), (name, second)]
        headers += [] if name == "Content-Type" else [("Content-Type", "application/json")]
        problem(
            await api.client.post("/api/tasks", content=body, headers=headers), "header_repeated"
        )


async def test_filters_that_say_null_do_not_answer_with_everything(api: Api) -> None:
    await api.submitted()
    for name in ("state", "limit", "cursor"):
        problem(await api.client.get(f"/api/tasks?{name}=null"), "parameter_invalid")
    for name in ("queue", "type", "idempotency_key"):
        assert (await api.get(f"/api/tasks?{name}=null"))["tasks"] == []
    task_id = await api.submitted(
        {"type": "null", "payload": 1, "queue": "null"}, Idempotency_Key="null"
    )
    for name in ("queue", "type", "idempotency_key"):
        assert [
            task["task_id"] for task in (await api.get(f"/api/tasks?{name}=null"))["tasks"]
        ] == [task_id]


@pytest.mark.parametrize(
    "hosts",
    ["a b", "a,,b", ",", "http://a", "a/b", "a:", "a:x", "*", "*.example.org", "[::1", "é", "a@b"],
)
def test_invalid_host_is_refused(hosts: str) -> None:
    with pytest.raises(ConfigInvalid, match="LEASEQ_API_HOSTS"):
        Config.from_env({"LEASEQ_API_HOSTS": hosts})


def test_hosts_survive_the_way_to_a_child() -> None:
    config = Config.from_env(
        {"LEASEQ_API_HOSTS": " queue.example.org, api:8000 ", "LEASEQ_API_CONNECTIONS": "7"}
    )
    assert Config.from_env(config.to_env()) == replace(config, data_dir=config.data_dir.absolute())
    create_app(config)
