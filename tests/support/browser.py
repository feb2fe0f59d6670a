"""The machine's own Chromium, driven through the pipe of its DevTools protocol.

A tab records every request that its page sends, every violation of a content security policy, and
every error in its console. Tests that need a browser are skipped where none is installed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.processes import PATIENCE

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
# Chromium reads commands from descriptor 3 and writes to 4.
ON_3_AND_4 = 'exec "$0" "$@" 3<&"$READS" 4>&"$WRITES"'
_WATCH = """window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(
  `${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"""


# The errors of Chromium when a page goes away while an expression is awaited.
LEFT = ("navigated or closed", "context was destroyed", "context with specified id")


class PageLeft(AssertionError):
    """The page has led to another one before an expression had its value."""


class Tab:
    """One page of a running browser."""

    def __init__(self, sending: asyncio.StreamWriter, first: Tab | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._sending = sending
        self._session: str | None = None
        self._loaded = asyncio.Event()
        # Of all tabs of the browser, as its commands are numbered together.
        self._answers: dict[int, asyncio.Future[Any]] = {} if first is None else first._answers
        self._tabs: dict[str, Tab] = {} if first is None else first._tabs

    async def open(self) -> None:
        """Make the tab and record what happens in it."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        self._tabs[attached["sessionId"]] = self
        for domain in ("Network", "Log", "Runtime", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)

    async def another(self) -> Tab:
        """Another tab of this browser, in front of this one."""
        tab = Tab(self._sending, self)
        await tab.open()
        return tab

    async def call(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._sending.write(msgspec.json.encode(message) + b"\0")
        async with asyncio.timeout(PATIENCE):
            return await answer

    def close_browser(self) -> None:
        """Ask the browser to end."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": "Browser.close"}
        self._sending.write(msgspec.json.encode(message) + b"\0")

    async def visit(self, url: str) -> None:
        """Go to an address. A script that runs earlier could run in the page before."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def look(self, *, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        """Show pages in this size, and with this preference for colours (`light` or `dark`)."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 640,
        )
        features = [{"name": "prefers-color-scheme", "value": theme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def allow_scripts(self, allowed: bool) -> None:
        """Run the scripts of the pages that are visited from now on, or none. Expressions of the
        test run in any case."""
        await self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, of all of it or of the part in view."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, b64decode(shot["data"]))

    async def press(self, key: str) -> None:
        """Press a key and let it go. A single character is typed, another one is named as in
        `KeyboardEvent.key`."""
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=code,
            )

    async def submit(self, selector: str) -> None:
        """Click something that leads to another page, and wait for that page."""
        self._loaded.clear()
        # Without `click`: the timer that it waits by is a script of the page.
        await self.run(f"document.querySelector({selector!r}).click()")
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def text(self, selector: str = "body") -> str:
        """The text of the first element that matches, as it is shown."""
        shown: str = await self.run(f"document.querySelector({selector!r}).innerText")
        return shown

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        ran = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in ran, ran["exceptionDetails"]
        return ran["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, on this page or on one that follows it."""
        waiting = f"""new Promise((done) => {{
          const look = () => ({condition}) ? done() : setTimeout(look, 20);
          look();
        }})"""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self.run(waiting)
                except PageLeft:
                    await asyncio.sleep(0.02)
                else:
                    return

    async def click(self, selector: str) -> None:
        """Click the first element that matches, as soon as there is one."""
        found = f"document.querySelector({selector!r})"
        await self.until(found)
        await self.run(f"{found}.click()")

    async def write(self, selector: str, text: str) -> None:
        """Type a text into a field."""
        found = f"document.querySelector({selector!r})"
        await self.until(found)
        await self.run(f"{found}.focus()")
        await self.call("Input.insertText", text=text)

    def take(self, message: dict[str, Any]) -> None:
        """Note a message of the browser."""
        owner = self._tabs.get(message.get("sessionId", ""), self)
        if owner is not self and "id" not in message:
            owner.take(message)
            return
        params = message.get("params", {})
        match message.get("method"):
            case None if "error" in message:
                left = any(sign in message["error"]["message"] for sign in LEFT)
                error = (PageLeft if left else AssertionError)(message["error"])
                self._answers[message["id"]].set_exception(error)
            case None:
                self._answers[message["id"]].set_result(message["result"])
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"]))


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Tab]:
    """A tab of a new browser. Skips the test where there is no browser."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"the page cannot be looked at: none of {', '.join(BROWSERS)} is installed")
    (reads, sending), (receiving, writes) = os.pipe(), os.pipe()
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", ON_3_AND_4, browser, *OPTIONS, f"--user-data-dir={profile}"),
        env=os.environ | {"READS": str(reads), "WRITES": str(writes)},
        pass_fds=(reads, writes),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(reads)
    os.close(writes)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(receiving, "rb")
    )
    writing, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(sending, "wb")
    )
    tab = Tab(asyncio.StreamWriter(writing, protocol, None, loop))
    listening = asyncio.create_task(_listen(reader, tab))
    try:
        await tab.open()
        yield tab
    finally:
        # A browser that is killed leaves files in the temporary directory.
        tab.close_browser()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        listening.cancel()
        writing.close()
        reading.close()


async def _listen(reader: asyncio.StreamReader, tab: Tab) -> None:
    while True:
        tab.take(msgspec.json.decode((await reader.readuntil(b"\0"))[:-1]))


__all__ = ["Tab", "browsing"]
