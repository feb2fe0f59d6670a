"""The page at /docs works in a browser, and nothing leaves the service.

The page is opened in the machine's own Chromium. Tests of the files and
of the policy need no browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from leaseq_api import docs_page
from leaseq_api.docs_page import ASSETS, CACHING, POLICY, content_mark
from leaseq_api.http_server.exchange import Application
from support.api import Api, problem
from support.browser import browsing
from support.raw_http import serving

# Methods that the page does not show.
LEFT_OUT = {"head", "options"}
KEY = "lq_entered_in_the_page"


async def test_every_file_of_the_page_comes_from_the_service_under_its_policy(api: Api) -> None:
    page = await api.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.text
    folder = f"/docs/{content_mark()}"
    assert page.text.count(f'"{folder}/') == 3
    for path in ("/docs", *(f"{folder}/{name}" for name in ASSETS)):
        answer = await api.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["referrer-policy"] == "no-referrer"
    kinds = {
        name: (await api.client.get(f"{folder}/{name}")).headers["content-type"] for name in ASSETS
    }
    assert kinds["swagger-ui.css"] == "text/css; charset=utf-8"
    assert kinds["swagger-ui-bundle.js"] == "text/javascript; charset=utf-8"
    for name in ("nothing.js", "swagger-ui.css.map", "__init__.py"):
        problem(await api.client.get(f"{folder}/{name}"), "not_found")


async def test_only_files_of_the_page_may_be_kept_and_at_an_address_of_their_content(
    api: Api,
) -> None:
    async with (
        serving(cast(Application, api.app)) as served,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as client,
    ):
        for method in ("GET", "HEAD"):
            for name in ASSETS:
                path = f"/docs/{content_mark()}/{name}"
                answer = await client.request(method, path)
                assert answer.status_code == 200
                assert answer.headers.get_list("cache-control") == [CACHING], path
                assert answer.headers["x-content-type-options"] == "nosniff"
        # A page of a process of another version gets the file of this one, for once.
        other = f"/docs/{'0' * 16}/swagger-ui.css"
        assert (await client.get(other)).content == (
            await client.get(f"/docs/{content_mark()}/swagger-ui.css")
        ).content
        for path in (
            *("/docs", other, f"/docs/{content_mark()}/x", "/docs/x", "/schema"),
            *("/problems", "/problems/not_found", "/health/live", "/api/tasks", "/api/queues"),
        ):
            answer = await client.get(path)
            assert answer.headers.get_list("cache-control") == ["no-store"], path


def test_the_mark_changes_with_any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = content_mark(), docs_page._read
    for changed in ASSETS:
        content_mark.cache_clear()
        monkeypatch.setattr(docs_page, "_read", lambda name: read(name) + b" " * (name == changed))  # noqa: B023
        assert content_mark() != before
    content_mark.cache_clear()
    monkeypatch.undo()
    assert content_mark() == before


def test_the_policy_allows_no_other_origin_and_nothing_inline() -> None:
    for directive in POLICY.split("; "):
        assert set(directive.split(" ")[1:]) <= {"'self'", "'none'", "data:"}, directive
    assert "default-src 'none'" in POLICY


async def test_the_page_shows_every_operation_and_sends_a_request_with_the_entered_key(
    api: Api, tmp_path: Path
) -> None:
    async with serving(cast(Application, api.app)) as served, browsing(tmp_path) as tab:
        origin = f"http://127.0.0.1:{served.port}"
        await tab.visit(f"{origin}/docs")
        wanted = sum(len(item.keys() - LEFT_OUT) for item in api.document.paths.values())
        await tab.until(f"document.querySelectorAll('.opblock').length === {wanted}")
        assert "OAS 3.1" in await tab.run("document.querySelector('.info').innerText")

        await tab.click("button.authorize")
        await tab.write(".auth-container input", KEY)
        await tab.click(".auth-btn-wrapper .authorize")
        await tab.click(".auth-btn-wrapper .btn-done")

        await tab.click("[id$='-submit'] .opblock-summary-control")
        # Without a body the page sends nothing.
        await tab.until("document.querySelector('.body-param__text')?.value")
        await tab.click("[id$='-submit'] button.execute")
        status = "[id$='-submit'] .live-responses-table .response .response-col_status"
        await tab.until(f'document.querySelector("{status}")')
        assert (await tab.run(f'document.querySelector("{status}").innerText')).startswith("202")

        # Everything of a page in which an answer is shown was allowed and came from the service.
        assert await tab.run("window.violations") == []
        assert tab.errors == []
        sent = [
            urlsplit(request["url"])
            for request in tab.requests
            if not request["url"].startswith("data:")
        ]
        assert {f"{url.scheme}://{url.netloc}" for url in sent} == {origin}
        (submitted,) = [request for request in tab.requests if request["method"] == "POST"]
        assert submitted["headers"]["Authorization"] == f"Bearer {KEY}"
        assert msgspec.json.decode(submitted["postData"])["type"] == "charge"


async def test_a_violation_and_a_foreign_request_are_noticed(tmp_path: Path) -> None:
    """The browser of these tests reports what the page must not do."""

    async def hostile(scope: dict[str, object], receive: object, send: object) -> None:
        body = b'<!doctype html><script>window.ran = true</script><img src="http://localhost:9/x.png"><p id="end">'
        headers = [(b"content-type", b"text/html"), (b"content-security-policy", POLICY.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body, "more_body": False})  # type: ignore[operator]

    async with serving(hostile) as served, browsing(tmp_path) as tab:
        await tab.visit(f"http://127.0.0.1:{served.port}/")
        await tab.until("window.violations.length >= 2")
        found = " ".join(await tab.run("window.violations"))
        assert "script-src" in found
        assert "img-src" in found
        assert tab.errors
