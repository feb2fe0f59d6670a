"""The page at /docs works in a browser, and nothing leaves the service.

The page is opened in the machine's own Chromium. Tests of the files and
of the policy need no browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import msgspec

from leaseq_api.docs_page import POLICY, VENDORED
from leaseq_api.http_server.exchange import Application
from support.api import Api, problem
from support.browser import browsing
from support.raw_http import serving

KEY = "lq_entered_in_the_page"


async def test_every_file_of_the_page_comes_from_the_service_under_its_policy(api: Api) -> None:
    page = await api.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.text
    for path in ("/docs", "/docs/start.js", *(f"/docs/{name}" for name in VENDORED)):
        answer = await api.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["referrer-policy"] == "no-referrer"
    kinds = {
        name: (await api.client.get(f"/docs/{name}")).headers["content-type"] for name in VENDORED
    }
    assert kinds["swagger-ui.css"] == "text/css; charset=utf-8"
    assert kinds["swagger-ui-bundle.js"] == "text/javascript; charset=utf-8"
    for name in ("nothing.js", "swagger-ui.css.map", "__init__.py"):
        problem(await api.client.get(f"/docs/{name}"), "not_found")


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
        await tab.until("document.querySelectorAll('.opblock').length")
        shown = await tab.run("document.querySelectorAll('.opblock').length")
        assert shown == sum(len(item) for item in api.document.paths.values())
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
