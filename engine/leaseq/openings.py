"""The connections of an app: one set for each event loop on which it is open.

Invariants. Openings on one loop are counted: the first one connects, the last one disconnects, and
all of them share the connections. A set of connections is used only on its own loop. A worker lends
its own engine to the app whose handlers it runs, so a handler opens nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from leaseq.errors import NotOpen
from leaseq.operations.engine import Engine

T = TypeVar("T")

CLOSE_SECONDS = 5.0


class Opening:
    """The engine of one loop, from the first opening to the last closing."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Engine]]) -> None:
        self._connect = connect
        self._connecting: asyncio.Task[Engine] | None = None
        self._connected: AbstractAsyncContextManager[Engine] | None = None
        self.count = 0
        self.engine: Engine | None = None

    async def enter(self) -> None:
        """Connect, or wait for the caller that connects."""
        self.count += 1
        try:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._open())
            # Shielded: a cancelled caller leaves the connections to the others.
            await asyncio.shield(self._connecting)
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Disconnect, if no other caller is left."""
        self.count -= 1
        if self.count > 0 or self._connecting is None:
            return
        connecting, self._connecting = self._connecting, None
        connected, self._connected, self.engine = self._connected, None, None
        if connected is not None:
            await connected.__aexit__(None, None, None)
        else:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def _open(self) -> Engine:
        connected = self._connect()
        self.engine = await connected.__aenter__()
        self._connected = connected
        return self.engine


class Openings:
    """The open connections of an app. `connect` opens an engine for the loop on which it is
    called."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Engine]]) -> None:
        self._connect = connect
        self._openings: WeakKeyDictionary[asyncio.AbstractEventLoop, Opening] = WeakKeyDictionary()
        self._lent: WeakKeyDictionary[asyncio.AbstractEventLoop, Engine] = WeakKeyDictionary()
        self._guard = threading.Lock()
        self._portal: Portal | None = None

    @property
    def engine(self) -> Engine:
        """The engine of the running loop. Raises `NotOpen`."""
        loop = running_loop()
        if loop is not None:
            if (lent := self._lent.get(loop)) is not None:
                return lent
            if (opening := self._openings.get(loop)) is not None and opening.engine is not None:
                return opening.engine
        if self._lent:
            raise NotOpen(
                "this handler is not on the event loop of its worker: in a plain `def` handler use .sync.submit(...), "
                "and call no asyncio.run()"
            )
        raise NotOpen

    async def enter(self) -> None:
        """Open on the running loop, or count one more opening."""
        loop = asyncio.get_running_loop()
        if loop not in self._lent:
            await self._openings.setdefault(loop, Opening(self._connect)).enter()

    async def leave(self) -> None:
        """Count one opening less on the running loop, and close after the last."""
        opening = self._openings.get(asyncio.get_running_loop())
        if opening is not None and opening.count > 0:
            await opening.leave()

    @contextmanager
    def lend(self, engine: Engine) -> Iterator[None]:
        """Provide a worker's engine to the handlers on the running loop and in its threads."""
        loop = asyncio.get_running_loop()
        before = self._lent.get(loop)
        self._lent[loop] = engine
        try:
            yield
        finally:
            if before is None:
                del self._lent[loop]
            else:
                self._lent[loop] = before

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work` from code without an event loop, and wait for it: on the worker's loop or in a
        separate thread."""
        if running_loop() is not None:
            raise NotOpen(
                "an event loop runs in this thread, which .sync would block: await the method itself"
            )
        lent = next(iter(self._lent), None)
        loop = lent or self._start_portal().loop
        return asyncio.run_coroutine_threadsafe(work(), loop).result()

    def _start_portal(self) -> Portal:
        """The loop for code without one. A forked process starts its own, because threads are not
        inherited."""
        with self._guard:
            if self._portal is None or self._portal.pid != os.getpid():
                portal = Portal()
                asyncio.run_coroutine_threadsafe(self.enter(), portal.loop).result()
                atexit.register(portal.close, self.leave)
                self._portal = portal
            return self._portal


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Portal:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, daemon=True, name="leaseq sync"
        )
        self._thread.start()

    def close(self, leave: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Disconnect and end the thread. A forked child has no such thread."""
        if self.pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(leave(), self.loop).result(CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_SECONDS)


__all__ = ["Openings"]
