"""Send calls without an event loop, again where that is safe.

This file is made from `async_sending.py` by `make generated`. Change that one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from random import random
from time import monotonic, sleep
from typing import Any, TypeVar

import httpx

from leaseq_http.answers import Page, error_of, read
from leaseq_http.batches import Batch
from leaseq_http.calls import Call
from leaseq_http.errors import LeaseqHTTPError
from leaseq_http.following import Following
from leaseq_http.model import Event
from leaseq_http.retrying import pause_before_next, unreachable
from leaseq_http.settings import LIMITS, Settings

T = TypeVar("T")
E = TypeVar("E")
P = TypeVar("P", bound=Page)


class Sender:
    """Sends the calls of one client. `http`: a client of httpx to send with, which its owner
    closes. None: one of its own."""

    def __init__(
        self, settings: Settings, *, retry_seconds: float, http: httpx.Client | None
    ) -> None:
        self._settings = settings
        self._retry_seconds = retry_seconds
        self._http = httpx.Client(limits=LIMITS) if http is None else http
        self._owned = http is None

    @property
    def base_url(self) -> str:
        """The address of the service."""
        return self._settings.base_url

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def pages(self, call: Callable[..., Call[P]], items: Callable[[P], list[T]]) -> Iterator[T]:
        """Read the items of all pages, page by page."""
        cursor: str | None = None
        while True:
            page = self.send(call(cursor=cursor))
            yield from items(page)
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def submit_batch(self, batch: Batch) -> None:
        """Send a batch until every item has an outcome that does not pass, or the time is over."""
        ends_at, tried = monotonic() + self._retry_seconds, 0
        while True:
            call, tried = batch.call(), tried + 1
            answers = self.send(call, seconds=max(ends_at - monotonic(), 0.0))
            passing = batch.note(call, answers)
            if passing is None:
                return
            pause = self._pause_before_next(call, passing, tried=tried, ends_at=ends_at)
            if pause is None:
                return
            sleep(pause)

    def send(self, call: Call[T], *, seconds: float | None = None) -> T:
        """Send a call until it is answered, for at most `seconds`, else `retry_seconds`."""
        ends_at = monotonic() + (self._retry_seconds if seconds is None else seconds)
        tried = 0
        while True:
            tried += 1
            try:
                return self._send_once(call)
            except LeaseqHTTPError as error:
                pause = self._pause_before_next(call, error, tried=tried, ends_at=ends_at)
                if pause is None:
                    error.idempotency_key = call.idempotency_key
                    raise
            sleep(pause)

    def _send_once(self, call: Call[T]) -> T:
        try:
            answer = self._http.request(
                call.method, **self._settings.request_of(call), follow_redirects=False
            )
        except httpx.RequestError as error:
            raise unreachable(error, url=self._settings.base_url) from error
        return read(call, answer.status_code, answer.headers, answer.content)

    def follow(self, following: Following[E]) -> Generator[Event[E], None, None]:
        """Read streams until the subject has ended, or a stream cannot be opened for `retry_seconds`."""
        ends_at, tried = monotonic() + self._retry_seconds, 0
        while True:
            call, tried = following.call(), tried + 1
            try:
                with self._stream(call) as answer:
                    following.check(answer.status_code, answer.headers.get("content-type", ""))
                    for piece in answer.iter_bytes():
                        ends_at, tried = monotonic() + self._retry_seconds, 1
                        yield from following.feed(piece)
                if following.ended:
                    return
                broken: LeaseqHTTPError = following.broken()
            except httpx.RequestError as error:
                broken = unreachable(error, url=self._settings.base_url)
                broken.retry_after = following.pause_seconds
            except LeaseqHTTPError as error:
                broken = error
            pause = self._pause_before_next(call, broken, tried=tried, ends_at=ends_at)
            if pause is None:
                raise broken
            sleep(pause)

    @contextmanager
    def _stream(self, call: Call[None]) -> Iterator[httpx.Response]:
        """Open a stream within the block. Raises the error of an answer that is none."""
        with self._http.stream(
            call.method, **self._settings.request_of(call), follow_redirects=False
        ) as answer:
            if not answer.is_success:
                raise error_of(answer.status_code, answer.headers, answer.read())
            yield answer

    def _pause_before_next(
        self, call: Call[Any], error: LeaseqHTTPError, *, tried: int, ends_at: float
    ) -> float | None:
        left = ends_at - monotonic()
        return pause_before_next(call, error, tried=tried, left=left, random=random)


__all__ = ["Sender"]
