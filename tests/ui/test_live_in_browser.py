"""Live pages, keys, times and forms in a browser."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import cast

from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import Limits
from leaseq_api.http_server.server import Server
from leaseq_api.ui.sampler import Sampler
from leaseq_chaos.pace import Pace
from support.api import Api
from support.browser import browsing
from support.dashboard import shown
from support.raw_http import GIVE_UP_SECONDS

FOCUSED = "document.activeElement.textContent"


async def submit(api: Api, queue: str) -> None:
    await api.submitted({"type": "charge", "payload": {"n": 1}, "queue": queue})


async def test_a_change_is_shown_without_a_reload(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        await tab.run("window.untouched = true; document.querySelector('#queue-mail a').focus()")
        await submit(filled, "new-one")
        await tab.until("document.querySelector('#queue-new-one')")
        assert await tab.run("window.untouched")
        assert await tab.run(FOCUSED) == "mail"


async def test_a_page_does_not_move_under_a_reader(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues/mail")
        await tab.write("#reason", "a deploy that")
        await submit(filled, "mail")
        await tab.until("document.querySelector('#standing .count').textContent === '41'")
        assert await tab.run("document.querySelector('#reason').value") == "a deploy that"
        await tab.visit(f"{origin}/ui/queues")
        await tab.run("getSelection().selectAllChildren(document.querySelector('#queue-mail'))")
        await submit(filled, "new-one")
        # The health line is another region: its look has come after the change.
        await tab.run("window.leaseq.ring(null)")
        assert not await tab.run("Boolean(document.querySelector('#queue-new-one'))")
        await tab.run("getSelection().removeAllRanges()")
        await tab.until("document.querySelector('#queue-new-one')")


async def test_a_page_tells_an_outage_and_recovers(filled: Api, tmp_path: Path) -> None:
    application = cast(Application, filled.app)
    first, second = Server(application, Limits()), Server(application, Limits())
    port = await first.start("127.0.0.1", 0)
    try:
        async with browsing(tmp_path) as tab:
            await tab.visit(f"http://127.0.0.1:{port}/ui/queues")
            await tab.run("window.untouched = true")
            await tab.until("document.querySelector('#live.is-good')")
            await first.stop(seconds=0.0)
            await tab.until("document.querySelector('.banner')")
            assert "Not live since" in await tab.text(".banner")
            assert "mail" in await tab.text("main")
            await second.start("127.0.0.1", port)
            await tab.until("!document.querySelector('.banner')")
            assert await tab.run("window.untouched")
    finally:
        await first.stop(seconds=GIVE_UP_SECONDS)
        await second.stop(seconds=GIVE_UP_SECONDS)


async def test_a_hidden_page_holds_no_stream(filled: Api, tmp_path: Path) -> None:
    sampler: Sampler = filled.app.state.sampler
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        await tab.until("document.querySelector('#live.is-good')")
        for hidden, listeners in (("true", 0), ("false", 1)):
            await tab.run(
                f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            while len(sampler._listeners) != listeners:
                await tab.run("new Promise((done) => setTimeout(done, 20))")


async def test_the_eighth_page_loads_while_seven_are_hidden(
    filled: Api, pace: Pace, tmp_path: Path
) -> None:
    """A browser has six connections to one origin, and a hidden page holds none."""
    sampler: Sampler = filled.app.state.sampler
    async with shown(filled, tmp_path) as (tab, origin):
        tabs = [tab]
        for _ in range(7):
            await tabs[-1].visit(f"{origin}/ui/queues")
            await tabs[-1].until("document.querySelector('#live.is-good')")
            tabs.append(await tabs[-1].another())
        began = monotonic()
        await tabs[-1].visit(f"{origin}/ui/tasks")
        assert monotonic() - began < 1.0 * pace.slowness
        await tabs[-1].until("document.querySelector('#live.is-good')")
        assert [await each.run("document.hidden") for each in tabs] == [True] * 7 + [False]
        while len(sampler._listeners) != 1:
            await tab.run("new Promise((done) => setTimeout(done, 20))")


async def test_keys_lead_to_pages_and_change_nothing(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui")
        await tab.press("?")
        assert "Queues" in await tab.text("dialog")
        await tab.press("Escape")
        await tab.until("!document.querySelector('dialog')")
        await tab.press("/")
        assert await tab.run("document.activeElement.id") == "goto"
        await tab.press("g")
        assert await tab.run("document.activeElement.value") == "g"
        await tab.press("Escape")
        await tab.press("j")
        assert await tab.run(FOCUSED) == "mail"
        await tab.press("g")
        await tab.press("q")
        await tab.until("location.pathname === '/ui/queues'")
        for key in "abcdehilmnopqrstvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
            await tab.press(key)
        assert not [each for each in tab.requests if each["method"] != "GET"]


async def test_times_are_those_of_postgres_in_the_zone_that_is_named(
    filled: Api, tmp_path: Path
) -> None:
    wrong = "const now = Date.now; Date.now = () => now() + 3 * 3600e3;"
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.call("Emulation.setTimezoneOverride", timezoneId="America/St_Johns")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=wrong)
        await tab.visit(f"{origin}/ui/queues")
        age = await tab.text("#queue-mail time.age")
        assert age.endswith("s"), age
        assert (await tab.text("#as-of")).endswith(" UTC")
        await tab.click("#zone")
        assert (await tab.text("#as-of")).rpartition(" ")[2] in {
            "NST",
            "NDT",
            "GMT-3:30",
            "GMT-2:30",
        }
        assert await tab.text("#zone") == "local"
        await tab.visit(f"{origin}/ui")
        assert not (await tab.text("#as-of")).endswith(" UTC")


async def test_a_theme_is_chosen_and_kept(filled: Api, tmp_path: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.look(theme="light")
        await tab.visit(f"{origin}/ui")
        light = await tab.run(colour)
        await tab.click("#theme")
        dark = await tab.run(colour)
        assert dark != light
        await tab.visit(f"{origin}/ui/queues")
        assert await tab.run(colour) == dark


async def test_a_queue_is_paused_without_a_script(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.allow_scripts(False)
        await tab.visit(f"{origin}/ui/queues/mail")
        assert await tab.run("document.querySelector('#zone').hidden")
        await tab.run("document.querySelector('#reason').value = 'deploy'")
        await tab.submit("#actions button")
        assert "mail was paused" in await tab.text("[data-brief]")
        assert "deploy" in await tab.text("#standing")
        await tab.submit("[data-brief] button")
        assert "mail was resumed" in await tab.text("[data-brief]")
