"""Requests that the OpenAPI document describes, each with a few parts changed.

Bodies begin as an example of the document. A change replaces, repeats, nests or drops one of their
values, or the text of the body itself. A new operation is tried without a change here.
"""

from __future__ import annotations

import random
import re
from typing import Any
from urllib.parse import quote

import msgspec

CLOSE = b"Connection: close"
NDJSON = "application/x-ndjson"
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, 2**63, "", "fuzz", "\x00", "é" * 50, "a b", "high"),
    *([], {}, [[[[]]]], "x" * 5_000, {"a": {"b": None}}, "2100-01-01T00:00:00Z", "lq_x"),
    *("0001-01-01T00:00:00+14:00", ["submit", "admin", "x"], {"": ""}, "../..", "\ud7ff"),
]
TEXTS = [b"", b"[", b"[]", b"{}", b"nul", b"\xff", b'"\\ud800"', b"[" * 2_000, b'{"":' * 2_000]
SEGMENTS = [
    *("fuzz", "01a229d4-1ba4-774b-8e2a-77ede7f8761d", "x" * 130, "0", "..", "%00", "a%2Fb", "é"),
    *("default", "batch", "BATCH", "a;b", "key_x"),
]


class Documented:
    """Makes requests for the operations of a document. `key` is a valid API key, if the service
    asks for keys."""

    def __init__(self, document: dict[str, Any], key: str | None) -> None:
        self._schemas = document["components"]["schemas"]
        self._key = key
        self._operations = [
            (path, method.upper(), operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]

    def authorization(self, rng: random.Random) -> list[bytes]:
        """The header with the key, which is rarely a wrong one or none."""
        if self._key is None or rng.random() < 0.02:
            return []
        if rng.random() < 0.95:
            return [b"Authorization: Bearer " + self._key.encode()]
        wrong = [self._key[:-1], self._key + "0", self._key.upper(), "lq_", "", "Bearer " * 3]
        scheme = rng.choice([b"Bearer ", b"bearer ", b"Basic ", b""])
        return [b"Authorization: " + scheme + rng.choice(wrong).encode()]

    def request(self, rng: random.Random) -> bytes:
        """One request."""
        path, method, operation = rng.choice(self._operations)
        target = re.sub(r"\{\w+\}", lambda _: _segment(rng), path).encode()
        target += _query(rng, operation.get("parameters", []))
        headers = [b"Host: localhost", CLOSE, *self.authorization(rng)]
        if rng.random() < 0.1:
            name = rng.choice(["default", "nobody", "a b", "é"])
            headers.append(b"Leaseq-Tenant: " + name.encode())
        body = b""
        if content := operation.get("requestBody", {}).get("content"):
            media_type = rng.choice(list(content))
            body = self._body(rng, media_type, content[media_type])
            if rng.random() < 0.05:
                media_type = rng.choice(["text/plain", "application/json; charset=x", NDJSON])
            headers.append(b"Content-Type: " + media_type.encode())
        if rng.random() < 0.1:
            headers.append(b"Accept: " + rng.choice([NDJSON, "text/event-stream", "*/*"]).encode())
        if body and rng.random() < 0.3:
            headers.append(b"Transfer-Encoding: chunked")
            body = chunked(rng, body)
        elif body:
            headers.append(b"Content-Length: %d" % len(body))
        rng.shuffle(headers)
        line = b" ".join([method.encode(), target, b"HTTP/1.1"])
        return b"\r\n".join([line, *headers]) + b"\r\n\r\n" + body

    def _body(self, rng: random.Random, media_type: str, content: dict[str, Any]) -> bytes:
        examples = [example["value"] for example in content.get("examples", {}).values()] or [{}]
        if media_type == NDJSON:
            count = rng.choice([0, 1, 3, 40])
            lines = [_damaged_text(rng, _changed(rng, rng.choice(examples))) for _ in range(count)]
            return b"\n".join(lines)
        value = rng.choice(examples)
        if isinstance(value, list):
            value = value * rng.choice([0, 1, 3, 40])
            value = [_changed_value(rng, each) for each in value]
            return _damaged_text(rng, msgspec.json.encode(value))
        return _damaged_text(rng, _changed(rng, value))


def chunked(rng: random.Random, body: bytes) -> bytes:
    """A body in chunks of one size."""
    size = rng.choice([7, 100, 65_536])
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _segment(rng: random.Random) -> str:
    text = rng.choice(SEGMENTS)
    return text if text.isascii() else quote(text)


def _query(rng: random.Random, parameters: list[dict[str, Any]]) -> bytes:
    names = [each["name"] for each in parameters if each["in"] == "query"]
    chosen = [name for name in [*names, "x"] if rng.random() < (0.3 if name != "x" else 0.02)]
    if not chosen:
        return b""
    values = [
        "",
        "0",
        "1",
        "-1",
        "fuzz",
        "true",
        "PENDING",
        "é",
        "\x00",
        "1e999",
        "0.01",
        *SEGMENTS,
    ]
    return b"?" + "&".join(f"{name}={quote(rng.choice(values))}" for name in chosen).encode()


def _changed(rng: random.Random, value: Any) -> bytes:
    return msgspec.json.encode(_changed_value(rng, value))


def _changed_value(rng: random.Random, value: Any) -> Any:
    """The value with none, one or two of its parts changed."""
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        value = _change(rng, value)
    return value


def _change(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        match rng.randrange(4):
            case 0:
                return {key: each for key, each in value.items() if key != name}
            case 1:
                return value | {
                    rng.choice(["x", "", "type", "idempotency_key", "a/b~"]): value[name]
                }
            case _:
                return value | {name: _change(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], _change(rng, value[at]), *value[at + rng.randrange(2) :]]
    return rng.choice([*VALUES, [value] * 3, {"a": value}])


def _damaged_text(rng: random.Random, text: bytes) -> bytes:
    if rng.random() < 0.9:
        return text
    at = rng.randrange(len(text) + 1)
    return rng.choice([text[:at], text[:at] + rng.choice(TEXTS) + text[at:], text + text])


__all__ = ["Documented", "chunked"]
