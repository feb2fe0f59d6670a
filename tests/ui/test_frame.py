"""Pages without a script: whole pages, parts, errors, headers and files."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq_api.ui.answer import POLICY
from leaseq_api.ui.menu import MENU
from leaseq_api.ui.static_files import CACHING, OWN, VENDORED, address_of, content_mark
from support.api import Api, open_api, problem
from support.source_tree import PACKAGES

HTML = {"Accept": "text/html"}
PAGES = [entry.path for entry in MENU]
UI = PACKAGES["leaseq_api"] / "ui"


class Shape(HTMLParser):
    """The elements of a page, and attributes that the policy does not allow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.forbidden: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.ids += [each for name, each in attrs if name == "id" and each]
        inline = tag == "script" and "src" not in given
        if inline or tag == "style" or any(n == "style" or n.startswith("on") for n in given):
            self.forbidden.append(f"{tag} {given}")


async def test_a_page_is_whole_without_a_script(api: Api) -> None:
    for path in PAGES:
        answer = await api.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        shape = Shape(answer.text)
        assert shape.tags.count("h1") == 1
        assert shape.forbidden == []
        assert len(shape.ids) == len(set(shape.ids))
        assert 'href="#main"' in answer.text
        assert f'href="{path}" data-key=' in answer.text
        assert len(answer.content) < 30_000


async def test_every_answer_has_the_headers(api: Api) -> None:
    for path in [*PAGES, "/ui/none", "/ui/queues?x=1", f"/ui/static/{'0' * 16}/style.css"]:
        answer = await api.client.get(path)
        assert answer.headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert "http" not in POLICY
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]


@pytest.mark.parametrize(
    ("path", "status"), [("/ui/none", 404), ("/ui/queues?x=1", 400), ("/ui/queues?part=x", 400)]
)
async def test_an_error_is_a_page_in_the_frame(api: Api, path: str, status: int) -> None:
    answer = await api.client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert Shape(answer.text).tags.count("nav") == 1


async def test_a_refusal_before_the_routes_is_a_page(api: Api) -> None:
    answer = await api.client.get("/ui", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert answer.headers["content-security-policy"] == POLICY
    assert "LEASEQ_API_HOSTS" in answer.text
    posted = await api.client.post("/ui", headers={"Sec-Fetch-Site": "cross-site"})
    assert posted.status_code == 403
    assert posted.headers["content-type"].startswith("text/html")


async def test_a_part_is_what_the_page_shows_and_is_not_sent_again(api: Api) -> None:
    whole = await api.client.get("/ui/queues")
    part = await api.client.get("/ui/queues?part=queues")
    assert part.text.strip().startswith("<section")
    assert "<main" not in part.text
    assert part.text.strip() in whole.text
    again = await api.client.get(
        "/ui/queues?part=queues", headers={"If-None-Match": part.headers["etag"]}
    )
    assert again.status_code == 304
    assert again.content == b""
    await api.submitted({"type": "add", "payload": {"n": 1}, "queue": "other"})
    api.service.overview._read_at = float("-inf")
    api.app.state.shared_parts._answers.clear()
    changed = await api.client.get(
        "/ui/queues?part=queues", headers={"If-None-Match": part.headers["etag"]}
    )
    assert changed.status_code == 200
    assert "other" in changed.text


async def test_a_browser_is_sent_from_the_root_to_the_dashboard(api: Api) -> None:
    answer = await api.client.get("/", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/ui"
    problem(await api.client.get("/"), "not_found")


async def test_files_are_kept_by_browsers_and_compressed(api: Api) -> None:
    for name in (*OWN, *VENDORED):
        answer = await api.client.get(address_of(name), headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == CACHING
        assert answer.headers["content-encoding"] == "gzip"
        plain = await api.client.get(address_of(name), headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content
    other = await api.client.get(f"/ui/static/{'0' * 16}/style.css")
    assert "cache-control" not in other.headers
    missing = await api.client.get(f"/ui/static/{content_mark()}/none.js")
    assert missing.status_code == 404


def test_every_file_is_served() -> None:
    assert {path.name for path in (UI / "static").iterdir()} == set(OWN)
    assert {path.name for path in (UI / "vendor").iterdir()} == set(VENDORED)


async def test_the_dashboard_can_be_turned_off(config: Config) -> None:
    async with open_api(replace(config, ui="off")) as off:
        assert (await off.client.get("/ui", headers=HTML)).status_code == 404
        problem(await off.client.get("/", headers=HTML), "not_found")


async def test_the_label_names_the_environment(config: Config) -> None:
    async with open_api(replace(config, ui_label="<production>", ui_colour="red")) as labelled:
        text = (await labelled.client.get("/ui")).text
        assert '<p class="environment is-red">&lt;production&gt;</p>' in text


async def test_the_keys_of_pages_find_their_links(api: Api) -> None:
    newest = (await api.client.get(f"/ui/tasks?cursor={new_task_id()}")).text
    assert '<a rel="first" href="/ui/tasks">' in newest
    keys = (UI / "static" / "keys.js").read_text()
    assert '{"[": "first", "]": "next"}' in keys
    for name in ("tasks", "failures", "operations", "diary"):
        text = (UI / "templates" / f"{name}.html").read_text()
        assert text.count(">Older ") == text.count('<a rel="next"') > 0, name
