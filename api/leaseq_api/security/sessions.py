"""Sessions of browsers, which have given an API key on the page for it.

The cookie holds the public id of the key and two times, signed with a secret that all API processes
read from the ledger. So any process answers, and there is no list of sessions to keep. It counts
for the dashboard alone. Invariants: the key behind a cookie is checked at each request as a key in a
header is, so a session ends within five seconds of its key. Times are those of Postgres: a process
reads its clock with the secret, and counts on from there by its own monotonic clock.
"""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from hmac import new as new_hmac
from secrets import token_urlsafe

from litestar.types import Scope
from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.ledger.secrets import SharedSecret
from leaseq.operations.access import Access
from leaseq_api.refused import Refused
from leaseq_api.security.key_ring import KeyRing
from leaseq_api.security.principal import ANONYMOUS, Principal

# A session ends after the first of these: since it began, and since a person last opened a page.
LONGEST_SECONDS = 12 * 3600
IDLE_SECONDS = 3600
# A cookie is written again when its second time is older than this.
RENEW_SECONDS = 300
# The secret is read again so often, where it is used.
FRESH_SECONDS = 60.0

# With this prefix a browser takes the cookie only with Secure, from this host, and for all paths.
NAME = "__Host-leaseq"
INSECURE_NAME = "leaseq-session"
_VALUE = re.compile(
    r"v1\.([a-z0-9]{12})\.([0-9]{1,12})\.([0-9]{1,12})\.([\w-]{16,64})\.([\w-]{43})"
)


class Session(Struct, frozen=True):
    """The content of a cookie, in seconds since 1970."""

    key_id: str
    began: int
    used: int
    nonce: str

    @property
    def text(self) -> str:
        return f"v1.{self.key_id}.{self.began}.{self.used}.{self.nonce}"


class Sessions:
    """The sessions that one process signs and checks."""

    def __init__(self, access: Access, *, insecure: bool) -> None:
        self._access = access
        self._insecure = insecure
        self.name = INSECURE_NAME if insecure else NAME
        self._lock = asyncio.Lock()
        self._secret: SharedSecret | None = None
        self._read_at = float("-inf")

    async def principal(self, header: bytes, keys: KeyRing, scope: Scope) -> Principal:
        """The principal behind the cookies of a request; `ANONYMOUS` without a valid session, and
        where its key has ended. Raises `ServerUnreachable`."""
        value = cookies_of(header).get(self.name)
        session = None if value is None else await self._verify(value)
        if session is None:
            return ANONYMOUS
        try:
            principal = await keys.principal_of_id(session.key_id)
        except Refused:
            return ANONYMOUS
        scope["leaseq_session"] = session  # type: ignore[typeddict-unknown-key]
        return principal

    async def begin(self, key_id: str) -> str:
        """The Set-Cookie of a new session."""
        now = await self._now()
        return await self._cookie(Session(key_id, now, now, token_urlsafe(16)))

    async def renew(self, scope: Scope) -> str | None:
        """The Set-Cookie of a session that a person goes on using. None: the one in the browser
        will do."""
        session: Session | None = scope.get("leaseq_session")  # type: ignore[assignment]
        if session is None or (now := await self._now()) - session.used < RENEW_SECONDS:
            return None
        return await self._cookie(Session(session.key_id, session.began, now, session.nonce))

    def end(self) -> str:
        """The Set-Cookie that removes the session from its browser."""
        return self._set("", 0)

    async def _verify(self, value: str) -> Session | None:
        found = _VALUE.fullmatch(value)
        if found is None:
            return None
        session = Session(found[1], int(found[2]), int(found[3]), found[4])
        if not compare_digest(await self._sign(session.text), found[5]):
            return None
        now = await self._now()
        lasts = now - session.began < LONGEST_SECONDS and now - session.used < IDLE_SECONDS
        return session if lasts else None

    async def _cookie(self, session: Session) -> str:
        left = session.began + LONGEST_SECONDS - session.used
        return self._set(f"{session.text}.{await self._sign(session.text)}", left)

    def _set(self, value: str, seconds: int) -> str:
        secure = "" if self._insecure else "; Secure"
        return f"{self.name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    async def _sign(self, text: str) -> str:
        shared = await self._shared()
        digest = new_hmac(shared.secret, text.encode(), sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")

    async def _now(self) -> int:
        shared = await self._shared()
        return int(shared.now + asyncio.get_running_loop().time() - self._read_at)

    async def _shared(self) -> SharedSecret:
        """The secret, read again now and then. While Postgres is away the last one counts."""
        async with self._lock:
            began = asyncio.get_running_loop().time()
            if self._secret is None or began - self._read_at >= FRESH_SECONDS:
                try:
                    self._secret, self._read_at = await self._access.read_session_secret(), began
                except ServerUnreachable:
                    if self._secret is None:
                        raise
            return self._secret


def cookies_of(header: bytes) -> dict[str, str]:
    """The cookies of a request. Of a name that comes twice the first one counts, as the one with
    the longer path."""
    found: dict[str, str] = {}
    for pair in header.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        found.setdefault(name, value)
    return found


__all__ = ["INSECURE_NAME", "NAME", "Session", "Sessions", "cookies_of"]
