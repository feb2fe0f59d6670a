"""Malformed requests: valid ones with odd parts, damaged ones, and bytes.

The same seed makes the same requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from support.document_fuzz import Documented

CLOSE = b"Connection: close"
UUID = b"01a229d4-1ba4-774b-8e2a-77ede7f8761d"

READ = [
    *(
        b"/api/tasks",
        b"/api/queues",
        b"/api/workers",
        b"/api/operations",
        b"/health/live",
        b"/health/ready",
        b"/schema",
        b"/problems",
    ),
    *(b"/api/tasks/" + UUID, b"/api/tasks/" + UUID + b"/attempts", b"/problems/not_found"),
]
CHANGE = [
    *[b"/api/tasks"] * 8,
    *[b"/api/tasks/batch"] * 2,
    *(
        b"/api/tasks/" + UUID + b"/cancel",
        b"/api/tasks/" + UUID + b"/redrive",
        b"/api/tasks/" + UUID + b"/idempotency-key",
        b"/api/queues/fuzz/pause",
        b"/api/queues/fuzz/resume",
    ),
]
METHODS = b"GET HEAD OPTIONS POST PUT PATCH DELETE TRACE CONNECT PRI BREW get ".split(b" ")
PATHS = [
    *READ,
    *CHANGE,
    *(
        b"/",
        b"",
        b"*",
        b"//api/tasks",
        b"/api/tasks/",
        b"/api/./tasks",
        b"/api/../api/tasks",
        b"/%61pi/tasks",
        b"/api%2Ftasks",
    ),
    *(
        b"/api/tasks;x",
        b"/api/tasks#x",
        b"http://localhost/api/queues",
        b"http://evil/api/queues",
        b"https://localhost",
        b"a:80",
    ),
    *(
        b"/api/tasks/" + b"x" * 200,
        b"/api/tasks/%00",
        b"/api/queues/\xff/pause",
        b"/" + b"a" * 9_000,
        b"\x00",
        b"/ /",
    ),
]
QUERIES = [
    *(
        b"?",
        b"?wait=0",
        b"?wait=nan",
        b"?wait=1e999",
        b"?wait=-1",
        b"?limit=5",
        b"?limit=0",
        b"?limit=1e9",
        b"?limit=%FF",
    ),
    *(
        b"?state=PENDING",
        b"?state=null",
        b"?state=%00",
        b"?queue=fuzz",
        b"?queue=fuzz&queue=x",
        b"?type=",
        b"?cursor=" + UUID,
    ),
    *(
        b"?cursor=x",
        b"?idempotency_key=%22",
        b"?x=1",
        b"?&&=&",
        b"?%",
        b"?" + b"a" * 5_000,
        b"?closed=true",
        b"?\xc3\xa9",
    ),
]
HOSTS = [
    *(
        b"Host: 127.0.0.1:1",
        b"Host: [::1]",
        b"Host: evil.example",
        b"Host:",
        b"Host: a b",
        b"Host: localhost\r\nHost: localhost",
    ),
    *(b"host:\tlocalhost\t", b"Host : localhost", b"X: y", b"Host: \xff", b"Host: " + b"a" * 500),
]
HEADERS = [
    *(
        b"Content-Type: application/json",
        b"Content-Type: application/json; charset=utf-8",
        b"Content-Type: application/x-ndjson",
        b"Content-Type: text/plain",
    ),
    *(
        b"Content-Type: application/json\r\nContent-Type: application/json",
        b"Content-Encoding: gzip",
        b"Accept: */*",
    ),
    *(
        b"Idempotency-Key: k",
        b'Idempotency-Key: "k"',
        b"Idempotency-Key: a, a",
        b"Idempotency-Key: \xe9",
        b"Idempotency-Key:",
    ),
    *(
        b"Idempotency-Key: " + b"k" * 300,
        b"Idempotency-Key: a\r\nIdempotency-Key: b",
        b"Expect: 100-continue",
        b"Expect: x",
    ),
    *(
        b"Origin: http://localhost",
        b"Origin: http://evil",
        b"Origin: null",
        b"Sec-Fetch-Site: cross-site",
        b"Authorization: x y",
    ),
    *(
        b"Upgrade: websocket\r\nConnection: Upgrade",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
        b"TE: trailers",
    ),
    *(
        b"Cookie: " + b"a" * 2_000,
        b"X: " + b"a" * 70_000,
        b"X: \x00",
        b"X: a\rb",
        b"X: a\r\n b",
        b"x" * 100,
        b": x",
        b"\x80: x",
    ),
    *(
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b"Content-Length: 1, 1",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Trailer: X",
    ),
    *(
        b"Connection: keep-alive",
        b"Connection: close, keep-alive",
        b"Range: bytes=0-1",
        b"If-None-Match: *",
    ),
    *(
        b"X-Forwarded-Host: evil",
        b"X-HTTP-Method-Override: DELETE",
        b"Content-Length: 0\r\nContent-Length: 5",
    ),
]
VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b""]
VALUES: list[object] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        "",
        "fuzz",
        "\x00",
        "é" * 50,
        "a b",
        [],
        {},
        [[[[]]]],
        "high",
        2**63,
    ),
    *(
        "2100-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "x" * 5_000,
        {"a": {"b": None}},
    ),
]
FIELDS = [
    "type",
    "payload",
    "queue",
    "priority",
    "delay_seconds",
    "run_at",
    "max_attempts",
    "timeout_seconds",
    "expires_at",
    "x",
]


def requests(seed: int, count: int, documented: Documented) -> Iterator[bytes]:
    """So many requests, each for a connection of its own."""
    rng = random.Random(seed)
    made = _Made(documented)
    kinds: list[Callable[[random.Random], bytes]] = [
        *[documented.request] * 5,
        *[made.structured] * 3,
        *[made.damaged] * 3,
        made.several,
        _bytes,
    ]
    for _ in range(count):
        yield rng.choice(kinds)(rng)


class _Made:
    """Requests that are made from the lists above, with the keys of `documented`."""

    def __init__(self, documented: Documented) -> None:
        self._documented = documented

    def structured(self, rng: random.Random) -> bytes:
        """A valid request of which a few parts are odd."""
        return _structured(rng, self._documented.authorization(rng))

    def damaged(self, rng: random.Random) -> bytes:
        """A request of which a few bytes are odd."""
        made = rng.choice([self.structured, self._documented.request])
        return _damaged(rng, made(rng))

    def several(self, rng: random.Random) -> bytes:
        """Requests that are sent ahead on one connection."""
        ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        count = rng.randrange(2, 40)
        some = [
            rng.choice([lambda _: ask, lambda _: ask, self.structured])(rng) for _ in range(count)
        ]
        return b"".join(some) + self.structured(rng)


def _structured(rng: random.Random, authorization: list[bytes]) -> bytes:
    method = rng.choice([b"GET", b"GET", b"HEAD", b"OPTIONS", b"POST", b"POST", b"POST"])
    version, host, query = b"HTTP/1.1", b"Host: localhost", b""
    path = rng.choice(CHANGE if method == b"POST" else READ)
    body = (
        b'{"type":"fuzz","payload":%d,"queue":"fuzz"}' % rng.randrange(1000)
        if method == b"POST"
        else b""
    )
    headers, framed = [b"Content-Type: application/json"] if body else [], 0.2
    for part in rng.choices(range(8), k=rng.choice([0, 1, 1, 1, 2, 2, 4])):
        match part:
            case 0:
                method = rng.choice(METHODS)
            case 1:
                path = rng.choice(PATHS)
            case 2:
                query = rng.choice(QUERIES)
            case 3:
                version = rng.choice(VERSIONS)
            case 4:
                host = rng.choice(HOSTS)
            case 5:
                body, framed = _body(rng), 0.5
            case _:
                headers += rng.choices(HEADERS, k=rng.choice([1, 1, 3]))
    headers += [host, *authorization] + ([CLOSE] if rng.random() < 0.9 else [])
    if body and rng.random() < framed:
        headers.append(b"Transfer-Encoding: chunked")
        body = _chunked(rng, body)
    elif body:
        headers.append(b"Content-Length: %d" % max(0, len(body) + rng.choice([0] * 20 + [-1, 1])))
    rng.shuffle(headers)
    return (
        b"\r\n".join([method + b" " + path + query + b" " + version, *headers]) + b"\r\n\r\n" + body
    )


def _body(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.8:
        given: dict[str, object] = {"type": "fuzz", "payload": 1} | {
            rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.randrange(4))
        }
        return msgspec.json.encode(given)
    if kind < 0.9:
        depth = rng.choice([10, 64, 65, 1_000, 100_000])
        return b'{"type":"fuzz","payload":' + b"[" * depth + b"]" * depth + b"}"
    return rng.choice(
        [rng.randbytes(rng.randrange(2_000)), b"\xff\xfe", b"NaN", b'"\\ud800"', b"a" * 1_100_000]
    )


def _chunked(rng: random.Random, body: bytes) -> bytes:
    size = rng.choice([1, 7, 100, 65_536]) if len(body) < 10_000 else 65_536
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(
        b"%x%b\r\n%b\r\n" % (len(piece), rng.choice([b""] * 9 + [b";x=y"]), piece)
        for piece in pieces
    )
    return (
        framed + b"0\r\n" + rng.choice([b""] * 5 + [b"Host: evil\r\n", b"X: y\r\n" * 100]) + b"\r\n"
    )


def _damaged(rng: random.Random, request: bytes) -> bytes:
    raw = bytearray(request)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at, size = rng.randrange(len(raw) + 1), rng.randrange(1, 20)
        match rng.randrange(5):
            case 0:
                raw[at : at + 1] = rng.randbytes(1)
            case 1:
                del raw[at : at + size]
            case 2:
                raw[at:at] = raw[at : at + size]
            case 3:
                raw[at:at] = rng.choice(
                    [b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\r\n\r\n", b":", b"\xff", b"%2f"]
                )
            case _:
                del raw[at:]
    return bytes(raw)


def _bytes(rng: random.Random) -> bytes:
    raw = rng.randbytes(rng.choice([1, 10, 100, 5_000, 200_000]))
    return rng.choice(
        [raw, b"GET / HTTP/1.1\r\n" + raw, b"POST /api/tasks HTTP/1.1\r\nHost: localhost\r\n" + raw]
    )
