"""A codec for tests: a cipher of its own making, which is no protection."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from itertools import count, islice


class ToyCodec:
    """Exclusive or with a stream of hashes. The first byte names the version of the key."""

    def __init__(self, keys: Mapping[int, bytes] | None = None) -> None:
        self._keys = dict(keys or {1: b"first"})

    def encode(self, data: bytes) -> bytes:
        newest = max(self._keys)
        nonce = os.urandom(8)
        return bytes([newest]) + nonce + _stream(self._keys[newest], nonce, data)

    def decode(self, data: bytes) -> bytes:
        return _stream(self._keys[data[0]], data[1:9], data[9:])

    def fingerprint(self, data: bytes) -> bytes:
        return hmac.digest(b"fingerprints", data, "sha256")


def _stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = (
        byte for block in count() for byte in hashlib.sha256(key + nonce + b"%d" % block).digest()
    )
    return bytes(one ^ other for one, other in zip(data, islice(stream, len(data)), strict=True))


__all__ = ["ToyCodec"]
