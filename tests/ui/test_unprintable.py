"""No text of an app controls what a page looks like, and forms keep the text."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from leaseq.model import State
from leaseq_api.ui.templates import exact, shown
from support.api import Api
from support.failures import GONE, Shop, count

TURNED = "\u202eRTL\x07"
VALUE = re.compile(r'value="[^"]*"')


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (TURNED, "\\u202eRTL\\x07"),
        ("a\nb\tc", "a\nb\tc"),
        ("1\u202f000\u00a0s", "1\u202f000\u00a0s"),
        ("Zoë 日本 ✓", "Zoë 日本 ✓"),
        (exact(TURNED), TURNED),
        (7, 7),
        (None, None),
    ],
)
def test_a_character_that_is_not_printable_is_shown_as_an_escape(
    value: object, seen: object
) -> None:
    assert shown(value) == seen


async def test_pages_show_escapes_and_forms_keep_the_text(api: Api) -> None:
    stores = api.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    worker = await shop.worker(host="here", app_version="1.4.2")
    await shop.fail(replace(GONE, message=TURNED), worker=worker, then=State.FAILED)
    await count(stores.failures)
    task = await api.submitted({"type": "mail", "payload": {"n": 1}, "labels": {"who": TURNED}})
    chip = f"/ui/tasks?label={quote('who=' + TURNED)}"
    for path in (
        "/ui",
        "/ui/failures",
        "/ui/tasks",
        f"/ui/tasks/{task}",
        "/ui/tasks?state=FAILED",
        chip,
    ):
        text = (await api.client.get(path)).text
        assert not {"\u202e", "\x07"} & set(VALUE.sub("", text)), path
    assert TURNED in "".join(VALUE.findall(text)), "the form of the filter sends it back"
